//! What is found out about a name before an order and by `doctor`.

use std::process::Output;

use proto::certs::v1;
use serde_json::Value;

use crate::context::{Place, free_address};
use crate::name_server::{self, Names};
use crate::pebble::Pebble;
use crate::proxy::{Proxy, acme, internal};

const QUIZ: &str = "quiz.school.org";

fn diagnosis(place: &Place, name: &str) -> (Output, Value) {
    let output = place.run(&["doctor", name, "--json"]);
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (output, json)
}

/// The checks of a subject, as `severity: message`.
fn checks(json: &Value, subject: &str) -> Vec<String> {
    let checks = json["checks"].as_array().unwrap().iter();
    let of_subject = checks.filter(|check| check["subject"] == subject);
    let text = |check: &Value| {
        let [severity, message] = ["severity", "message"].map(|key| check[key].as_str().unwrap());
        format!("{severity}: {message}")
    };
    of_subject.map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_certain_to_fail_is_not_made() {
    let dns = name_server::start(Names::DoNotExist).await.to_string();
    let place = Place::with_flags(["--preflight-resolver", &dns]);
    let server = place.start().await;
    // By the default authority, which is never asked.
    let _proxy = Proxy::connect(&place, &[(QUIZ, acme(""))]).await;
    let failed = |status: &v1::NameStatus| status.state() == v1::State::Failed;
    let status = place.status_of(QUIZ, failed).await;
    let problem = status.last_problem.unwrap();
    assert_eq!(problem.step, "preflight");
    assert!(problem.message.contains("NXDOMAIN"), "{problem:?}");
    assert_eq!(status.findings.len(), 1, "{:?}", status.findings);
    assert_eq!(status.findings[0].severity(), v1::Severity::Problem);
    let output = place.run(&["status", QUIZ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("found        problem: the DNS has no name"),
        "{text}"
    );
    let output = place.run(&["status", QUIZ, "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["findings"][0]["severity"], "problem");
    assert!(!place.data().join("caddy/orders").exists());
    let (log, _, _) = server.terminate();
    assert!(!log.contains("opened an order"), "{log}");

    // Kept over a restart.
    let _server = place.start().await;
    let status = place.status_of(QUIZ, |_| true).await;
    assert_eq!(status.findings.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_declares_is_examined_all_the_same() {
    let dns = name_server::start(Names::AreHere).await.to_string();
    let https = free_address().port().to_string();
    let place = Place::with_flags([
        "--preflight-resolver",
        &dns,
        "--preflight-https-port",
        &https,
    ]);
    let _server = place.start().await;
    let (output, json) = diagnosis(&place, "nobody.localhost");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 problem found"));
    assert_eq!(
        checks(&json, "declared"),
        ["problem: no proxy declares nobody.localhost, and nothing is stored for it"]
    );
    assert_eq!(
        checks(&json, "authority"),
        ["ok: this program's own authority signs it"]
    );

    let proxy = Proxy::connect(&place, &[("app.localhost", internal())]).await;
    proxy.certificate("app.localhost", None).await;
    let (output, json) = diagnosis(&place, "app.localhost");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        checks(&json, "declared"),
        ["ok: one connected proxy declares it"]
    );
    assert!(
        checks(&json, "certificate")[0].starts_with("ok: "),
        "{json}"
    );
    assert!(
        checks(&json, "port 443")[0].contains("refuses connections"),
        "{json}"
    );

    let output = place.run(&["doctor", "no name"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_follows_a_name_to_the_proxy_and_to_the_authority() {
    let Some(mut pebble) = Pebble::start().await else {
        return;
    };
    let dns = name_server::start(Names::AreHere).await.to_string();
    let place = Place::with_flags([
        "--acme-ca",
        &pebble.directory_url(),
        "--acme-root",
        pebble.root().to_str().unwrap(),
        "--preflight-resolver",
        &dns,
        "--preflight-http-port",
        &pebble.http.port().to_string(),
        "--preflight-https-port",
        &free_address().port().to_string(),
    ]);
    let _server = place.start().await;
    let (_, json) = diagnosis(&place, QUIZ);
    assert_eq!(
        checks(&json, "proxies"),
        ["problem: no proxy is connected, so nobody can answer a challenge"]
    );
    // Nobody listens where the authority asks, so the first attempt fails.
    let proxy = Proxy::connect(&place, &[(QUIZ, acme(""))]).await;
    let looked = |status: &v1::NameStatus| status.failures > 0 && !status.findings.is_empty();
    let status = place.status_of(QUIZ, looked).await;
    let refused = |finding: &v1::Finding| finding.message.contains("refuses connections");
    assert!(status.findings.iter().any(refused), "{:?}", status.findings);
    let (output, json) = diagnosis(&place, QUIZ);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        checks(&json, "port 80")[0].contains("refuses connections"),
        "{json}"
    );
    assert!(
        checks(&json, "last problem")[0].starts_with("problem: "),
        "{json}"
    );
    let document = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["subject"] == "last problem");
    assert_eq!(
        document.unwrap()["document"]["type"],
        "urn:ietf:params:acme:error:connection"
    );
    assert!(checks(&json, "next try")[0].contains("retry in"), "{json}");

    proxy.answer_http(pebble.http).await;
    let (_, json) = diagnosis(&place, QUIZ);
    assert!(
        checks(&json, "port 80")[0].ends_with("is answered by our proxies"),
        "{json}"
    );
    assert_eq!(
        checks(&json, "proxies"),
        ["ok: test is connected and acknowledged a test token"]
    );
    assert!(checks(&json, "authority")[0].ends_with("answers"), "{json}");
    assert!(checks(&json, "clock")[0].starts_with("ok: "), "{json}");
    pebble.stop();
    let (_, json) = diagnosis(&place, QUIZ);
    assert!(
        checks(&json, "authority")[0].starts_with("problem: cannot talk to"),
        "{json}"
    );
    pebble.run().await;
}
