//! DNS-01 with a real authority and a real name server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use proto::certs::v1;
use proto::certs::v1::dns_challenge::Provider;
use serde_json::Value;

use crate::bind::{Bind, KEY, KEY_NAME};
use crate::context::Place;
use crate::pebble::Pebble;
use crate::proxy::Proxy;

const RECORD: &str = "_acme-challenge.school.org";

fn place(pebble: &Pebble) -> Place {
    Place::with_flags([
        "--acme-ca",
        &pebble.directory_url(),
        "--acme-root",
        pebble.root().to_str().unwrap(),
    ])
}

/// By dynamic update at `bind`, which is also where records are looked for.
fn rfc2136(bind: &Bind, key: &str) -> v1::DnsChallenge {
    v1::DnsChallenge {
        provider: Some(Provider::Rfc2136(v1::Rfc2136Provider {
            server: bind.address.to_string(),
            key_name: KEY_NAME.to_owned(),
            key_algorithm: "hmac-sha256".to_owned(),
            key: key.to_owned(),
        })),
        resolvers: vec![bind.address.to_string()],
        ..v1::DnsChallenge::default()
    }
}

fn acme(dns: v1::DnsChallenge) -> v1::issuer::Kind {
    v1::issuer::Kind::Acme(v1::AcmeIssuer {
        challenges: Some(v1::Challenges {
            dns: Some(dns),
            ..v1::Challenges::default()
        }),
        ..v1::AcmeIssuer::default()
    })
}

#[tokio::test]
async fn a_name_its_wildcard_and_an_alias_are_certified_by_dynamic_update() {
    let Some(bind) = Bind::start().await else {
        return;
    };
    let Some(pebble) = Pebble::start_with_dns(bind.address).await else {
        return;
    };
    let place = place(&pebble);
    let _server = place.start().await;
    // The first two share one record with two values.
    let names = ["school.org", "*.school.org", "alias.school.org"];
    let subjects = names.map(|name| (name, acme(rfc2136(&bind, KEY))));
    let proxy = Proxy::connect(&place, &subjects).await;
    for name in names {
        let status = place
            .status_of(name, |status| status.state() == v1::State::Valid)
            .await;
        assert_eq!(status.challenge, "dns-01");
        proxy.certificate(name, None).await;
    }
    assert_eq!(proxy.wait(|_| true).await.challenges_seen, 0);
    for record in [RECORD, "elsewhere.school.org"] {
        assert_eq!(bind.txt(record).await, Vec::<String>::new(), "{record}");
    }
}

#[tokio::test]
async fn a_name_server_that_refuses_is_quoted_and_nothing_is_left() {
    let Some(bind) = Bind::start().await else {
        return;
    };
    let Some(pebble) = Pebble::start_with_dns(bind.address).await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    let wrong = "d3JvbmcgYnl0ZXMsIHdyb25nIGJ5dGVzLCB3cm9uZyA=";
    let _proxy = Proxy::connect(&place, &[("school.org", acme(rfc2136(&bind, wrong)))]).await;
    let failed = |status: &v1::NameStatus| status.state() == v1::State::Failed;
    let problem = place.status_of("school.org", failed).await.last_problem;
    let problem = problem.unwrap();
    assert_eq!(problem.step, "challenge");
    assert!(
        problem
            .message
            .ends_with("it has another secret for the key `update-key`"),
        "{problem:?}"
    );
    assert!(problem.hint.contains("`key`"), "{problem:?}");
    assert!(bind.txt(RECORD).await.is_empty());
    let (log, _, _) = server.terminate();
    assert!(!log.contains(wrong), "{log}");
}

#[tokio::test]
async fn what_a_killed_program_left_in_the_zone_is_removed_by_the_next_attempt() {
    let Some(bind) = Bind::start().await else {
        return;
    };
    let Some(mut pebble) = Pebble::start_with_dns(bind.address).await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    // Some time after it has written the record it looks for it, and is killed before.
    let waiting = v1::DnsChallenge {
        propagation_delay_seconds: 8,
        ..rfc2136(&bind, KEY)
    };
    let subjects = [("school.org", acme(waiting))];
    let proxy = Proxy::connect(&place, &subjects).await;
    bind.has_txt(RECORD, 1).await;
    server.kill();
    drop(proxy);
    // With the order gone at the authority, the next attempt has another value.
    pebble.restart().await;
    let server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    proxy.certificate("school.org", None).await;
    bind.has_txt(RECORD, 0).await;
    let (log, _, _) = server.terminate();
    assert!(log.contains("removed a TXT record left over"), "{log}");
}

#[tokio::test]
async fn a_webhook_writes_the_record() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let hook = hook(pebble.dns_management).await;
    let place = place(&pebble);
    let _server = place.start().await;
    let dns = v1::DnsChallenge {
        provider: Some(Provider::Webhook(v1::WebhookProvider {
            url: format!("http://{}/", hook.0),
            token: String::new(),
        })),
        resolvers: vec![pebble.dns.to_string()],
        ..v1::DnsChallenge::default()
    };
    let proxy = Proxy::connect(&place, &[("*.school.org", acme(dns))]).await;
    proxy.certificate("*.school.org", None).await;
    place
        .status_of("*.school.org", |status| {
            status.state() == v1::State::Valid && hook.1.lock().len() == 2
        })
        .await;
    assert_eq!(*hook.1.lock(), ["present", "cleanup"]);
}

type Actions = Arc<Mutex<Vec<String>>>;

/// A webhook that has the DNS server with `management` do what it is posted.
async fn hook(management: SocketAddr) -> (SocketAddr, Actions) {
    let actions = Actions::default();
    let router = axum::Router::new()
        .route("/", post(act))
        .with_state((management, Arc::clone(&actions)));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, actions)
}

async fn act(
    State((management, actions)): State<(SocketAddr, Actions)>,
    Json(body): Json<Value>,
) -> StatusCode {
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let (action, host) = (text("action"), format!("{}.", text("fqdn")));
    let (path, command) = match action.as_str() {
        "present" => (
            "set-txt",
            serde_json::json!({ "host": host, "value": text("value") }),
        ),
        _ => ("clear-txt", serde_json::json!({ "host": host })),
    };
    let body = command.to_string();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: dns\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(management).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    actions.lock().push(action);
    StatusCode::OK
}
