//! Names that clients bring, and the keys of session tickets, over gRPC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use proto::certs::v1;
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::sidecar::identity::Role;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::context::Place;
use crate::proxy::{Proxy, internal, serial};

/// An app that allows names that begin with `good`. Returns its address and a count of questions.
async fn app() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let router = axum::Router::new()
        .route("/ask", axum::routing::get(answer))
        .with_state(Arc::clone(&count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, count)
}

async fn answer(
    State(count): State<Arc<AtomicUsize>>,
    Query(query): Query<Vec<(String, String)>>,
) -> StatusCode {
    count.fetch_add(1, Ordering::SeqCst);
    let is_good = query
        .iter()
        .any(|(key, name)| key == "domain" && name.starts_with("good"));
    if is_good {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

fn policy(app: SocketAddr) -> v1::Policy {
    v1::Policy {
        issuers: vec![v1::Issuer {
            kind: Some(internal()),
        }],
        on_demand: Some(v1::OnDemand {
            ask_url: format!("http://{app}/ask"),
        }),
        ..v1::Policy::default()
    }
}

/// Asks as a proxy does during a handshake; the serial number of what it gets.
fn obtain(
    place: &Place,
    name: &str,
    policy: &v1::Policy,
) -> impl Future<Output = Result<String, Status>> + Send + use<> {
    let mut client = DeliveryClient::new(place.channel(Role::Proxy));
    let request = v1::ObtainRequest {
        name: name.to_owned(),
        policy: Some(policy.clone()),
    };
    async move {
        let response = client.obtain(request).await?.into_inner();
        Ok(serial(&response.certificate.unwrap()))
    }
}

#[tokio::test]
async fn a_name_is_obtained_by_whoever_asks_first_and_kept() {
    let place = Place::new();
    let server = place.start().await;
    let (app, count) = app().await;
    let policy = policy(app);
    let calls = (0..10).map(|_| obtain(&place, "good.test", &policy));
    let calls: JoinSet<_> = calls.collect();
    let results = calls.join_all().await.into_iter();
    let mut serials: Vec<String> = results.map(Result::unwrap).collect();
    serials.dedup();
    assert_eq!(serials.len(), 1);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    place
        .status_of("good.test", |status| status.state() == v1::State::Valid)
        .await;

    server.kill();
    let _server = place.start().await;
    assert_eq!(
        obtain(&place, "good.test", &policy).await.unwrap(),
        serials[0]
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refusals_have_codes_of_their_own() {
    let place = Place::new();
    let _server = place.start().await;
    let (app, _) = app().await;
    let policy = policy(app);
    let code = async |name: &str, policy: &v1::Policy| {
        obtain(&place, name, policy).await.unwrap_err().code()
    };
    assert_eq!(code("bad.test", &policy).await, Code::PermissionDenied);
    for name in ["localhost", "10.0.0.1", "*.good.test", "good..test", ""] {
        assert_eq!(code(name, &policy).await, Code::InvalidArgument, "{name}");
    }
    let known = v1::Policy {
        on_demand: None,
        ..policy.clone()
    };
    assert_eq!(code("good.test", &known).await, Code::InvalidArgument);
    let mut down = policy.clone();
    down.on_demand = Some(v1::OnDemand {
        ask_url: "http://127.0.0.1:1/ask".to_owned(),
    });
    assert_eq!(code("good.test", &down).await, Code::Unavailable);

    let mut client = DeliveryClient::new(place.channel(Role::Operator));
    let request = v1::ObtainRequest {
        name: "good.test".to_owned(),
        policy: Some(policy),
    };
    let refused = client.obtain(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(place.run(&["status"]).status.success());
}

#[tokio::test]
async fn every_proxy_gets_the_same_ticket_keys_also_after_a_restart() {
    let place = Place::new();
    let server = place.start().await;
    let keys = async || {
        let proxy = Proxy::connect(&place, &[]).await;
        let received = proxy
            .wait(|received| !received.ticket_keys.is_empty())
            .await;
        received.ticket_keys
    };
    let first = keys().await;
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].name.len(), first[0].secret.len()), (16, 32));
    assert_eq!(keys().await, first);
    server.kill();
    let server = place.start().await;
    assert_eq!(keys().await, first);
    let (log, ..) = server.terminate();
    assert!(!log.contains("secret"), "{log}");
}
