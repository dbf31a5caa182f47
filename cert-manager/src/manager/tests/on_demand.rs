//! Names that clients bring, with an app that allows some.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;

use super::*;
use crate::on_demand::Refusal;
use crate::policy;

/// An app that answers `ask`.
#[derive(Debug, Default)]
struct App {
    denied: Mutex<Vec<String>>,
    questions: AtomicUsize,
}

impl App {
    async fn start() -> (Arc<Self>, Policy) {
        let app = Arc::<Self>::default();
        let router = axum::Router::new()
            .route("/ask", axum::routing::get(answer))
            .with_state(Arc::clone(&app));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (app, asking(&format!("http://{address}/ask")))
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

async fn answer(
    State(app): State<Arc<App>>,
    Query(query): Query<HashMap<String, String>>,
) -> StatusCode {
    app.questions.fetch_add(1, Ordering::SeqCst);
    if app.denied.lock().contains(&query["domain"]) {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::OK
    }
}

/// From an authority elsewhere, for names that `ask_url` allows.
fn asking(ask_url: &str) -> Policy {
    Policy {
        on_demand: Some(policy::OnDemand {
            ask_url: Some(ask_url.to_owned()),
        }),
        ..policy(&[acme("https://a.test/")])
    }
}

/// A proxy that can answer challenges and declares nothing.
async fn proxy(world: &World) -> ProxySession {
    let session = ProxySession::begin(Arc::clone(&world.manager));
    session.declare(BTreeMap::new()).await.unwrap();
    session
}

#[tokio::test]
async fn a_new_name_is_obtained_once_for_all_who_wait() {
    let world = World::new().await;
    let _proxy = proxy(&world).await;
    let (app, policy) = App::start().await;
    let shop = name("shop.school.org");
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (manager, shop, policy) =
                (Arc::clone(&world.manager), shop.clone(), policy.clone());
            tokio::spawn(async move { manager.obtain_on_demand(&shop, policy).await })
        })
        .collect();
    let mut serials = Vec::new();
    for call in waiting {
        serials.push(call.await.unwrap().unwrap().facts.serial);
    }
    serials.dedup();
    assert_eq!(serials.len(), 1);
    assert_eq!((world.attempts(), app.questions()), (1, 1));
    let status = world.state(&shop, v1::State::Valid).await;
    assert_eq!(serial(&status), serials[0]);
}

#[tokio::test]
async fn what_is_not_allowed_is_not_ordered_and_not_remembered() {
    let world = World::new().await;
    let _proxy = proxy(&world).await;
    let (app, policy) = App::start().await;
    let bad = name("bad.school.org");
    app.denied.lock().push(bad.to_string());
    let refused = world
        .manager
        .obtain_on_demand(&bad, policy)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ObtainError::Refused(Refusal::Denied { .. })),
        "{refused}"
    );
    assert!(world.manager.status(&bad).is_none());
    let down = asking("http://127.0.0.1:1/");
    let refused = world
        .manager
        .obtain_on_demand(&bad, down)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ObtainError::Refused(Refusal::Unanswered { .. })),
        "{refused}"
    );
    assert_eq!(world.attempts(), 0);
}

#[tokio::test]
async fn only_host_names_with_an_on_demand_policy_are_obtained() {
    let world = World::new().await;
    let (app, policy) = App::start().await;
    for text in ["10.0.0.1", "localhost", "*.school.org"] {
        let refused = world
            .manager
            .obtain_on_demand(&name(text), policy.clone())
            .await;
        assert!(matches!(refused, Err(ObtainError::Name(_))), "{text}");
    }
    let known = super::policy(&[acme("https://a.test/")]);
    let refused = world
        .manager
        .obtain_on_demand(&name("a.school.org"), known)
        .await;
    assert!(matches!(refused, Err(ObtainError::Policy)));
    assert_eq!(app.questions(), 0);
}

#[tokio::test]
async fn a_failure_is_answered_until_it_may_be_tried_again() {
    let world = World::new().await;
    let _proxy = proxy(&world).await;
    let (app, policy) = App::start().await;
    world.fakes.down.lock().push(acme("https://a.test/").id());
    let shop = name("shop.school.org");
    for _ in 0..3 {
        let failed = world
            .manager
            .obtain_on_demand(&shop, policy.clone())
            .await
            .unwrap_err();
        assert!(
            failed.to_string().starts_with("the authority is down; "),
            "{failed}"
        );
    }
    assert_eq!((world.attempts(), app.questions()), (1, 1));
    world.fakes.down.lock().clear();
    world.clock.advance(SignedDuration::from_mins(2));
    world.state(&shop, v1::State::Valid).await;
    assert_eq!(
        (world.attempts(), app.questions()),
        (2, 2),
        "asked before each attempt"
    );
    world.manager.obtain_on_demand(&shop, policy).await.unwrap();
    assert_eq!((world.attempts(), app.questions()), (2, 2));
}

#[tokio::test]
async fn new_names_are_limited() {
    let world = World::new().await;
    let _proxy = proxy(&world).await;
    let (_app, policy) = App::start().await;
    let mut obtained = Vec::new();
    let refused = loop {
        let next = name(&format!("n{}.school.org", obtained.len()));
        match world.manager.obtain_on_demand(&next, policy.clone()).await {
            Ok(_) => obtained.push(next),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ObtainError::TooMany), "{refused}");
    assert_eq!(obtained.len(), 10);
    // Those that are there are given all the same.
    world
        .manager
        .obtain_on_demand(&obtained[0], policy.clone())
        .await
        .unwrap();
    world.clock.advance(SignedDuration::from_mins(1));
    world
        .manager
        .obtain_on_demand(&name("new.school.org"), policy)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_renewal_needs_leave_again() {
    let world = World::new().await;
    let session = proxy(&world).await;
    let (app, policy) = App::start().await;
    let shop = name("shop.school.org");
    world
        .manager
        .obtain_on_demand(&shop, policy.clone())
        .await
        .unwrap();
    session.declare(subjects(&[&shop], &policy)).await.unwrap();
    let valid = world.state(&shop, v1::State::Valid).await;
    let first = serial(&valid);

    app.denied.lock().push(shop.to_string());
    let renew_at = valid.renew_at.unwrap().seconds;
    let left = SignedDuration::from_secs(renew_at + 1 - world.clock.now().as_second());
    world.clock.advance(left);
    let is_refused = |status: Option<&v1::NameStatus>| {
        status.is_some_and(|status| {
            let problem = status.last_problem.as_ref();
            problem.is_some_and(|problem| problem.step == "permission")
        })
    };
    let status = world.status(&shop, is_refused).await.unwrap();
    assert_eq!(serial(&status), first);
    assert_eq!(world.attempts(), 1);
    // Whoever asks now is told the same, though a certificate is stored.
    let refused = world
        .manager
        .obtain_on_demand(&shop, policy)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ObtainError::Refused(Refusal::Denied { .. })),
        "{refused}"
    );

    app.denied.lock().clear();
    world.clock.advance(SignedDuration::from_hours(27));
    let is_renewed =
        |status: Option<&v1::NameStatus>| status.is_some_and(|status| serial(status) != first);
    world.status(&shop, is_renewed).await;
    assert_eq!(world.attempts(), 2);
}

#[tokio::test]
async fn a_declaration_brings_only_what_is_new_in_it() {
    let world = World::new().await;
    let session = proxy(&world).await;
    assert!(matches!(
        session.next_delivery().await.unwrap(),
        Some(Delivery::Synchronized)
    ));
    let (_app, policy) = App::start().await;
    let (first, second) = (name("a.school.org"), name("b.school.org"));
    for new in [&first, &second] {
        world
            .manager
            .obtain_on_demand(new, policy.clone())
            .await
            .unwrap();
    }
    let mut names = Vec::new();
    for declared in [&[&first][..], &[&first, &second]] {
        session.declare(subjects(declared, &policy)).await.unwrap();
        while let Some(delivery) = session.next_delivery().await.unwrap() {
            if let Delivery::Certificate(certificate) = delivery {
                names.push(certificate.name.clone());
            }
        }
    }
    assert_eq!(names, [first, second]);
}
