use std::fs;

use tempfile::TempDir;

use super::*;
use crate::policy::KeyType;

const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND: &str = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";
const PASSPHRASE: &str = "correct horse battery staple";

fn keyring(lines: &[&str]) -> Arc<Keyring> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines.join("\n")).unwrap();
    Arc::new(Keyring::load(file.path()).unwrap())
}

/// What a start with these keys gives, which is then complete.
fn start(data: &TempDir, lines: &[&str]) -> Result<Seal, StoreError> {
    let keyring = (!lines.is_empty()).then(|| keyring(lines));
    let (seal, _) = prepare(data.path(), keyring)?;
    finish(data.path(), &seal)?;
    Ok(seal)
}

fn open(seal: &Seal, sealed: &[u8], what: &str) -> Result<Vec<u8>, OpenError> {
    let opened = seal.open(sealed, what, Path::new("/data"))?;
    Ok(opened.to_vec())
}

#[test]
fn what_is_sealed_opens_as_what_it_is_and_as_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let seal = start(&data, &[FIRST]).unwrap();
    let sealed = seal.seal(b"secret", "a").unwrap().unwrap();
    assert_eq!(open(&seal, &sealed, "a").unwrap(), b"secret");
    assert!(matches!(
        open(&seal, &sealed, "b"),
        Err(OpenError::Damaged(_))
    ));
    let again = seal.seal(b"secret", "a").unwrap().unwrap();
    assert_ne!(sealed, again, "the nonce is random");
}

#[test]
fn what_is_changed_or_cut_does_not_open() {
    let data = tempfile::tempdir().unwrap();
    let seal = start(&data, &[FIRST]).unwrap();
    let sealed = seal.seal(b"secret", "a").unwrap().unwrap();
    for position in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[position] ^= 1;
        // The salt means nothing to a key that is no passphrase.
        if !(1..=SALT).contains(&position) {
            assert!(open(&seal, &flipped, "a").is_err(), "octet {position}");
        }
        assert!(open(&seal, &sealed[..position], "a").is_err(), "{position}");
    }
}

#[test]
fn every_key_of_the_file_opens_and_the_first_seals() {
    let data = tempfile::tempdir().unwrap();
    let before = start(&data, &[FIRST]).unwrap();
    let old = before.seal(b"secret", "a").unwrap().unwrap();
    let after = start(&data, &[SECOND, FIRST]).unwrap();
    assert_eq!(open(&after, &old, "a").unwrap(), b"secret");
    assert!(!after.is_current(&old).unwrap());
    let new = after.seal(b"secret", "a").unwrap().unwrap();
    assert!(after.is_current(&new).unwrap());
    let only = start(&data, &[SECOND]).unwrap();
    assert_eq!(open(&only, &new, "a").unwrap(), b"secret");
    assert!(matches!(
        open(&only, &old, "a"),
        Err(OpenError::Locked(SealError::WrongKey { .. }))
    ));
}

#[test]
fn a_passphrase_makes_the_same_key_at_every_start_of_an_installation_alone() {
    let data = tempfile::tempdir().unwrap();
    let sealed = start(&data, &[PASSPHRASE])
        .unwrap()
        .seal(b"secret", "a")
        .unwrap()
        .unwrap();
    let again = start(&data, &[PASSPHRASE]).unwrap();
    assert_eq!(open(&again, &sealed, "a").unwrap(), b"secret");
    assert!(again.is_current(&sealed).unwrap());
    // Opens elsewhere too, for every text says its salt.
    let other = tempfile::tempdir().unwrap();
    let elsewhere = start(&other, &[PASSPHRASE]).unwrap();
    assert_eq!(open(&elsewhere, &sealed, "a").unwrap(), b"secret");
    assert!(!elsewhere.is_current(&sealed).unwrap());
}

#[test]
fn a_missing_or_wrong_key_is_refused_before_anything_is_touched() {
    let data = tempfile::tempdir().unwrap();
    start(&data, &[FIRST]).unwrap();
    let marker = fs::read(data.path().join("sealed.json")).unwrap();
    let missing = start(&data, &[]).unwrap_err().to_string();
    assert!(missing.contains("--key-file"), "{missing}");
    assert!(
        missing.contains(&*data.path().to_string_lossy()),
        "{missing}"
    );
    let wrong = start(&data, &[SECOND]).unwrap_err().to_string();
    assert!(wrong.contains("does not hold"), "{wrong}");
    assert_eq!(fs::read(data.path().join("sealed.json")).unwrap(), marker);
}

#[test]
fn a_change_that_was_cut_short_needs_both_keys() {
    let data = tempfile::tempdir().unwrap();
    start(&data, &[FIRST]).unwrap();
    let (_, preparation) = prepare(data.path(), Some(keyring(&[SECOND, FIRST]))).unwrap();
    assert!(matches!(preparation, Preparation::Reseal));
    // Killed here.
    for lines in [&[FIRST][..], &[SECOND]] {
        assert!(start(&data, lines).is_err(), "{lines:?}");
    }
    let (seal, preparation) = prepare(data.path(), Some(keyring(&[SECOND, FIRST]))).unwrap();
    assert!(matches!(preparation, Preparation::Reseal));
    finish(data.path(), &seal).unwrap();
    let (_, preparation) = prepare(data.path(), Some(keyring(&[SECOND]))).unwrap();
    assert!(matches!(preparation, Preparation::Ready));
}

#[test]
fn a_damaged_marker_is_written_anew_with_the_keys_and_refused_without() {
    let data = tempfile::tempdir().unwrap();
    let seal = start(&data, &[PASSPHRASE]).unwrap();
    let sealed = seal.seal(b"secret", "a").unwrap().unwrap();
    fs::write(data.path().join("sealed.json"), "{").unwrap();
    let refused = start(&data, &[]).unwrap_err().to_string();
    assert!(refused.contains("sealed.json"), "{refused}");
    let seal = start(&data, &[PASSPHRASE]).unwrap();
    assert_eq!(open(&seal, &sealed, "a").unwrap(), b"secret");
}

#[test]
fn keys_are_sealed_in_a_pem_block_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let seal = start(&data, &[FIRST]).unwrap();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let text = seal.key_to_pem(&key, "a").unwrap();
    assert!(text.starts_with("-----BEGIN PORTICO SEALED KEY-----\n"));
    let place = Path::new("/data/a.key");
    let opened = seal.key_from_pem(&text, "a", place).unwrap();
    assert_eq!(opened.secret_der(), key.secret_der());
    // One that somebody copied there is read as well, and is to be sealed.
    let plain = key.to_pem();
    let opened = seal.key_from_pem(&plain, "a", place).unwrap();
    assert_eq!(opened.secret_der(), key.secret_der());
    assert!(!seal.is_current_pem(&plain).unwrap());
    assert!(seal.is_current_pem(&text).unwrap());
    let off = Seal::default();
    assert_eq!(off.key_to_pem(&key, "a").unwrap(), plain);
    assert!(matches!(
        off.key_from_pem(&text, "a", place),
        Err(OpenError::Locked(SealError::NoKey { .. }))
    ));
}

#[test]
fn mistakes_in_a_key_file_are_said_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Keyring::load(&path).map(|keyring| format!("{keyring:?}"))
    };
    assert!(load("").unwrap_err().contains("holds no key"));
    let short = load(&format!("{FIRST}\n\nhunter2\n")).unwrap_err();
    assert!(short.contains("line 3"), "{short}");
    assert!(!short.contains("hunter2"), "{short}");
    let printed = load(&format!("{FIRST}\n{PASSPHRASE}\n")).unwrap();
    assert!(
        !printed.contains("horse") && !printed.contains("AAEC"),
        "{printed}"
    );
}
