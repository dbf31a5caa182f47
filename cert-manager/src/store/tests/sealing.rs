//! Private keys at rest.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::policy::{AcmePolicy, ExternalAccount, IssuerPolicy, Policy, RenewalWindow, Secret};

const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND: &str = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";
/// A secret in a policy.
const MAC_KEY: &str = "bm90LXRvLWJlLXNlZW4tYnktYW55Ym9keQ";

fn keyring(lines: &[&str]) -> Option<Arc<Keyring>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines.join("\n")).unwrap();
    (!lines.is_empty()).then(|| Arc::new(Keyring::load(file.path()).unwrap()))
}

async fn open_sealed(folder: &Path, lines: &[&str]) -> Result<(LocalStorage, u64), StoreError> {
    let rebuilds = Rebuilds::default();
    let store = LocalStorage::open_sealed(folder, keyring(lines), rebuilds.clone()).await?;
    Ok((store, rebuilds.count()))
}

/// A record whose policy holds a secret.
fn secret_record() -> Record {
    let mut acme = AcmePolicy::new("https://ca.test/dir", None);
    acme.external_account = Some(ExternalAccount {
        key_id: "kid".to_owned(),
        mac_key: Secret::new(MAC_KEY),
    });
    let policy = Policy {
        issuers: vec![IssuerPolicy::Acme(Box::new(acme))],
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    };
    let mut record = Record::new(Name::parse("eab.school.org").unwrap(), Timestamp::now());
    record.declare(policy, Timestamp::now());
    record
}

/// A closed store with everything that is secret, sealed with `lines` if there are any.
async fn filled(content: &Content, lines: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open_sealed(folder.path(), lines).await.unwrap();
    content.put(&store).await;
    store.put_records(&[secret_record()]).await.unwrap();
    store.flush().await.unwrap();
    folder
}

impl Content {
    /// What must not be found in a folder: the keys in DER, as base64 in PEM lines and as it stands
    /// in JSON, and the policy's secret.
    fn secrets(&self) -> Vec<Vec<u8>> {
        let mut secrets = vec![MAC_KEY.as_bytes().to_vec()];
        let keys = [&self.account.key, &self.order.key, &self.authority.root.key];
        let certificates = self.certificates.iter().map(|found| &found.key);
        for key in keys.into_iter().chain(certificates) {
            // The private scalar is in the middle: the head is the same in every key.
            let der = key.secret_der();
            secrets.push(der[36..68].to_vec());
            let text = STANDARD.encode(der);
            secrets.push(text.as_bytes()[50..64].to_vec());
            secrets.push(text.as_bytes()[64..90].to_vec());
        }
        secrets
    }

    /// The files below `folder` that give a secret away.
    fn found_in(&self, folder: &Path) -> Vec<PathBuf> {
        let secrets = self.secrets();
        let mut files = files_below(folder);
        files.retain(|path| {
            let bytes = fs::read(path).unwrap();
            let is_in = |secret: &Vec<u8>| bytes.windows(secret.len()).any(|part| part == secret);
            secrets.iter().any(is_in)
        });
        files
    }

    async fn check_all(&self, store: &LocalStorage, case: &str) {
        self.check(store, case).await;
        let records = store.records().await.unwrap();
        let record = records.iter().find(|record| record.policy.is_some());
        assert_eq!(record.unwrap().policy, secret_record().policy, "{case}");
    }
}

#[tokio::test]
async fn without_a_key_file_the_test_for_secrets_finds_them() {
    let content = Content::new(2);
    let folder = filled(&content, &[]).await;
    let found = content.found_in(folder.path());
    let is_found = |part: &str| {
        found
            .iter()
            .any(|path| path.to_string_lossy().contains(part))
    };
    for part in [
        "a0.school.org.key",
        "a1.school.org.key",
        "me.key",
        "open.school.org.json",
        "root.key",
        "/db/",
    ] {
        assert!(is_found(part), "{part} in {found:?}");
    }
}

#[tokio::test]
async fn nothing_secret_is_readable_and_everything_comes_back() {
    let content = Content::new(3);
    let folder = filled(&content, &[FIRST]).await;
    assert_eq!(content.found_in(folder.path()), [] as [PathBuf; 0]);
    let (store, rebuilds) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    assert_eq!(rebuilds, 0);
    content.check_all(&store, "reopened").await;
    drop(store);
    // The files alone are enough, but for the record of a name without a certificate.
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, rebuilds) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    assert_eq!(rebuilds, 1);
    content.check(&store, "from the files").await;
    drop(store);
    assert_eq!(content.found_in(folder.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn turning_a_key_on_seals_what_is_there() {
    let content = Content::new(3);
    let folder = filled(&content, &[]).await;
    // What a killed run left over, and what was set aside, holds keys too.
    let certificates = folder.path().join("caddy/certificates/local");
    copy(
        &certificates.join("a0.school.org"),
        &certificates.join(".a0.school.org.new"),
    );
    copy(
        &certificates.join("a1.school.org"),
        &folder
            .path()
            .join("aside/20260101T000000Z/certificates/local/a1.school.org"),
    );
    let (store, rebuilds) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    assert_eq!(rebuilds, 0);
    content.check_all(&store, "sealed").await;
    drop(store);
    assert_eq!(content.found_in(folder.path()), [] as [PathBuf; 0]);
    let (store, rebuilds) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    assert_eq!(rebuilds, 0);
    content.check_all(&store, "again").await;
}

#[tokio::test]
async fn a_new_first_key_seals_anew_and_the_old_one_can_go() {
    let content = Content::new(3);
    let folder = filled(&content, &[FIRST]).await;
    let (store, _) = open_sealed(folder.path(), &[SECOND, FIRST]).await.unwrap();
    content.check_all(&store, "both").await;
    drop(store);
    let (store, rebuilds) = open_sealed(folder.path(), &[SECOND]).await.unwrap();
    assert_eq!(rebuilds, 0);
    content.check_all(&store, "the new one").await;
    drop(store);
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, _) = open_sealed(folder.path(), &[SECOND]).await.unwrap();
    content.check(&store, "the new one, from the files").await;
}

#[tokio::test]
async fn a_missing_or_wrong_key_touches_nothing() {
    let content = Content::new(2);
    let folder = filled(&content, &[FIRST]).await;
    let state = || -> Vec<_> {
        let files = files_below(folder.path()).into_iter();
        files.map(|path| (fs::read(&path).unwrap(), path)).collect()
    };
    let before = state();
    for lines in [&[][..], &[SECOND]] {
        let error = open_sealed(folder.path(), lines).await.unwrap_err();
        assert!(matches!(error, StoreError::Sealed(_)), "{error}");
        assert!(state() == before, "{lines:?}");
    }
    let (store, _) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    content.check_all(&store, "after refusals").await;
}

#[tokio::test]
async fn a_lost_marker_does_not_let_sealed_keys_pass_for_damage() {
    let content = Content::new(2);
    let folder = filled(&content, &[FIRST]).await;
    fs::remove_file(folder.path().join("sealed.json")).unwrap();
    for with_database in [true, false] {
        if !with_database {
            fs::remove_dir_all(folder.path().join("db")).unwrap();
        }
        let error = open_sealed(folder.path(), &[]).await.unwrap_err();
        assert!(matches!(error, StoreError::Sealed(_)), "{error}");
        let _ = fs::remove_file(folder.path().join("sealed.json"));
    }
    let (store, _) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    content.check(&store, "the right key").await;
}

#[tokio::test]
async fn sealed_keys_cannot_be_swapped() {
    let content = Content::new(2);
    let folder = filled(&content, &[FIRST]).await;
    let key = |name: &str| {
        let path = format!("caddy/certificates/local/{name}/{name}.key");
        folder.path().join(path)
    };
    fs::copy(key("a0.school.org"), key("a1.school.org")).unwrap();
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, _) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
    let found = |name: &str| {
        let (store, name) = (store.clone(), Name::parse(name).unwrap());
        async move { store.certificate(&name).await.unwrap() }
    };
    assert!(found("a0.school.org").await.is_some());
    assert!(found("a1.school.org").await.is_none());
}

/// Every state that a crash can leave while keys are sealed: a prefix of what is done in order.
#[tokio::test]
async fn sealing_that_is_cut_short_is_gone_on_with() {
    let content = Content::new(2);
    let plain = filled(&content, &[]).await;
    let sealed = tempfile::tempdir().unwrap();
    copy(plain.path(), sealed.path());
    drop(open_sealed(sealed.path(), &[FIRST]).await.unwrap());
    let marker = fs::read_to_string(sealed.path().join("sealed.json")).unwrap();
    let begun = marker.replace("\"complete\": true", "\"complete\": false");
    assert_ne!(begun, marker);
    let names: &[(&str, &[(&TempDir, &str)])] = &[
        ("begun", &[(&plain, "db")]),
        ("copying", &[(&plain, "db"), (&plain, "db.new")]),
        ("copied", &[(&plain, "db"), (&sealed, "db.new")]),
        ("moved", &[(&plain, "db.old"), (&sealed, "db.new")]),
        ("exchanged", &[(&plain, "db.old"), (&sealed, "db")]),
        ("removed", &[(&sealed, "db")]),
    ];
    for (case, databases) in names {
        for files in [&plain, &sealed] {
            let folder = tempfile::tempdir().unwrap();
            copy(&files.path().join("caddy"), &folder.path().join("caddy"));
            for (from, name) in *databases {
                copy(&from.path().join("db"), &folder.path().join(name));
            }
            fs::write(folder.path().join("sealed.json"), &begun).unwrap();
            let refused = open_sealed(folder.path(), &[]).await;
            assert!(refused.is_err(), "{case}");
            let (store, _) = open_sealed(folder.path(), &[FIRST]).await.unwrap();
            content.check_all(&store, case).await;
            drop(store);
            assert_eq!(
                content.found_in(folder.path()),
                [] as [PathBuf; 0],
                "{case}"
            );
            assert!(!folder.path().join("db.old").exists(), "{case}");
        }
    }
}
