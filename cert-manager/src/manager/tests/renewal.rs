//! Renewal at the time that the authority names, and with which key.

use jiff::Timestamp;

use super::*;

fn info(start: Timestamp, end: Timestamp) -> RenewalInfo {
    RenewalInfo {
        window_start: start,
        window_end: end,
        explanation_url: Some("https://a.test/why".to_owned()),
        ask_again_after: Duration::from_secs(6 * 3600),
    }
}

async fn with_certificate(world: &World, policy: &Policy) -> (Name, ProxySession) {
    let quiz = name("quiz.school.org");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    session.declare(subjects(&[&quiz], policy)).await.unwrap();
    world.state(&quiz, v1::State::Valid).await;
    (quiz, session)
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

#[tokio::test]
async fn the_window_of_the_authority_is_shown_and_followed() {
    let world = World::new().await;
    let begin = world.clock.now();
    let window = (begin + hours(240), begin + hours(264));
    *world.fakes.renewal_info.lock() = Some(info(window.0, window.1));
    let (quiz, _session) = with_certificate(&world, &policy(&[acme("https://a.test/")])).await;
    let status = world.manager.status(&quiz).unwrap();
    assert_eq!(status.renewal_source(), v1::RenewalSource::Lifetime);
    world.clock.advance(hours(1));
    let is_told = |status: Option<&v1::NameStatus>| {
        status.is_some_and(|status| status.renewal_window.is_some())
    };
    let status = world.status(&quiz, is_told).await.unwrap();
    assert_eq!(status.renewal_source(), v1::RenewalSource::Ari);
    let shown = status.renewal_window.clone().unwrap();
    assert_eq!(shown.start, Some(timestamp(window.0)));
    assert_eq!(shown.explanation_url, "https://a.test/why");
    let renew_at = status.renew_at.unwrap().seconds;
    assert!((window.0.as_second()..window.1.as_second()).contains(&renew_at));

    let first = serial(&status);
    let questions = world.fakes.questions.load(Ordering::SeqCst);
    assert_eq!(questions, 1);
    let before = SignedDuration::from_secs(renew_at - world.clock.now().as_second() - 1);
    world.clock.advance(before);
    tokio::task::yield_now().await;
    assert_eq!(world.attempts(), 1);
    world.clock.advance(SignedDuration::from_secs(2));
    let renewed =
        |status: Option<&v1::NameStatus>| status.is_some_and(|status| serial(status) != first);
    let status = world.status(&quiz, renewed).await.unwrap();
    assert_eq!(
        status.renewal_window, None,
        "it was about the other certificate"
    );
}

#[tokio::test]
async fn a_recalled_certificate_is_replaced_in_spite_of_an_older_failure() {
    let world = World::new().await;
    let one = acme("https://a.test/");
    let begin = world.clock.now();
    let far = (begin + hours(24 * 59), begin + hours(24 * 60));
    *world.fakes.renewal_info.lock() = Some(info(far.0, far.1));
    let (quiz, _session) = with_certificate(&world, &policy(std::slice::from_ref(&one))).await;
    let first = serial(&world.manager.status(&quiz).unwrap());
    world.clock.advance(hours(48));
    let is_told = |status: Option<&v1::NameStatus>| {
        status.is_some_and(|status| status.renewal_window.is_some())
    };
    world.status(&quiz, is_told).await;
    // An operator's renewal fails, and the next attempt would be in a day.
    world.refuse(&one, "rejectedIdentifier", "no", Retry::Daily);
    world.manager.renew(&quiz).await.unwrap();
    world
        .status(&quiz, |status| {
            status.is_some_and(|status| status.failures == 1)
        })
        .await;
    world.fakes.refusals.lock().clear();
    let now = world.clock.now();
    *world.fakes.renewal_info.lock() = Some(info(now - hours(48), now - hours(24)));
    world.clock.advance(hours(7));
    let renewed =
        |status: Option<&v1::NameStatus>| status.is_some_and(|status| serial(status) != first);
    world.status(&quiz, renewed).await;
}

#[tokio::test]
async fn a_key_is_kept_where_the_policy_says_so_and_its_kind_is_still_wanted() {
    let world = World::new().await;
    let mut keeping = policy(&[acme("https://a.test/")]);
    keeping.reuse_private_key = true;
    let (quiz, session) = with_certificate(&world, &keeping).await;
    let key = async || {
        let stored = world.manager.certificate(&quiz).await.unwrap().unwrap();
        stored.key.secret_der().to_vec()
    };
    let first = key().await;
    let renewed = async |attempts: usize| {
        world.manager.renew(&quiz).await.unwrap();
        let is_valid = |status: Option<&v1::NameStatus>| {
            status.is_some_and(|status| {
                status.state() == v1::State::Valid && status.attempts.len() == attempts
            })
        };
        world.status(&quiz, is_valid).await;
    };
    renewed(2).await;
    assert_eq!(key().await, first);
    keeping.key_type = KeyType::P384;
    session.declare(subjects(&[&quiz], &keeping)).await.unwrap();
    assert_eq!(
        world.attempts(),
        2,
        "another kind of key is no reason to renew"
    );
    renewed(3).await;
    assert_ne!(key().await, first);
}
