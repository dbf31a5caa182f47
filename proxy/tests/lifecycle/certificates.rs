//! Certificates and challenges from cert-manager.

use std::fs;

use proto::sidecar::identity::Role;
use serde_json::json;

use crate::client::{get, get_tls};
use crate::manager::{Authority, Manager};
use crate::program::Proxy;

fn connected(hosts: &[&str]) -> (Proxy, Manager, Authority) {
    let authority = Authority::new();
    let manager = Manager::start(&authority);
    let mut proxy = Proxy::new();
    proxy.cert_manager = format!("https://{}", manager.address);
    authority.write(Role::Proxy, &proxy.control());
    proxy.write(proxy.tls(hosts, "secret"));
    proxy.start();
    (proxy, manager, authority)
}

#[test]
fn names_are_declared_with_their_policies() {
    let (proxy, manager, _authority) = connected(&["localhost", "a.test"]);
    let declaration = manager.declaration();
    let names: Vec<&str> = declaration
        .subjects
        .iter()
        .map(|subject| subject.name.as_str())
        .collect();
    assert_eq!(names, ["a.test", "localhost"]);
    let policy = |index: usize| &declaration.policies[declaration.subjects[index].policy as usize];
    assert_eq!(policy(0).issuers, []);
    assert_eq!(policy(1).issuers.len(), 1);

    proxy.write(proxy.tls(&["b.test"], "secret"));
    assert_eq!(proxy.run(&["reload"]).code, 0);
    let declaration = manager.declaration();
    assert_eq!(declaration.subjects.len(), 1);
    assert_eq!(declaration.subjects[0].name, "b.test");
}

#[test]
fn certificate_is_served_when_it_arrives_and_after_a_restart_alone() {
    let (mut proxy, manager, _authority) = connected(&["a.test"]);
    manager.declaration();
    get_tls(proxy.https, "a.test", "/").map(|_| ()).unwrap_err();
    let first = manager.certificate("a.test");
    proxy.wait_for("the certificate", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok_and(|secure| secure.leaf.as_ref() == first)
    });
    manager.synchronized();
    proxy.wait_for("readiness", Proxy::is_ready);
    let file = proxy.folder.path().join("data/certificates/a.test.pem");
    proxy.wait_for("the kept certificate", |_| file.exists());
    let kept = fs::read(&file).unwrap();

    // One for another name never takes its place.
    manager.certificate_for("a.test", "b.test");
    proxy.wait_for_log("cannot be served");
    let second = manager.certificate("a.test");
    proxy.wait_for("the next certificate", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok_and(|secure| secure.leaf.as_ref() == second)
    });
    proxy.wait_for("the next kept certificate", |_| {
        fs::read(&file).is_ok_and(|now| now != kept)
    });

    drop(manager);
    proxy.kill();
    proxy.start();
    proxy.wait_for("readiness without cert-manager", Proxy::is_ready);
    let secure = get_tls(proxy.https, "a.test", "/").unwrap();
    assert_eq!(secure.leaf.as_ref(), second);
    assert!(secure.answer.ends_with("secret"), "{}", secure.answer);
}

#[test]
fn challenge_is_answered_before_it_is_acknowledged() {
    let (mut proxy, manager, _authority) = connected(&["a.test"]);
    manager.declaration();
    let path = "/.well-known/acme-challenge/token1";
    manager.challenge("token1");
    assert_eq!(manager.acknowledgement(), "id-token1");
    // Either worker may get the connection.
    for _ in 0..10 {
        let answer = get(proxy.http, "a.test", path).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("token1.thumbprint"), "{answer}");
    }
    manager.withdraw_challenge("token1");
    proxy.wait_for("the withdrawal", |proxy| {
        !get(proxy.http, "a.test", path)
            .unwrap()
            .contains("thumbprint")
    });

    manager.know("token2", "token2.asked");
    let answer = get(proxy.http, "a.test", "/.well-known/acme-challenge/token2").unwrap();
    assert!(answer.ends_with("token2.asked"), "{answer}");
}

#[test]
fn plain_http_is_sent_to_https() {
    let (proxy, _manager, _authority) = connected(&["a.test"]);
    let answer = get(proxy.http, "a.test", "/page?x=1").unwrap();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    let location = answer.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("location: ")
            .map(str::to_owned)
    });
    assert_eq!(location.as_deref(), Some("https://a.test/page?x=1"));
}

#[test]
fn stream_is_opened_again_after_a_loss() {
    let (mut proxy, manager, authority) = connected(&["a.test"]);
    manager.declaration();
    manager.synchronized();
    proxy.wait_for("connection", |proxy| {
        proxy.status()["cert_manager_connected"] == true
    });
    let address = manager.address;
    drop(manager);
    proxy.wait_for("loss", |proxy| {
        proxy.status()["cert_manager_connected"] == false
    });
    proxy.wait_for_log("no connection to cert-manager");
    let manager = Manager::start_at(&authority, address);
    assert_eq!(manager.declaration().subjects[0].name, "a.test");
    let leaf = manager.certificate("a.test");
    proxy.wait_for("the certificate", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok_and(|secure| secure.leaf.as_ref() == leaf)
    });
}

#[test]
fn identity_may_come_later_than_the_proxy() {
    let authority = Authority::new();
    let manager = Manager::start(&authority);
    let mut proxy = Proxy::new();
    proxy.cert_manager = format!("https://{}", manager.address);
    proxy.write(proxy.tls(&["a.test"], "secret"));
    proxy.start();
    authority.write(Role::Proxy, &proxy.control());
    assert_eq!(manager.declaration().subjects[0].name, "a.test");
    manager.certificate("a.test");
    proxy.wait_for("the certificate", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok()
    });
}

#[test]
fn certificate_in_files_is_read_again_at_a_reload() {
    let mut proxy = Proxy::new();
    let folder = proxy.folder.path().to_owned();
    let write = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.test".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        certificate.der().to_vec()
    };
    let first = write();
    let mut document = json!({"apps": {
        "http": {
            "http_port": proxy.http.port(),
            "https_port": proxy.https.port(),
            "servers": proxy.tls(&["a.test"], "secret"),
        },
        "tls": {"certificates": {"load_files": [
            {"certificate": folder.join("cert.pem"), "key": folder.join("key.pem")},
        ]}},
    }});
    document["apps"]["http"]["servers"]["secure"]["automatic_https"] =
        json!({"disable_redirects": true});
    fs::write(proxy.config(), document.to_string()).unwrap();
    proxy.start();
    proxy.wait_for("readiness", Proxy::is_ready);
    let leaf = || {
        get_tls(proxy.https, "a.test", "/")
            .unwrap()
            .leaf
            .as_ref()
            .to_vec()
    };
    assert_eq!(leaf(), first);
    let second = write();
    assert_eq!(leaf(), first);
    assert_eq!(proxy.run(&["reload"]).code, 0);
    assert_eq!(leaf(), second);
}

#[test]
fn challenges_are_answered_also_where_there_are_no_redirects() {
    let authority = Authority::new();
    let manager = Manager::start(&authority);
    let mut proxy = Proxy::new();
    proxy.cert_manager = format!("https://{}", manager.address);
    authority.write(Role::Proxy, &proxy.control());
    let mut servers = proxy.tls(&["a.test"], "secret");
    servers["secure"]["automatic_https"] = json!({"disable_redirects": true});
    proxy.write(servers);
    proxy.start();
    manager.declaration();
    manager.challenge("token1");
    manager.acknowledgement();
    let path = "/.well-known/acme-challenge/token1";
    let answer = get(proxy.http, "a.test", path).unwrap();
    assert!(answer.ends_with("token1.thumbprint"), "{answer}");
    assert_eq!(get(proxy.http, "a.test", "/").unwrap_or_default(), "");
}
