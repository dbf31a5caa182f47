//! Names that clients bring.

use proto::sidecar::identity::Role;
use serde_json::{Value, json};

use crate::client::get_tls;
use crate::manager::{Authority, Manager};
use crate::program::{Proxy, write_atomically};

/// A site for all names, with this policy.
fn write(proxy: &Proxy, policy: &Value, on_demand: &Value) {
    let document = json!({"apps": {
        "http": {
            "http_port": proxy.http.port(),
            "https_port": proxy.https.port(),
            "servers": {"secure": {
                "listen": [proxy.https.to_string()],
                "routes": [{"handle": [{"handler": "static_response", "body": "brought"}]}],
            }},
        },
        "tls": {"automation": {"policies": [policy], "on_demand": on_demand}},
    }});
    write_atomically(&proxy.config(), &document.to_string());
}

fn connected() -> (Proxy, Manager, Authority) {
    let authority = Authority::new();
    let manager = Manager::start(&authority);
    let mut proxy = Proxy::new();
    proxy.cert_manager = format!("https://{}", manager.address);
    authority.write(Role::Proxy, &proxy.control());
    let ask = json!({"permission": {"module": "http", "endpoint": "http://app.test/allowed"}});
    write(&proxy, &json!({"on_demand": true}), &ask);
    proxy.start();
    assert!(manager.declaration().subjects.is_empty());
    manager.synchronized();
    proxy.wait_for("readiness", Proxy::is_ready);
    (proxy, manager, authority)
}

fn names_asked(manager: &Manager) -> Vec<String> {
    let asked = manager.asked().into_iter();
    asked.map(|request| request.name).collect()
}

#[test]
fn a_name_is_obtained_by_its_first_client_and_declared_from_then_on() {
    let (mut proxy, manager, _authority) = connected();
    manager.allow("a.test");
    let secure = get_tls(proxy.https, "a.test", "/").unwrap();
    assert!(secure.answer.ends_with("brought"), "{}", secure.answer);
    let declaration = manager.declaration();
    assert_eq!(declaration.subjects.len(), 1);
    assert_eq!(declaration.subjects[0].name, "a.test");
    let asked = manager.asked();
    let policy = &declaration.policies[declaration.subjects[0].policy as usize];
    assert_eq!(asked[0].policy.as_ref(), Some(policy));
    let ask_url = policy
        .on_demand
        .as_ref()
        .map(|on_demand| on_demand.ask_url.as_str());
    assert_eq!(ask_url, Some("http://app.test/allowed"));

    // Its renewals come as those of any other name.
    let renewed = manager.certificate("a.test");
    proxy.wait_for("the renewed certificate", |proxy| {
        get_tls(proxy.https, "a.test", "/").is_ok_and(|secure| secure.leaf.as_ref() == renewed)
    });
    assert_eq!(names_asked(&manager), ["a.test"]);
}

#[test]
fn names_that_are_not_allowed_or_none_get_no_certificate() {
    let (proxy, manager, _authority) = connected();
    for _ in 0..3 {
        get_tls(proxy.https, "bad.test", "/").map(drop).unwrap_err();
    }
    // It is not asked about again at once, and not at all of what is no public host name.
    get_tls(proxy.https, "localhost", "/")
        .map(drop)
        .unwrap_err();
    assert_eq!(names_asked(&manager), ["bad.test"]);
}

#[test]
fn many_clients_of_a_new_name_wait_for_one_certificate_and_others_do_not() {
    let (mut proxy, manager, _authority) = connected();
    manager.allow("known.test");
    get_tls(proxy.https, "known.test", "/").unwrap();
    manager.allow("new.test");
    manager.hold(true);
    let address = proxy.https;
    let clients: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || get_tls(address, "new.test", "/").unwrap().leaf))
        .collect();
    proxy.wait_for("the question", |_| manager.asked().len() == 2);
    for _ in 0..4 {
        get_tls(proxy.https, "known.test", "/").unwrap();
    }
    manager.hold(false);
    let mut leaves: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    leaves.dedup();
    assert_eq!(leaves.len(), 1);
    assert_eq!(names_asked(&manager), ["known.test", "new.test"]);
}

#[test]
fn names_are_served_after_a_restart_without_cert_manager_and_new_ones_fail_at_once() {
    let (mut proxy, manager, _authority) = connected();
    manager.allow("a.test");
    let leaf = get_tls(proxy.https, "a.test", "/").unwrap().leaf;
    let kept = proxy.folder.path().join("data/on-demand/a.test.pem");
    proxy.wait_for("the kept certificate", |_| kept.exists());
    drop(manager);
    proxy.kill();
    proxy.start();
    assert_eq!(get_tls(proxy.https, "a.test", "/").unwrap().leaf, leaf);
    for _ in 0..5 {
        get_tls(proxy.https, "b.test", "/").map(drop).unwrap_err();
    }
    let said = "no certificate for a name that a client brought";
    proxy.wait_for_log(said);
    let log = proxy.log();
    assert_eq!(log.matches(said).count(), 1, "{log}");
}

#[test]
fn any_name_needs_a_permission() {
    let proxy = Proxy::new();
    write(&proxy, &json!({"on_demand": true}), &Value::Null);
    let finished = proxy.run(&["validate", proxy.config().to_str().unwrap()]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(
        finished.stderr.contains("needs a permission"),
        "{finished:?}"
    );
}
