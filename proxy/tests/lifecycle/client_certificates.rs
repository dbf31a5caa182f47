//! Certificates that clients show, asked for by the site that they want.

use std::fs;
use std::sync::Arc;

use proto::sidecar::identity::{Role, provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::client::{AnyCertificate, get_tls_with, request_tls_with};
use crate::manager::{Authority, Manager};
use crate::program::Proxy;

/// Who signs what clients show.
struct Club(CertifiedIssuer<'static, KeyPair>);

impl Club {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn member(&self, name: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Shown {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        }
    }
}

/// What a client shows.
struct Shown {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

/// A client with a memory of sessions.
fn client(shown: Option<&Shown>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate));
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let key = PrivateKeyDer::try_from(shown.key.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![shown.certificate.clone()], key)
                .unwrap()
        }
    })
}

/// `closed.test` asks for certificates as `authentication` says, `open.test` for none.
fn sites(proxy: &Proxy, authentication: &Value) -> Value {
    json!({"secure": {
        "listen": [proxy.https.to_string()],
        "logs": {},
        "tls_connection_policies": [
            {"match": {"sni": ["closed.test"]}, "client_authentication": authentication},
            {},
        ],
        "routes": [{
            "match": [{"host": ["closed.test", "open.test"]}],
            "handle": [{
                "handler": "static_response",
                "body": "hello {http.request.tls.client.subject}",
            }],
        }],
    }})
}

fn started(authentication: impl FnOnce(&Proxy) -> Value) -> (Proxy, Manager) {
    let authority = Authority::new();
    let manager = Manager::start(&authority);
    let mut proxy = Proxy::new();
    proxy.cert_manager = format!("https://{}", manager.address);
    authority.write(Role::Proxy, &proxy.control());
    let authentication = authentication(&proxy);
    proxy.write(sites(&proxy, &authentication));
    proxy.start();
    manager.declaration();
    manager.certificate("closed.test");
    manager.certificate("open.test");
    let open = client(None);
    proxy.wait_for("the certificates", |proxy| {
        get_tls_with(&open, proxy.https, "open.test", "/").is_ok()
            && proxy
                .folder
                .path()
                .join("data/certificates/closed.test.pem")
                .exists()
    });
    (proxy, manager)
}

fn trusting(proxy: &Proxy, club: &Club, mode: &str) -> Value {
    let file = proxy.folder.path().join("club.pem");
    fs::write(&file, club.0.pem()).unwrap();
    json!({"mode": mode, "ca": {"provider": "file", "pem_files": [file]}})
}

/// The body of what `host` answers to a client, if it lets it in.
fn ask(proxy: &Proxy, shown: Option<&Shown>, host: &str) -> Option<String> {
    let secure = get_tls_with(&client(shown), proxy.https, host, "/").ok()?;
    Some(secure.answer.rsplit("\r\n").next()?.to_owned())
}

#[test]
fn only_whom_the_authority_signed_for_is_let_in() {
    let (club, other) = (Club::new(), Club::new());
    let (mut proxy, _manager) = started(|proxy| trusting(proxy, &club, "require_and_verify"));
    let ada = club.member("Ada");
    assert_eq!(ask(&proxy, None, "closed.test"), None);
    assert_eq!(ask(&proxy, Some(&other.member("Eve")), "closed.test"), None);
    let answer = ask(&proxy, Some(&ada), "closed.test");
    assert_eq!(answer.as_deref(), Some("hello CN=Ada"));
    assert_eq!(ask(&proxy, None, "open.test").as_deref(), Some("hello "));
    proxy.wait_for_log(r#""client_common_name":"Ada""#);
}

#[test]
fn a_connection_to_the_open_site_is_none_to_the_closed_one() {
    let club = Club::new();
    let (proxy, _manager) = started(|proxy| trusting(proxy, &club, "require"));
    let secure = request_tls_with(&client(None), proxy.https, "open.test", "closed.test", "/");
    let answer = secure.unwrap().answer;
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[test]
fn sessions_are_no_way_around_it() {
    let club = Club::new();
    let (mut proxy, _manager) = started(|proxy| trusting(proxy, &club, "require_and_verify"));
    let ada = client(Some(&club.member("Ada")));
    for _ in 0..2 {
        let secure = get_tls_with(&ada, proxy.https, "closed.test", "/").unwrap();
        assert!(!secure.is_resumed);
    }
    // A session from before a reload that asks for certificates is of no use after it.
    let nobody = client(None);
    get_tls_with(&nobody, proxy.https, "open.test", "/").unwrap();
    let authentication = trusting(&proxy, &club, "require_and_verify");
    let mut closed = sites(&proxy, &authentication);
    closed["secure"]["tls_connection_policies"] = json!([
        {"client_authentication": authentication},
    ]);
    proxy.write(closed);
    assert_eq!(proxy.run(&["reload"]).code, 0);
    proxy.wait_for("the other policy", |proxy| {
        get_tls_with(&nobody, proxy.https, "open.test", "/").is_err()
    });
    get_tls_with(&ada, proxy.https, "open.test", "/").unwrap();
}

#[test]
fn modes_decide_what_is_needed() {
    let (club, other) = (Club::new(), Club::new());
    let (ada, eve) = (club.member("Ada"), other.member("Eve"));
    for (mode, without, signed, foreign) in [
        ("request", true, true, true),
        ("require", false, true, true),
        ("verify_if_given", true, true, false),
        ("require_and_verify", false, true, false),
        ("", false, true, false),
    ] {
        let (proxy, _manager) = started(|proxy| trusting(proxy, &club, mode));
        let is_let_in = |shown| ask(&proxy, shown, "closed.test").is_some();
        assert_eq!(is_let_in(None), without, "{mode}: nothing");
        assert_eq!(is_let_in(Some(&ada)), signed, "{mode}: signed");
        assert_eq!(is_let_in(Some(&eve)), foreign, "{mode}: foreign");
    }
}

#[test]
fn a_list_of_certificates_lets_in_those_alone() {
    let club = Club::new();
    let (ada, bob) = (club.member("Ada"), club.member("Bob"));
    let (proxy, _manager) = started(|proxy| {
        let file = proxy.folder.path().join("ada.pem");
        fs::write(&file, &ada.pem).unwrap();
        json!({"verifiers": [{
            "verifier": "leaf",
            "leaf_certs_loaders": [{"loader": "file", "files": [file]}],
        }]})
    });
    let answer = ask(&proxy, Some(&ada), "closed.test");
    assert_eq!(answer.as_deref(), Some("hello CN=Ada"));
    assert_eq!(ask(&proxy, Some(&bob), "closed.test"), None);
    assert_eq!(ask(&proxy, None, "closed.test"), None);
}

#[test]
fn what_cannot_be_read_is_shown_in_the_caddyfile() {
    let proxy = Proxy::new();
    let caddyfile = proxy.folder.path().join("Caddyfile");
    for (trust, expected) in [
        ("trust_pool file none.pem", "`none.pem` cannot be read"),
        ("trust_pool inline AAAA", "a trusted certificate is none"),
        (
            "trust_pool pki_root local",
            "the trust pool `pki_root` is not supported",
        ),
        ("verifier mine", "the verifier `mine` is not supported"),
    ] {
        let text =
            format!("a.test {{\n\ttls {{\n\t\tclient_auth {{\n\t\t\t{trust}\n\t\t}}\n\t}}\n}}\n");
        fs::write(&caddyfile, text).unwrap();
        let finished = proxy.run(&["validate", "--config", caddyfile.to_str().unwrap()]);
        assert_eq!(finished.code, 2, "{finished:?}");
        assert!(finished.stderr.contains(expected), "{finished:?}");
        assert!(finished.stderr.contains("Caddyfile:2:"), "{finished:?}");
    }
}
