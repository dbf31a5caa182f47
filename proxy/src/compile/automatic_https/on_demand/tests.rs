use serde_json::{Value, json};

use super::*;
use crate::compile::CompileContext;
use crate::compile::automatic_https::apply;

fn plan(hosts: &[&str], policies: Value, on_demand: Value) -> Result<Plan, Vec<CompileError>> {
    let hosts = if hosts.is_empty() {
        json!([])
    } else {
        json!([{"host": hosts}])
    };
    let mut document = serde_json::from_value(json!({"apps": {
        "http": {"servers": {"srv0": {
            "listen": [":443"],
            "routes": [{"match": hosts, "handle": []}],
        }}},
        "tls": {"automation": {"policies": policies, "on_demand": on_demand}},
    }}))
    .unwrap();
    apply(&mut document, &CompileContext::default())
}

fn ask() -> Value {
    json!({"permission": {"module": "http", "endpoint": "http://app:8000/allowed?token=x"}})
}

fn refusal(hosts: &[&str], policies: Value, on_demand: Value) -> Option<String> {
    let errors = plan(hosts, policies, on_demand).err()?;
    Some(
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

#[test]
fn names_on_demand_are_not_obtained_at_start() {
    let policies = json!([
        {"subjects": ["*.localhost", "a.example.org"], "on_demand": true},
        {"subjects": ["b.example.org"]},
    ]);
    let plan = plan(
        &["*.localhost", "a.example.org", "b.example.org"],
        policies,
        ask(),
    )
    .unwrap();
    assert_eq!(plan.names.keys().collect::<Vec<_>>(), ["b.example.org"]);
    assert_eq!(plan.on_demand("a.example.org"), Some(0));
    assert_eq!(plan.on_demand("x.localhost"), Some(0));
    let policy = plan.policies[0].on_demand.as_ref().unwrap();
    assert_eq!(policy.ask_url, "http://app:8000/allowed?token=x");
    for name in [
        "b.example.org",
        "c.example.org",
        "x.y.localhost",
        "localhost",
    ] {
        assert_eq!(plan.on_demand(name), None, "{name}");
    }
}

#[test]
fn a_site_for_all_hosts_brings_every_host_name() {
    let policies = json!([{"on_demand": true}]);
    let plan = plan(&[], policies, ask()).unwrap();
    for name in [
        "a.example.org",
        "a.b.c.example.org",
        "xn--bcher-kva.example",
    ] {
        assert_eq!(plan.on_demand(name), Some(0), "{name}");
    }
    for name in [
        "example",
        "127.0.0.1",
        "::1",
        "1.2.3.4.5",
        "a..org",
        "-a.org",
        "a b.org",
        "*.example.org",
        "a.org.",
        "",
        ".",
        "a/b.org",
    ] {
        assert_eq!(plan.on_demand(name), None, "{name}");
    }
    let long = format!("{}.org", "a".repeat(64));
    assert_eq!(plan.on_demand(&long), None);
}

#[test]
fn the_first_policy_that_fits_decides() {
    let policies = json!([
        {"subjects": ["*.example.org"]},
        {"on_demand": true},
    ]);
    let plan = plan(&[], policies, ask()).unwrap();
    assert_eq!(plan.on_demand("a.example.org"), None);
    assert_eq!(plan.on_demand("a.example.net"), Some(1));
}

#[test]
fn permission_is_needed_where_names_are_without_bound() {
    let on_demand = |subjects: Value, issuers: Value| json!([{"subjects": subjects, "issuers": issuers, "on_demand": true}]);
    for subjects in [json!([]), json!(["*.example.org"])] {
        let refusal = refusal(&[], on_demand(subjects, json!([])), Value::Null).unwrap();
        assert!(
            refusal.starts_with("apps.tls.automation.policies[0].on_demand: "),
            "{refusal}"
        );
    }
    let internal = json!([{"module": "internal"}]);
    for (subjects, issuers) in [
        (json!(["a.example.org"]), json!([])),
        (json!([]), internal),
        (json!(["*.localhost"]), json!([])),
    ] {
        assert_eq!(
            refusal(&[], on_demand(subjects, issuers), Value::Null),
            None
        );
    }
}

#[test]
fn permission_must_be_a_url() {
    for endpoint in ["/allowed", "ftp://app/", "app:8000"] {
        let policies = json!([{"on_demand": true}, {"subjects": ["a.org"], "on_demand": true}]);
        let permission = json!({"permission": {"module": "http", "endpoint": endpoint}});
        let refusal = refusal(&[], policies, permission).unwrap();
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
        assert!(refusal.starts_with(PERMISSION), "{refusal}");
    }
}
