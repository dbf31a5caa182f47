use std::collections::BTreeMap;

use caddyfile::document::Document;
use serde_json::{Value, json};

use super::super::CompileContext;
use super::policy::Issuer;
use super::{Plan, apply};

fn applied(document: Value) -> (Value, Plan) {
    let mut document: Document = serde_json::from_value(document).unwrap();
    let plan = apply(&mut document, &CompileContext::default()).unwrap();
    (
        serde_json::to_value(document.apps.http.unwrap()).unwrap(),
        plan,
    )
}

fn errors(document: Value) -> Vec<String> {
    let mut document: Document = serde_json::from_value(document).unwrap();
    apply(&mut document, &CompileContext::default())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn site(listen: &[&str], hosts: &[&str]) -> Value {
    json!({"listen": listen, "routes": [{"match": [{"host": hosts}], "terminal": true}]})
}

fn redirect(location: &str, hosts: &[&str]) -> Value {
    let matcher = if hosts.is_empty() {
        json!({"protocol": "http"})
    } else {
        json!({"protocol": "http", "host": hosts})
    };
    json!({
        "match": [matcher],
        "handle": [{
            "handler": "static_response",
            "status_code": 308,
            "headers": {"Location": [location]},
            "close": true,
        }],
    })
}

const HTTPS: &str = "https://{http.request.host}{http.request.uri}";

#[test]
fn site_on_443_gets_tls_certificate_and_redirect() {
    let (http, plan) = applied(json!({"apps": {"http": {"servers": {
        "srv0": site(&[":443"], &["example.com"]),
    }}}}));
    assert_eq!(
        http["servers"]["srv0"]["tls_connection_policies"],
        json!([{}])
    );
    let redirects = &http["servers"]["remaining_auto_https_redirects"];
    assert_eq!(redirects["listen"], json!([":80"]));
    assert_eq!(
        redirects["routes"],
        json!([redirect(HTTPS, &["example.com"]), redirect(HTTPS, &[])])
    );
    assert_eq!(plan.names, BTreeMap::from([("example.com".to_owned(), 0)]));
    assert_eq!(plan.policies[0].issuers, []);
}

#[test]
fn local_names_are_certified_internally() {
    let (_, plan) = applied(json!({"apps": {
        "http": {"servers": {"srv0": site(&[":443"], &["localhost", "127.0.0.1", "example.com"])}},
        "tls": {"automation": {"policies": [{"issuers": [{"module": "acme", "email": "a@b.c"}]}]}},
    }}));
    let issuer = |name: &str| &plan.policies[plan.names[name]].issuers[0];
    assert!(matches!(issuer("localhost"), Issuer::Internal { .. }));
    assert!(matches!(issuer("127.0.0.1"), Issuer::Internal { .. }));
    assert!(matches!(issuer("example.com"), Issuer::Acme(acme) if acme.email == "a@b.c"));
}

#[test]
fn policy_that_names_the_subject_goes_first() {
    let (_, plan) = applied(json!({"apps": {
        "http": {"servers": {"srv0": site(&[":443"], &["a.example.com", "b.example.com"])}},
        "tls": {"automation": {"policies": [
            {"subjects": ["a.example.com"], "issuers": [{"module": "internal"}]},
            {"issuers": [{"module": "acme"}, {"module": "acme", "ca": "https://acme.zerossl.com/v2/DV90"}]},
        ]}},
    }}));
    assert_eq!(plan.names["a.example.com"], 0);
    assert_eq!(plan.names["b.example.com"], 1);
    assert_eq!(plan.policies[1].issuers.len(), 2);
}

#[test]
fn server_on_the_http_port_stays_plain() {
    let (http, plan) = applied(json!({"apps": {"http": {"http_port": 8080, "servers": {
        "srv0": site(&[":8080"], &["example.com"]),
    }}}}));
    assert_eq!(http["servers"].as_object().unwrap().len(), 1);
    assert_eq!(http["servers"]["srv0"].get("tls_connection_policies"), None);
    assert!(plan.names.is_empty());
}

#[test]
fn port_is_part_of_the_redirect_unless_it_is_https_own() {
    let (http, _) = applied(json!({"apps": {"http": {"servers": {
        "srv0": site(&[":8443"], &["example.com"]),
    }}}}));
    let routes = &http["servers"]["remaining_auto_https_redirects"]["routes"];
    let with_port = "https://{http.request.host}:8443{http.request.uri}";
    assert_eq!(
        *routes,
        json!([redirect(with_port, &["example.com"]), redirect(HTTPS, &[])])
    );

    let (http, _) = applied(json!({"apps": {"http": {"https_port": 8443, "servers": {
        "srv0": site(&[":8443"], &["example.com"]),
    }}}}));
    let routes = &http["servers"]["remaining_auto_https_redirects"]["routes"];
    assert_eq!(routes[0], redirect(HTTPS, &["example.com"]));
}

#[test]
fn redirects_join_the_server_on_the_http_port_before_its_catch_all() {
    let (http, _) = applied(json!({"apps": {"http": {"servers": {
        "srv0": site(&[":443"], &["*.example.com", "www.example.com"]),
        "srv1": {"listen": [":80"], "routes": [
            {"match": [{"host": ["plain.example.com"]}]},
            {"handle": [{"handler": "static_response"}]},
        ]},
    }}}}));
    assert_eq!(http["servers"].as_object().unwrap().len(), 2);
    let routes = http["servers"]["srv1"]["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 4);
    assert_eq!(
        routes[1],
        redirect(HTTPS, &["*.example.com", "www.example.com"])
    );
    assert_eq!(routes[3], redirect(HTTPS, &[]));
}

#[test]
fn parts_can_be_turned_off() {
    let with = |settings: Value| {
        let mut server = site(&[":443"], &["example.com", "other.example.com"]);
        server["automatic_https"] = settings;
        applied(json!({"apps": {"http": {"servers": {"srv0": server}}}}))
    };
    let (http, plan) = with(json!({"disable": true}));
    assert_eq!(http["servers"]["srv0"].get("tls_connection_policies"), None);
    assert!(plan.names.is_empty());

    let (http, plan) = with(json!({"disable_redirects": true}));
    assert_eq!(http["servers"].as_object().unwrap().len(), 1);
    assert_eq!(plan.names.len(), 2);

    let (http, plan) = with(json!({"disable_certificates": true}));
    assert_eq!(http["servers"].as_object().unwrap().len(), 2);
    assert!(plan.names.is_empty());

    let (_, plan) = with(json!({"skip": ["example.com"]}));
    assert_eq!(plan.names.keys().collect::<Vec<_>>(), ["other.example.com"]);
}

#[test]
fn catch_all_server_on_443_redirects_every_host() {
    let (http, plan) = applied(json!({"apps": {"http": {"servers": {
        "srv0": {"listen": [":443"], "routes": [{"handle": [{"handler": "static_response"}]}]},
    }}}}));
    let redirects = &http["servers"]["remaining_auto_https_redirects"];
    assert_eq!(
        redirects["routes"],
        json!([redirect(HTTPS, &[]), redirect(HTTPS, &[])])
    );
    assert!(plan.names.is_empty());
}

#[test]
fn loaded_certificate_makes_another_one_needless() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["example.com".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let mut document: Document = serde_json::from_value(json!({"apps": {
        "http": {"servers": {"srv0": site(&[":443"], &["example.com", "www.example.com"])}},
        "tls": {"certificates": {"load_files": [{"certificate": "cert.pem", "key": "key.pem"}]}},
    }}))
    .unwrap();
    let context = CompileContext {
        folder: folder.path().to_owned(),
        ..CompileContext::default()
    };
    let plan = apply(&mut document, &context).unwrap();
    assert_eq!(plan.loaded.len(), 1);
    assert_eq!(plan.names.keys().collect::<Vec<_>>(), ["www.example.com"]);
}

#[test]
fn what_is_not_supported_is_an_error() {
    let errors = errors(json!({"apps": {"tls": {
        "certificates": {"load_folders": ["/certs"], "load_files": [{"certificate": "/none", "key": "/none"}]},
        "automation": {"policies": [{"must_staple": true, "key_type": "dsa", "issuers": [
            {"module": "zerossl"},
            {"module": "acme", "challenges": {"dns": {"provider": {"name": "route53"}}}},
        ]}]},
    }}}));
    insta::assert_snapshot!(errors.join("\n"), @r"
    apps.tls.certificates.load_folders: `load_folders` is not supported
    apps.tls.certificates.load_files[0]: cannot read certificates from /none: I/O error: No such file or directory (os error 2)
    apps.tls.automation.policies[0].must_staple: `must_staple` is not supported
    apps.tls.automation.policies[0].key_type: there are no keys of type `dsa`
    apps.tls.automation.policies[0].issuers: the issuer `zerossl` is not supported
    apps.tls.automation.policies[0].issuers.challenges.dns.provider: the DNS provider `route53` is not supported
    ");
}
