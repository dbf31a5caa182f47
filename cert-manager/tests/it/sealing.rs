//! Private keys at rest and in what is said.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proto::certs::v1;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::context::Place;
use crate::proxy::{Proxy, acme, internal, serial};

const PASSPHRASE: &str = "correct horse battery staple";

/// A place with a key file of these lines.
pub(crate) fn place(lines: &str) -> Place {
    let mut place = Place::new();
    set_keys(&place, lines);
    let path = place.path("key").display().to_string();
    place.flags = vec!["--key-file".to_owned(), path];
    place
}

fn set_keys(place: &Place, lines: &str) {
    std::fs::write(place.path("key"), lines).unwrap();
}

/// How a private key could be seen: in PEM, in hexadecimal, or as a list of octets.
fn traces(der: &[u8]) -> Vec<String> {
    let text = STANDARD.encode(der);
    let scalar = &der[36..68];
    let list: Vec<_> = scalar[4..12].iter().map(u8::to_string).collect();
    let hexadecimal: String = scalar.iter().map(|octet| format!("{octet:02x}")).collect();
    vec![
        text[50..64].to_owned(),
        text[64..90].to_owned(),
        hexadecimal[8..40].to_owned(),
        hexadecimal[8..40].to_uppercase(),
        list.join(", "),
    ]
}

/// Every private key in an exported folder.
fn exported_keys(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keys.append(&mut exported_keys(&path));
        } else if path.extension().is_some_and(|found| found == "key") {
            let key = PrivateKeyDer::from_pem_file(&path).unwrap();
            keys.push(key.secret_der().to_vec());
        }
    }
    keys
}

#[tokio::test]
async fn no_private_key_is_in_logs_status_metrics_or_data() {
    let mut place = place(PASSPHRASE);
    place
        .flags
        .extend(["--log-level", "trace"].map(ToOwned::to_owned));
    let server = place.start().await;
    // One that cannot be had: an account and an order are begun.
    let subjects = [
        ("a.localhost", internal()),
        ("b.localhost", internal()),
        ("c.school.org", acme("https://127.0.0.1:9/dir")),
    ];
    let proxy = Proxy::connect(&place, &subjects).await;
    let before = proxy.certificate("a.localhost", None).await;
    proxy.certificate("b.localhost", None).await;
    let request = v1::RenewRequest {
        name: "a.localhost".to_owned(),
    };
    place.admin().renew(request).await.unwrap();
    proxy
        .certificate("a.localhost", Some(&serial(&before)))
        .await;
    place
        .status_of("c.school.org", |status| status.failures > 0)
        .await;
    let folder = place.path("export");
    let output = place.run(&["export", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");

    let mut keys = exported_keys(&folder);
    assert!(keys.len() >= 4, "certificates, root and intermediate");
    keys.push(before.private_key.clone());
    let identity = place.control().join("operator/identity.pem");
    if let Ok(key) = PrivateKeyDer::from_pem_file(identity) {
        keys.push(key.secret_der().to_vec());
    }
    let mut secrets: Vec<_> = keys.iter().flat_map(|key| traces(key)).collect();
    secrets.push(PASSPHRASE.to_owned());

    let metrics = metrics(&place).await;
    assert!(metrics.contains("store_damaged_files"), "{metrics}");
    let said = [
        ("status", place.run(&["status"]).stdout),
        ("status --json", place.run(&["status", "--json"]).stdout),
        ("export", output.stdout),
        ("metrics", metrics.into_bytes()),
        ("the log", server.terminate().0.into_bytes()),
    ];
    for (what, text) in said {
        let text = String::from_utf8(text).unwrap();
        assert!(!text.is_empty(), "{what}");
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is in {what}");
        }
    }
    for file in files_below(&place.data()) {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} is in {}", file.display());
        }
    }
}

#[tokio::test]
async fn a_start_without_the_key_says_what_to_do_and_changes_nothing() {
    let mut place = place(PASSPHRASE);
    let server = place.start().await;
    let subjects = [("a.localhost", internal())];
    let proxy = Proxy::connect(&place, &subjects).await;
    let before = serial(&proxy.certificate("a.localhost", None).await);
    server.terminate();
    let flags = std::mem::take(&mut place.flags);

    let refused = place.spawn(place.listen, place.status_listen, place.admin);
    let (log, code) = refused.ended();
    assert_eq!(code, Some(1));
    assert!(log.contains("are sealed; give the file"), "{log}");

    place.flags = flags;
    set_keys(&place, "another passphrase than before");
    let refused = place.spawn(place.listen, place.status_listen, place.admin);
    let (log, code) = refused.ended();
    assert_eq!(code, Some(1));
    let key_file = place.path("key").display().to_string();
    assert!(log.contains(&key_file), "{log}");
    assert!(!log.contains("another passphrase"), "{log}");

    set_keys(
        &place,
        &format!("another passphrase than before\n{PASSPHRASE}"),
    );
    let server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    let after = serial(&proxy.certificate("a.localhost", None).await);
    assert_eq!(after, before);
    let (log, _, _) = server.terminate();
    assert!(log.contains("sealed the stored private keys"), "{log}");

    // Sealed anew: the old one can go.
    set_keys(&place, "another passphrase than before");
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    let after = serial(&proxy.certificate("a.localhost", None).await);
    assert_eq!(after, before);
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// What `/metrics` answers.
async fn metrics(place: &Place) -> String {
    let mut stream = TcpStream::connect(place.admin).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
