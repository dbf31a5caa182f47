//! Programs and webhooks that are told what happens.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use proto::certs::v1;
use serde_json::Value;
use tokio::sync::watch;

use crate::context::{DEADLINE, Place};
use crate::name_server::{self, Names};
use crate::proxy::{Proxy, acme, internal, serial};

/// The requests that a webhook got: authorization and body.
type Requests = watch::Sender<Vec<(String, Value)>>;

/// A webhook that fails once before it takes an event.
async fn webhook() -> (String, watch::Receiver<Vec<(String, Value)>>) {
    let (sender, receiver) = watch::channel(Vec::new());
    let state = Arc::new((sender, Mutex::new(false)));
    let take = |State(state): State<Arc<(Requests, Mutex<bool>)>>,
                headers: HeaderMap,
                body: String| async move {
        if !std::mem::replace(&mut *state.1.lock(), true) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let authorization = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let body = serde_json::from_str(&body).unwrap();
        state
            .0
            .send_modify(|requests| requests.push((authorization, body)));
        StatusCode::NO_CONTENT
    };
    let router = axum::Router::new()
        .route("/hook", axum::routing::post(take))
        .with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

/// Waits until a webhook has got so many events.
async fn events(requests: &mut watch::Receiver<Vec<(String, Value)>>, count: usize) -> Vec<Value> {
    let enough = requests.wait_for(|requests| requests.len() >= count);
    let requests = tokio::time::timeout(DEADLINE, enough)
        .await
        .unwrap()
        .unwrap();
    let by_token = |(authorization, event): &(String, Value)| {
        assert_eq!(authorization, "Bearer sesame");
        event.clone()
    };
    requests.iter().map(by_token).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_programs_and_webhooks() {
    let dns = name_server::start(Names::DoNotExist).await.to_string();
    let (url, mut requests) = webhook().await;
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let program = folder.path().join("program");
    let script = format!(
        "#!/bin/sh\nread -r body\necho \"$PORTICO_EVENT $PORTICO_EVENT_NAME ${{PORTICO_EVENT_WEBHOOK_TOKEN-unset}} $body\" >> {}\n",
        told.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut place = Place::with_flags([
        "--preflight-resolver",
        &dns,
        "--event-exec",
        program.to_str().unwrap(),
        "--event-webhook",
        &url,
    ]);
    place
        .variables
        .push(("PORTICO_EVENT_WEBHOOK_TOKEN", "sesame"));
    let server = place.start().await;
    let proxy = Proxy::connect(&place, &[("app.localhost", internal())]).await;
    let first = serial(&proxy.certificate("app.localhost", None).await);
    events(&mut requests, 1).await;
    let request = v1::RenewRequest {
        name: "app.localhost".to_owned(),
    };
    place.admin().renew(request).await.unwrap();
    let second = serial(&proxy.certificate("app.localhost", Some(&first)).await);
    events(&mut requests, 2).await;
    // The DNS has no such name, so nothing is ordered.
    proxy
        .declare(&[("app.localhost", internal()), ("quiz.school.org", acme(""))])
        .await;
    place
        .status_of("quiz.school.org", |status| status.failures > 0)
        .await;
    events(&mut requests, 3).await;
    proxy.declare(&[("app.localhost", internal())]).await;

    let all = events(&mut requests, 4).await;
    let kinds: Vec<_> = all
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["obtained", "renewed", "failed", "forgotten"]);
    let (obtained, renewed, failed) = (&all[0], &all[1], &all[2]);
    assert_eq!(obtained["name"], "app.localhost");
    assert_eq!(obtained["serial"], first.as_str());
    assert_eq!(renewed["serial"], second.as_str());
    assert_eq!(renewed["issuer"], "internal");
    assert!(
        failed["problem"].as_str().unwrap().contains("NXDOMAIN"),
        "{failed}"
    );
    assert_eq!(failed["failures"], 1);
    // The program has a queue of its own.
    let read = || std::fs::read_to_string(&told).unwrap_or_default();
    let begin = Instant::now();
    while read().lines().count() < 4 {
        assert!(begin.elapsed() < DEADLINE, "{}", read());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (log, _, _) = server.terminate();
    assert!(!log.contains("sesame"), "{log}");
    let told = read();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(
        lines[0].starts_with("obtained app.localhost unset {\"event\":\"obtained\""),
        "{told}"
    );
    assert!(
        lines[2].starts_with("failed quiz.school.org unset"),
        "{told}"
    );
}
