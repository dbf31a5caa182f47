//! The document keeps what it reads.

use super::*;

#[test]
fn defaults_are_left_out() {
    let document = Document::default();
    assert_eq!(
        serde_json::to_value(&document).unwrap(),
        serde_json::json!({})
    );
}

#[test]
fn known_and_unknown_modules_round_trip() {
    let text = serde_json::json!({
        "admin": {"disabled": true, "config": {"persist": false}},
        "apps": {
            "events": {"subscriptions": []},
            "http": {"servers": {"srv0": {
                "listen": [":443"],
                "routes": [{
                    "match": [{"path": ["/a/*"], "weather": {"sunny": true}, "file": {}}],
                    "handle": [
                        {"handler": "static_response", "status_code": 404},
                        {"handler": "static_response", "status_code": "{vars.status}"},
                        {"handler": "vars", "root": "/srv"},
                        {"handler": "web_dav", "zones": {"a": 1}},
                        {"handler": "reverse_proxy", "upstreams": [{"dial": "web:8000"}],
                         "transport": {"protocol": "http", "dial_timeout": 5_000_000_000_i64}},
                    ],
                }],
                "tls_connection_policies": [{}],
            }}},
        },
    });
    let document: Document = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), text);
}

#[test]
fn durations_are_read_from_text() {
    let app: HttpApp = serde_json::from_str(r#"{"grace_period": "1m30s"}"#).unwrap();
    assert_eq!(app.grace_period, Duration::from_nanoseconds(90_000_000_000));
}

#[test]
fn misspelt_field_is_refused() {
    let error = serde_json::from_str::<Handler>(r#"{"handler": "error", "eror": "x"}"#)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("handler `error`: unknown field `eror`"),
        "{error}"
    );
}
