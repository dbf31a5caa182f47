use std::fs;

use proto::certs::v1::import_request::Item;

use super::*;

/// The files of a folder, by path and text.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// What is found, a line each: what is sent, or why not.
fn found(folder: &Path) -> Vec<String> {
    let candidates = source::find(folder).unwrap();
    candidates
        .into_iter()
        .map(|candidate| match candidate.read(false) {
            Err(unusable) => format!("{}: {}", unusable.source, unusable.reason),
            Ok(request) => {
                let item = match request.item.unwrap() {
                    Item::Certificate(item) => format!(
                        "certificate {} {} {} {}",
                        item.chain_pem.trim(),
                        item.key_pem,
                        item.directory_url,
                        item.internal
                    ),
                    Item::Account(item) => format!(
                        "account {} {} {} {} {}",
                        item.folder,
                        item.directory_urls.join(","),
                        item.email,
                        item.key_pem,
                        item.url
                    ),
                    Item::Authority(item) => {
                        format!("authority {} {}", item.certificate_pem, item.key_pem)
                    }
                };
                format!("{}: {item}", request.source)
            }
        })
        .collect()
}

#[test]
fn caddys_data_folder_is_read_with_or_without_its_leading_folder() {
    let files = [
        ("certificates/ca.test-dir/a.org/a.org.crt", "crt-a"),
        ("certificates/ca.test-dir/a.org/a.org.key", "key-a"),
        (
            "certificates/ca.test-dir/a.org/a.org.json",
            r#"{"sans":["a.org"],"issuer_data":{"ca":"https://ca.test/dir"}}"#,
        ),
        ("certificates/local/localhost/localhost.crt", "crt-l"),
        ("certificates/local/localhost/localhost.key", "key-l"),
        ("certificates/local/lost/lost.crt", "crt-lost"),
        (
            "acme/ca.test-dir/users/me@a.org/me.json",
            r#"{"contact":["mailto:me@a.org"],"location":"https://ca.test/1"}"#,
        ),
        ("acme/ca.test-dir/users/me@a.org/me.key", "key-me"),
        ("acme/ca.test-dir/challenge_tokens/a.org.json", "{}"),
        ("pki/authorities/local/root.crt", "crt-root"),
        ("pki/authorities/local/root.key", "key-root"),
        ("pki/authorities/other/root.crt", "crt-other"),
        ("locks/issue_cert_a.org.lock", ""),
    ];
    let wanted = [
        "pki/authorities/local: authority crt-root key-root",
        "pki/authorities/other: there is one internal authority, Caddy's `local`",
        "acme/ca.test-dir/users/me@a.org: account ca.test-dir https://ca.test/dir me@a.org key-me \
         https://ca.test/1",
        "certificates/ca.test-dir/a.org: certificate crt-a key-a https://ca.test/dir false",
        "certificates/local/localhost: certificate crt-l key-l  true",
        "certificates/local/lost: there is no lost.key",
    ];
    assert_eq!(found(folder(&files).path()), wanted);
    let deeper = files.map(|(path, text)| (format!("caddy/{path}"), text));
    let deeper: Vec<_> = deeper
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    assert_eq!(found(folder(&deeper).path()), wanted);
}

#[test]
fn pairs_are_found_by_their_names() {
    let both = "-----BEGIN PRIVATE KEY-----\nk\n-----END PRIVATE KEY-----\n\
                -----BEGIN CERTIFICATE-----\nc\n-----END CERTIFICATE-----\n";
    let folder = folder(&[
        ("a.org.crt", "crt-a"),
        ("a.org.key", "key-a"),
        ("b.org.pem", "crt-b"),
        ("b.org.key", "key-b"),
        ("both.pem", both),
        ("lone.crt", "crt-lone"),
        ("lone2.key", "key-lone2"),
        ("notes.txt", "not looked at"),
        ("acme.sh/c.org/fullchain.cer", "crt-c"),
        ("acme.sh/c.org/c.org.cer", "leaf-c"),
        ("acme.sh/c.org/c.org.key", "key-c"),
        ("acme.sh/c.org/ca.cer", "ca-c"),
    ]);
    assert_eq!(
        found(folder.path()),
        [
            "a.org.crt: certificate crt-a key-a  false".to_owned(),
            "b.org.pem: certificate crt-b key-b  false".to_owned(),
            format!(
                "both.pem: certificate -----BEGIN CERTIFICATE-----\nc\n-----END CERTIFICATE----- \
                 {both}  false"
            ),
            "lone.crt: there is no key for it: lone.key".to_owned(),
            "lone2.key: there is no certificate for it: lone2.crt or lone2.pem".to_owned(),
            "acme.sh/c.org/fullchain.cer: certificate crt-c key-c  false".to_owned(),
        ]
    );
}

#[test]
fn certbots_folder_names_the_authority() {
    let folder = folder(&[
        ("live/README", "hello"),
        ("live/a.org/cert.pem", "leaf"),
        ("live/a.org/chain.pem", "issuer"),
        ("live/a.org/fullchain.pem", "leaf and issuer"),
        ("live/a.org/privkey.pem", "key"),
        ("live/b.org/fullchain.pem", "leaf and issuer"),
        ("archive/a.org/fullchain1.pem", "older"),
        (
            "renewal/a.org.conf",
            "version = 2.9\n[renewalparams]\nserver = https://ca.test/dir\n",
        ),
    ]);
    assert_eq!(
        found(folder.path()),
        [
            "a.org/fullchain.pem: certificate leaf and issuer key https://ca.test/dir false",
            "b.org/fullchain.pem: there is no privkey.pem",
        ]
    );
}

#[test]
fn a_sealed_key_is_said_to_be_one() {
    let sealed = "-----BEGIN PORTICO SEALED KEY-----\nAAAA\n-----END PORTICO SEALED KEY-----\n";
    let folder = folder(&[("a.org.crt", "crt"), ("a.org.key", sealed)]);
    let found = found(folder.path());
    assert!(found[0].contains("cert-manager export"), "{found:?}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let error = source::find(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}

#[test]
fn exported_paths_stay_in_their_folder() {
    assert!(safe_path("certificates/local/a/a.key").is_ok());
    for bad in ["", "/etc/passwd", "../a", "a/../../b"] {
        assert!(safe_path(bad).is_err(), "{bad}");
    }
}
