//! What holds attempts back.

use super::*;
use crate::policy::{Challenges, DnsChallenge, DnsProvider, LETS_ENCRYPT};

fn count(world: &World, state: v1::State) -> usize {
    let all = world.manager.list();
    all.iter().filter(|status| status.state() == state).count()
}

async fn valid(world: &World, count_of: usize) {
    let mut changes = world.manager.watch();
    let waited = tokio::time::timeout(DEADLINE, async {
        while count(world, v1::State::Valid) < count_of {
            // One that fell behind looks again.
            let _ = changes.recv().await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("{:?}", world.manager.list()));
}

#[tokio::test]
async fn a_public_authority_is_asked_at_a_pace_and_the_others_say_what_they_wait_for() {
    let world = World::new().await;
    let names: Vec<Name> = (0..25)
        .map(|i| name(&format!("n{i:02}.school.org")))
        .collect();
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let all: Vec<&Name> = names.iter().collect();
    let declared = subjects(&all, &policy(&[acme(LETS_ENCRYPT)]));
    session.declare(declared).await.unwrap();
    valid(&world, 10).await;
    let last = world.manager.status(&names[24]).unwrap();
    assert_eq!(last.state(), v1::State::Pending);
    assert_eq!(
        last.waiting_for,
        format!("our own limit of 10 orders in 60 s at {LETS_ENCRYPT}")
    );
    let next = last.next_attempt.unwrap().seconds - world.clock.now().as_second();
    assert_eq!(next, 6);
    assert_eq!(world.attempts(), 10);
    world.clock.advance(SignedDuration::from_secs(60));
    valid(&world, 20).await;
    assert_eq!(world.attempts(), 20);
}

#[tokio::test]
async fn a_limit_of_an_authority_holds_back_its_account_but_not_the_next_issuer() {
    let world = World::new().await;
    let (first, second) = (acme("https://a.test/"), acme("https://b.test/"));
    let hour = Retry::After(Duration::from_secs(3600));
    world.refuse(&first, "rateLimited", "too many new orders", hour);
    let (quiz, other, both) = (
        name("quiz.school.org"),
        name("other.school.org"),
        name("both.school.org"),
    );
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let one = policy(std::slice::from_ref(&first));
    session.declare(subjects(&[&quiz], &one)).await.unwrap();
    world.state(&quiz, v1::State::Failed).await;

    let mut declared = subjects(&[&quiz, &other], &one);
    declared.extend(subjects(&[&both], &policy(&[first.clone(), second])));
    session.declare(declared).await.unwrap();
    let status = world.state(&both, v1::State::Valid).await;
    assert_eq!(status.issuer, "https://b.test/");
    let waiting = world.manager.status(&other).unwrap();
    assert_eq!(
        waiting.waiting_for,
        "the limit of https://a.test/: too many new orders"
    );
    assert_eq!(waiting.failures, 0);
    let wait = waiting.next_attempt.unwrap().seconds - world.clock.now().as_second();
    assert!((3600..=3960).contains(&wait), "{wait}");
    assert_eq!(world.attempts(), 2, "the limited authority was asked once");

    world.fakes.refusals.lock().clear();
    world.clock.advance(SignedDuration::from_mins(70));
    world.state(&quiz, v1::State::Valid).await;
    world.state(&other, v1::State::Valid).await;
}

#[tokio::test]
async fn limits_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let quiz = name("quiz.school.org");
    let le = acme(LETS_ENCRYPT);
    let hours = Retry::After(Duration::from_secs(3 * 3600));
    let message = "too many new orders (300) from this account";
    {
        let world = World::in_folder(folder.path()).await;
        world.refuse(&le, "rateLimited", message, hours);
        let session = ProxySession::begin(Arc::clone(&world.manager));
        let one = policy(std::slice::from_ref(&le));
        session.declare(subjects(&[&quiz], &one)).await.unwrap();
        world.state(&quiz, v1::State::Failed).await;
        world.end().await;
    }
    let world = World::in_folder(folder.path()).await;
    let other = name("other.school.org");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let one = policy(&[le]);
    session
        .declare(subjects(&[&quiz, &other], &one))
        .await
        .unwrap();
    let waits = |status: Option<&v1::NameStatus>| {
        status.is_some_and(|status| status.waiting_for.contains(message))
    };
    world.status(&other, waits).await;
    assert_eq!(world.attempts(), 0);
}

#[tokio::test]
async fn an_attempt_after_a_failed_challenge_is_rehearsed() {
    let world = World::new().await;
    let (first, second) = (acme("https://a.test/"), acme("https://b.test/"));
    world.refuse(&first, "connection", "cannot connect", Retry::Backoff);
    world.refuse(&second, "serverInternal", "busy", Retry::Backoff);
    let quiz = name("quiz.school.org");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let both = policy(&[first.clone(), second.clone()]);
    session.declare(subjects(&[&quiz], &both)).await.unwrap();
    world.state(&quiz, v1::State::Failed).await;
    world.clock.advance(SignedDuration::from_mins(2));
    let status = world
        .status(&quiz, |status| {
            status.is_some_and(|status| status.failures == 2)
        })
        .await
        .unwrap();
    let rehearsed: Vec<_> = {
        let requests = world.fakes.requests.lock();
        let rehearsed = requests
            .iter()
            .map(|(id, request)| (id.clone(), request.rehearse));
        rehearsed.collect()
    };
    let (a, b) = (first.id(), second.id());
    let expected = [
        (a.clone(), false),
        (b.clone(), false),
        (a, true),
        (b, false),
    ];
    assert_eq!(rehearsed, expected);
    // The newest first.
    let tried: Vec<_> = status.attempts.iter().map(|a| a.issuer.as_str()).collect();
    assert_eq!(tried[..2], ["https://b.test/", "https://a.test/"]);
    assert!(!status.attempts[0].obtained);
    assert_eq!(status.attempts[1].message, "cannot connect");
}

#[tokio::test]
async fn a_challenge_in_the_dns_needs_no_proxy() {
    let world = World::new().await;
    let mut acme_policy = AcmePolicy::new("https://a.test/", None);
    acme_policy.challenges = Challenges {
        dns: Some(DnsChallenge {
            provider: DnsProvider::Exec,
            ttl: None,
            propagation_delay: Duration::ZERO,
            propagation_timeout: None,
            propagation_check_disabled: false,
            resolvers: Vec::new(),
            override_domain: None,
        }),
        ..Challenges::default()
    };
    let by_dns = IssuerPolicy::Acme(Box::new(acme_policy));
    let over_http = acme("https://b.test/");
    let (quiz, other) = (name("quiz.school.org"), name("other.school.org"));
    world
        .fakes
        .down
        .lock()
        .extend([by_dns.id(), over_http.id()]);
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let mut declared = subjects(&[&quiz], &policy(&[by_dns]));
    declared.extend(subjects(&[&other], &policy(&[over_http])));
    session.declare(declared).await.unwrap();
    world.state(&quiz, v1::State::Failed).await;
    world.state(&other, v1::State::Failed).await;
    session.end().await.unwrap();
    world.fakes.down.lock().clear();
    world.clock.advance(SignedDuration::from_mins(2));
    world.state(&quiz, v1::State::Valid).await;
    let status = world.manager.status(&other).unwrap();
    assert_eq!(status.state(), v1::State::Failed);
    assert!(
        status.waiting_for.starts_with("a proxy"),
        "{}",
        status.waiting_for
    );
}
