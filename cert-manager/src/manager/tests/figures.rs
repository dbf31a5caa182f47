//! What is counted.

use prometheus_client::registry::Registry;

use super::*;
use crate::metrics;

#[tokio::test]
async fn metrics_tell_of_each_name_what_is_held_and_what_failed() {
    let world = World::new().await;
    let (good, bad) = (acme("https://a.test/"), acme("https://b.test/"));
    world.refuse(&bad, "dns", "no such host", Retry::Backoff);
    let (quiz, typo) = (name("quiz.school.org"), name("quzi.school.org"));
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let mut declared = subjects(&[&quiz], &policy(&[good]));
    declared.extend(subjects(&[&typo], &policy(&[bad])));
    session.declare(declared).await.unwrap();
    world.state(&quiz, v1::State::Valid).await;
    world.state(&typo, v1::State::Failed).await;
    world.clock.advance(SignedDuration::from_mins(61));
    world
        .status(&typo, |status| {
            status.is_some_and(|status| status.failures == 2)
        })
        .await;

    let mut registry = Registry::with_prefix("cert_manager");
    world.manager.parts.metrics.register(&mut registry);
    metrics::register_state(
        &mut registry,
        Arc::clone(&world.manager),
        Rebuilds::default(),
    );
    let encode = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    // The authority is asked in a loop of its own.
    let poll = r#"renewal_info_polls_total{issuer="https://a.test/",outcome="no_window"} 1"#;
    let waited = tokio::time::timeout(DEADLINE, async {
        while !encode().contains(poll) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{}", encode());
    let text = encode();
    let failed_at = world.clock.now().as_second();
    let begin = failed_at - 61 * 60;
    let lines = [
        format!(
            r#"certificate_not_after_seconds{{name="quiz.school.org"}} {}"#,
            begin + 90 * 86_400
        ),
        r#"certificate_attempts_total{name="quiz.school.org",outcome="issued"} 1"#.to_owned(),
        r#"certificate_attempts_total{name="quzi.school.org",outcome="failed"} 2"#.to_owned(),
        format!(
            r#"certificate_last_error_seconds{{name="quzi.school.org",kind="dns"}} {failed_at}"#
        ),
        r#"certificate_orders_total{issuer="https://b.test/",outcome="failed"} 2"#.to_owned(),
        "attempts_under_way 0".to_owned(),
    ];
    for line in lines {
        assert!(text.contains(&line), "{line} in {text}");
    }
}
