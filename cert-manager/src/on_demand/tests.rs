//! Against a real `ask` server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::*;
use crate::policy::{IssuerPolicy, KeyType, RenewalWindow};

/// An app that decides by the first label, and counts the questions.
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
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    count.fetch_add(1, Ordering::SeqCst);
    if query.get("token").map(String::as_str) != Some("hidden") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match query["domain"].split('.').next() {
        Some("good") => StatusCode::NO_CONTENT.into_response(),
        Some("ill") => StatusCode::BAD_GATEWAY.into_response(),
        Some("moved") => Redirect::temporary("/ask?token=hidden&domain=good.test").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn policy(ask_url: Option<String>) -> Policy {
    Policy {
        issuers: vec![IssuerPolicy::internal()],
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: Some(crate::policy::OnDemand { ask_url }),
    }
}

fn on_demand() -> OnDemand {
    OnDemand::new(Resolver::from_system().unwrap()).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn only_2xx_allows() {
    let (address, _) = app().await;
    let on_demand = on_demand();
    let policy = policy(Some(format!("http://{address}/ask?token=hidden")));
    let permit = async |text: &str| on_demand.permit(&name(text), &policy, now()).await;
    permit("good.test").await.unwrap();
    for (text, status) in [
        ("bad.test", "404 Not Found"),
        ("moved.test", "307 Temporary Redirect"),
    ] {
        let refusal = permit(text).await.unwrap_err();
        let url = format!("http://{address}/ask");
        let status = format!("it answered {status}");
        assert_eq!(refusal, Refusal::Denied { url, status }, "{text}");
    }
    let refusal = permit("ill.test").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unanswered { .. }), "{refusal}");
    assert!(!refusal.to_string().contains("hidden"), "{refusal}");
}

#[tokio::test]
async fn nobody_is_asked_where_there_is_no_url() {
    on_demand()
        .permit(&name("any.test"), &policy(None), now())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_app_that_is_down_says_nothing() {
    let address = ports::free_address().unwrap();
    let policy = policy(Some(format!("http://{address}/?token=hidden")));
    let refusal = on_demand()
        .permit(&name("good.test"), &policy, now())
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Unanswered { .. }), "{refusal}");
    assert!(!refusal.to_string().contains("hidden"), "{refusal}");
}

#[tokio::test]
async fn refusals_are_remembered_a_while_and_permissions_are_not() {
    let (address, count) = app().await;
    let on_demand = on_demand();
    let policy = policy(Some(format!("http://{address}/ask?token=hidden")));
    let permit = async |text: &str, at| on_demand.permit(&name(text), &policy, at).await;
    for expected in [1, 2] {
        permit("good.test", now()).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), expected);
    }
    for at in [now(), now() + DENIED_FOR / 2] {
        permit("bad.test", at).await.unwrap_err();
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }
    permit("bad.test", now() + DENIED_FOR).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_grant_is_good_for_one_attempt() {
    let on_demand = on_demand();
    // Nobody listens there.
    let policy = policy(Some("http://127.0.0.1:1/".to_owned()));
    let grant = on_demand.grant(&name("a.test"));
    on_demand
        .permit(&name("a.test"), &policy, now())
        .await
        .unwrap();
    on_demand
        .permit(&name("a.test"), &policy, now())
        .await
        .unwrap_err();
    drop(grant);
    drop(on_demand.grant(&name("b.test")));
    on_demand
        .permit(&name("b.test"), &policy, now())
        .await
        .unwrap_err();
}

#[test]
fn memory_of_refusals_is_bounded() {
    let on_demand = on_demand();
    let refusal = || Refusal::Denied {
        url: String::new(),
        status: String::new(),
    };
    for index in 0..REFUSALS + 10 {
        let key = (name(&format!("n{index}.test")), String::new());
        on_demand.remember(key, refusal(), now());
    }
    assert_eq!(on_demand.refusals.lock().len(), REFUSALS);
    let later = now() + DENIED_FOR;
    on_demand.remember((name("new.test"), String::new()), refusal(), later);
    assert_eq!(on_demand.refusals.lock().len(), 1);
}

#[test]
fn turns_of_one_name_are_one_lock() {
    let on_demand = on_demand();
    let first = on_demand.turn(&name("a.test"));
    assert!(Arc::ptr_eq(&first, &on_demand.turn(&name("a.test"))));
    assert!(!Arc::ptr_eq(&first, &on_demand.turn(&name("b.test"))));
    drop(first);
    let _ = on_demand.turn(&name("c.test"));
    assert_eq!(on_demand.turns.lock().len(), 1);
}
