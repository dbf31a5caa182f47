//! ACME against a real authority.

use cert_manager::fail_point::FailPoint;
use proto::certs::v1;

use crate::context::Place;
use crate::pebble::{EXTERNAL_ACCOUNT, Pebble};
use crate::proxy::{Proxy, acme, serial};

/// A place whose default authority is `pebble`.
fn place(pebble: &Pebble) -> Place {
    Place::with_flags([
        "--acme-ca",
        &pebble.directory_url(),
        "--acme-root",
        pebble.root().to_str().unwrap(),
        "--email",
        "me@school.org",
    ])
}

fn is_failed(status: &v1::NameStatus) -> bool {
    status.state() == v1::State::Failed
}

#[tokio::test]
async fn certificates_are_issued_once_and_kept() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    let names: Vec<_> = (0..12).map(|i| format!("quiz{i}.school.org")).collect();
    let subjects: Vec<_> = names.iter().map(|name| (name.as_str(), acme(""))).collect();
    let proxy = Proxy::connect(&place, &subjects).await;
    proxy.answer_http(pebble.http).await;
    let mut before = Vec::new();
    for name in &names {
        before.push(serial(&proxy.certificate(name, None).await));
        let status = place.status_of(name, |_| true).await;
        assert_eq!(status.state(), v1::State::Valid);
        assert_eq!(status.issuer, pebble.directory_url());
        assert!(status.certificate.unwrap().issuer_name.contains("Pebble"));
    }
    // Withdrawn once the authority is done with them.
    let received = proxy.wait(|received| received.challenges.is_empty()).await;
    assert_eq!(received.challenges_seen, names.len());
    server.terminate();

    let server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    let received = proxy.wait(|_| true).await;
    for (name, before) in names.iter().zip(before) {
        assert_eq!(serial(&received.certificates[name]), before);
    }
    assert_eq!(received.challenges_seen, 0);
    let (log, _, _) = server.terminate();
    assert!(!log.contains("opened an order"), "{log}");
}

#[tokio::test]
async fn a_failed_challenge_says_what_to_check_and_is_retried() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    // Nobody answers on the port that Pebble asks.
    let proxy = Proxy::connect(&place, &[("quiz.school.org", acme(""))]).await;
    let status = place.status_of("quiz.school.org", is_failed).await;
    let problem = status.last_problem.unwrap();
    assert_eq!(problem.step, "challenge");
    assert!(
        problem
            .document
            .contains("urn:ietf:params:acme:error:connection"),
        "{problem:?}"
    );
    assert!(
        problem
            .hint
            .contains("DNS A/AAAA record of quiz.school.org"),
        "{problem:?}"
    );
    assert_eq!(status.failures, 1);
    assert!(status.next_attempt.is_some());
    // The operator mends it and does not wait for the backoff.
    proxy.answer_http(pebble.http).await;
    let request = v1::RenewRequest {
        name: "quiz.school.org".to_owned(),
    };
    place.admin().renew(request).await.unwrap();
    proxy.certificate("quiz.school.org", None).await;
    let status = place.status_of("quiz.school.org", |_| true).await;
    assert_eq!(status.failures, 0);
    assert_eq!(status.last_problem, None);
    let (log, _, _) = server.terminate();
    assert!(
        log.contains(" WARN Challenge failed: check that the DNS A/AAAA record of quiz.school.org"),
        "{log}"
    );
}

#[tokio::test]
async fn a_killed_program_goes_on_with_the_same_order() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    let subjects = [("quiz.school.org", acme(""))];
    // Does not acknowledge, so the order stays open until the program is killed.
    let mute = Proxy::connect_mute(&place, &subjects).await;
    mute.wait(|received| received.challenges_seen > 0).await;
    let order = std::fs::read_dir(place.data().join("caddy/orders"))
        .unwrap()
        .next();
    let order = order.unwrap().unwrap().path().join("quiz.school.org.json");
    let read = || -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(&order).unwrap()).unwrap()
    };
    let kept = read();
    server.kill();

    let server = place.start().await;
    let proxy = Proxy::connect_answering(&place, &subjects, pebble.http).await;
    let certificate = proxy.certificate("quiz.school.org", None).await;
    let key = cert_manager::certificate::PrivateKey::from_pem(kept["key"].as_str().unwrap());
    assert_eq!(key.unwrap().secret_der(), certificate.private_key);
    assert!(!order.exists());
    let (log, _, _) = server.terminate();
    assert!(log.contains("going on with an open order"), "{log}");
    assert!(!log.contains("opened an order"), "{log}");
}

#[tokio::test]
async fn an_authority_that_forgot_everything_is_registered_with_again() {
    let Some(mut pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &[("a.school.org", acme(""))]).await;
    proxy.answer_http(pebble.http).await;
    proxy.certificate("a.school.org", None).await;
    pebble.restart().await;
    proxy
        .declare(&[("a.school.org", acme("")), ("b.school.org", acme(""))])
        .await;
    proxy.certificate("b.school.org", None).await;
}

#[tokio::test]
async fn an_authority_that_is_down_leaves_a_problem_and_the_valid_certificate() {
    let Some(mut pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &[("a.school.org", acme(""))]).await;
    proxy.answer_http(pebble.http).await;
    let before = proxy.certificate("a.school.org", None).await;
    pebble.stop();
    let request = v1::RenewRequest {
        name: "a.school.org".to_owned(),
    };
    place.admin().renew(request).await.unwrap();
    let status = place
        .status_of("a.school.org", |status| status.failures == 1)
        .await;
    assert_eq!(status.state(), v1::State::Renewing);
    assert_eq!(status.certificate.unwrap().serial, serial(&before));
    let problem = status.last_problem.unwrap();
    assert!(problem.message.contains("cannot talk to"), "{problem:?}");
    assert!(
        problem.hint.contains("can this container reach it"),
        "{problem:?}"
    );
    pebble.run().await;
}

#[tokio::test]
async fn every_proxy_must_acknowledge_and_a_late_one_is_not_waited_for_long() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    let mute = Proxy::connect_mute(&place, &[]).await;
    let proxy = Proxy::connect(&place, &[]).await;
    proxy.answer_http(pebble.http).await;
    // An attempt that finds nobody at port 80 would fail, and the next one comes too late.
    proxy.declare(&[("a.school.org", acme(""))]).await;
    mute.wait(|received| received.challenges_seen == 1).await;
    // The mute one stays connected without an acknowledgement; the other is enough in the end.
    proxy.certificate("a.school.org", None).await;
    let (log, _, _) = server.terminate();
    assert!(
        log.contains("not every proxy acknowledged the challenge in time"),
        "{log}"
    );
}

#[tokio::test]
async fn accounts_are_bound_to_an_external_one_where_the_authority_wants_that() {
    let Some(pebble) = Pebble::start_binding().await else {
        return;
    };
    let place = place(&pebble);
    let _server = place.start().await;
    let bound = |mac_key: &str| {
        v1::issuer::Kind::Acme(v1::AcmeIssuer {
            external_account: Some(v1::ExternalAccount {
                key_id: EXTERNAL_ACCOUNT.0.to_owned(),
                mac_key: mac_key.to_owned(),
            }),
            ..v1::AcmeIssuer::default()
        })
    };
    let proxy = Proxy::connect(&place, &[("quiz.school.org", acme(""))]).await;
    proxy.answer_http(pebble.http).await;
    let status = place.status_of("quiz.school.org", is_failed).await;
    let problem = status.last_problem.unwrap();
    assert_eq!(problem.step, "account");
    assert!(problem.hint.contains("acme_eab"), "{problem:?}");
    proxy
        .declare(&[("quiz.school.org", bound(EXTERNAL_ACCOUNT.1))])
        .await;
    proxy.certificate("quiz.school.org", None).await;
}

#[tokio::test]
async fn an_operator_changes_account_keys_and_revokes() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let place = place(&pebble);
    let server = place.start().await;
    let proxy = Proxy::connect(&place, &[("quiz.school.org", acme(""))]).await;
    proxy.answer_http(pebble.http).await;
    let first = proxy.certificate("quiz.school.org", None).await;

    let run = |args: &[&str]| {
        let output = place.run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, output, error) = run(&["rollover-account", "https://nowhere.test/dir"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(error.contains("no such account is stored"), "{error}");
    let (code, output, error) = run(&["rollover-account"]);
    assert_eq!(code, Some(0), "{error}");
    let expected = format!("{} (me@school.org) has a new key\n", pebble.directory_url());
    assert_eq!(output, expected);

    let (code, _, error) = run(&["revoke", "quiz.school.org", "--reason", "boredom"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("cessationOfOperation"), "{error}");
    let (code, _, error) = run(&["revoke", "quiz.school.org", "--reason", "keyCompromise"]);
    assert_eq!(code, Some(0), "{error}");
    let before = serial(&first);
    let second = proxy.certificate("quiz.school.org", Some(&before)).await;
    assert_ne!(second.private_key, first.private_key);
    // Pebble knows what is revoked, and says so of a second time.
    let (code, _, error) = run(&["revoke", "quiz.school.org"]);
    assert_eq!(code, Some(0), "{error}");
    let before = serial(&second);
    proxy.certificate("quiz.school.org", Some(&before)).await;
    let (log, _, _) = server.terminate();
    assert!(log.contains("the account has a new key"), "{log}");
    assert!(
        log.contains("an operator had the certificate revoked"),
        "{log}"
    );
}

#[tokio::test]
async fn an_order_whose_url_was_lost_is_found_in_the_list_of_the_account() {
    let Some(pebble) = Pebble::start().await else {
        return;
    };
    let mut place = place(&pebble);
    // Pebble lists three orders a page.
    let names: Vec<_> = (0..4).map(|i| format!("quiz{i}.school.org")).collect();
    let mut subjects: Vec<_> = names.iter().map(|name| (name.as_str(), acme(""))).collect();
    let server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    proxy.answer_http(pebble.http).await;
    for name in &names {
        proxy.certificate(name, None).await;
    }
    server.terminate();
    place.fail_at(Some(FailPoint::OrderOpened));
    let server = place.start().await;
    subjects.push(("lost.school.org", acme("")));
    let proxy = Proxy::connect_unsynchronized(&place, &subjects).await;
    server.aborted().await;
    drop(proxy);
    place.fail_at(None);
    let server = place.start().await;
    // Nobody answers for this name, so the order goes no further.
    let proxy = Proxy::connect(&place, &subjects).await;
    place.status_of("lost.school.org", is_failed).await;
    drop(proxy);
    let (log, _, _) = server.terminate();
    let found = log.find("found an order that was lost").expect(&log);
    // The next challenge is tried by an order of its own.
    let opened = log.find("opened an order");
    assert!(opened.is_none_or(|opened| found < opened), "{log}");
}
