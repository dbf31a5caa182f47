//! Sessions that are resumed: at another proxy, after a rotation, after a restart.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proto::sidecar::identity::Role;
use serde_json::json;

use crate::client::{client_config, get_tls, get_tls_with};
use crate::manager::{Authority, Manager};
use crate::program::{Proxy, write_atomically};

/// A proxy that serves `a.test`, and the cert-manager that it is connected to.
fn connected(authority: &Authority) -> (Proxy, Manager) {
    let manager = Manager::start(authority);
    let mut proxy = Proxy::new();
    proxy.cert_manager = format!("https://{}", manager.address);
    authority.write(Role::Proxy, &proxy.control());
    proxy.write(proxy.tls(&["a.test"], "secret"));
    proxy.start();
    manager.declaration();
    manager.certificate("a.test");
    proxy.wait_for("the certificate", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok()
    });
    (proxy, manager)
}

/// Gives a proxy keys, and waits until it has them.
fn give(proxy: &mut Proxy, manager: &Manager, octets: &[u8]) {
    manager.ticket_keys(octets);
    let file = proxy.folder.path().join("data/session-tickets.json");
    let wanted: Vec<String> = octets
        .iter()
        .map(|octet| STANDARD.encode([*octet; 32]))
        .collect();
    proxy.wait_for("the keys", |_| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.matches("\"secret\"").count() == wanted.len()
            && wanted.iter().all(|secret| text.contains(secret))
    });
}

#[test]
fn a_session_is_resumed_at_another_proxy_after_a_rotation_and_after_a_restart_alone() {
    let authority = Authority::new();
    let (mut first, first_manager) = connected(&authority);
    let (mut second, second_manager) = connected(&authority);
    let config = client_config();
    let resumes = |proxy: &Proxy| {
        let secure = get_tls_with(&config, proxy.https, "a.test", "/").unwrap();
        assert!(secure.answer.ends_with("secret"), "{}", secure.answer);
        secure.is_resumed
    };
    assert!(!resumes(&first));
    assert!(resumes(&first), "by a key of its own");
    assert!(!resumes(&second), "that nobody else has");

    give(&mut first, &first_manager, &[1]);
    give(&mut second, &second_manager, &[1]);
    assert!(resumes(&second), "by the key that it had before");
    assert!(resumes(&first));
    assert!(resumes(&second));

    // Its ticket is of the first key, and the other proxy encrypts by the second one now.
    give(&mut first, &first_manager, &[2, 1]);
    assert!(resumes(&first));
    give(&mut second, &second_manager, &[2, 1]);
    assert!(resumes(&second));

    drop((first_manager, second_manager));
    for proxy in [&mut first, &mut second] {
        proxy.kill();
        proxy.start();
    }
    assert!(resumes(&first));
    assert!(resumes(&second));
    assert!(!first.log().contains(&STANDARD.encode([2; 32])));
}

#[test]
fn a_key_that_has_gone_resumes_nothing() {
    let authority = Authority::new();
    let (mut proxy, manager) = connected(&authority);
    let config = client_config();
    let resumes = |proxy: &Proxy| {
        get_tls_with(&config, proxy.https, "a.test", "/")
            .unwrap()
            .is_resumed
    };
    give(&mut proxy, &manager, &[1]);
    assert!(!resumes(&proxy));
    assert!(resumes(&proxy));
    give(&mut proxy, &manager, &[2]);
    assert!(!resumes(&proxy));
    assert!(resumes(&proxy));
}

#[test]
fn tickets_can_be_switched_off() {
    let authority = Authority::new();
    let (mut proxy, _manager) = connected(&authority);
    let config = client_config();
    let resumes = |proxy: &Proxy| {
        get_tls_with(&config, proxy.https, "a.test", "/")
            .unwrap()
            .is_resumed
    };
    assert!(!resumes(&proxy));
    assert!(resumes(&proxy));
    let document = json!({"apps": {
        "http": {
            "http_port": proxy.http.port(),
            "https_port": proxy.https.port(),
            "servers": proxy.tls(&["a.test"], "secret"),
        },
        "tls": {"session_tickets": {"disabled": true}},
    }});
    write_atomically(&proxy.config(), &document.to_string());
    assert_eq!(proxy.run(&["reload"]).code, 0);
    assert!(!resumes(&proxy));
    assert!(!resumes(&proxy));
    proxy.wait_for("readiness", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok()
    });
}
