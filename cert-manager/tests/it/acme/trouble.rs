//! An authority in trouble: each failure has words and a hint, and nothing loops.

use std::time::Duration;

use cert_manager::backoff::Retry;
use cert_manager::record::Step;

use super::client::Client;
use crate::fake_ca::{FakeCa, Fault};

const NAME: &str = "quiz.school.org";

/// More requests than any attempt needs, however bad the authority is.
const MANY: usize = 60;

#[tokio::test]
async fn refused_nonces_are_replaced_and_a_storm_of_them_ends() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    for resource in ["new-account", "new-order", "finalize", "certificate"] {
        ca.fail(resource, Fault::BadNonce, 4);
    }
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.orders(), ["valid"]);

    let before = ca.requests();
    ca.fail("new-order", Fault::BadNonce, usize::MAX);
    let error = client.issue("other.school.org").await.unwrap_err();
    assert_eq!(error.step, Step::Order);
    assert!(error.document.contains("badNonce"), "{error:?}");
    assert!(error.hint.contains("nonces"), "{error:?}");
    assert!(ca.requests() - before < MANY);
    assert_eq!(ca.orders().len(), 1);
}

#[tokio::test]
async fn an_authority_that_is_overloaded_says_when_to_come_back() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let cases = [
        ("new-account", Fault::Html(503, Some(120)), Step::Account),
        (
            "new-order",
            Fault::Problem(500, "serverInternal", Some(60)),
            Step::Order,
        ),
        (
            "new-order",
            Fault::Problem(429, "rateLimited", Some(3600)),
            Step::Order,
        ),
        ("order", Fault::Html(502, Some(30)), Step::Order),
        (
            "finalize",
            Fault::Problem(503, "serverInternal", Some(90)),
            Step::Finalize,
        ),
        ("certificate", Fault::Html(500, Some(45)), Step::Certificate),
    ];
    for (resource, fault, step) in cases {
        ca.fail(resource, fault, 1);
        let error = client.issue(NAME).await.unwrap_err();
        assert_eq!(error.step, step, "{error:?}");
        let seconds = match fault {
            Fault::Html(_, Some(seconds)) | Fault::Problem(_, _, Some(seconds)) => seconds,
            other => panic!("{other:?} names no time"),
        };
        let asked = Retry::After(Duration::from_secs(seconds));
        assert_eq!(error.retry, asked, "{error:?}");
        assert!(!error.hint.is_empty(), "{error:?}");
    }
    // Every attempt went on where the one before was left.
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.orders(), ["valid"]);
    assert_eq!(ca.accounts().len(), 1);
}

#[tokio::test]
async fn answers_that_are_none_are_said_to_be() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    for resource in ["dir", "new-order", "order", "finalize"] {
        ca.fail(resource, Fault::Malformed, 1);
        let error = client.issue(NAME).await.unwrap_err();
        let words = "gives an answer that cannot be understood";
        // An order needs nothing but its URL to be found again.
        if resource != "new-order" {
            assert!(error.message.contains(words), "{resource}: {error:?}");
            assert!(
                error.hint.contains("directory of an ACME authority"),
                "{error:?}"
            );
        } else {
            assert!(error.message.contains("no Location"), "{error:?}");
        }
    }
    ca.fail("dir", Fault::Html(200, None), 1);
    let error = client.issue(NAME).await.unwrap_err();
    assert!(error.hint.contains("login page"), "{error:?}");
    ca.fail("new-nonce", Fault::Html(403, None), 1);
    let error = client.issue(NAME).await.unwrap_err();
    assert!(
        error.message.contains("answered 403 Forbidden"),
        "{error:?}"
    );
    client.issue(NAME).await.unwrap();
}

#[tokio::test]
async fn an_authority_that_does_not_answer_is_given_up_in_time() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    client.issue(NAME).await.unwrap();
    client.policy.timeout = Some(Duration::from_secs(2));
    ca.fail("new-order", Fault::Hang, 1);
    let error = client.issue("other.school.org").await.unwrap_err();
    assert!(
        error.message.contains("was not done within 2s"),
        "{error:?}"
    );
    assert!(
        error.hint.contains("goes on where this one was left"),
        "{error:?}"
    );
    client.policy.timeout = None;
    client.issue("other.school.org").await.unwrap();
}

#[tokio::test]
async fn an_order_that_turns_invalid_says_why_and_is_not_gone_on_with() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    ca.script(|script| {
        script.is_authorized = false;
        script.refuses_challenge = true;
    });
    let error = client.issue(NAME).await.unwrap_err();
    assert_eq!(error.step, Step::Challenge);
    assert!(
        error.message.contains("the answer is another one"),
        "{error:?}"
    );
    assert!(error.hint.contains("DNS A/AAAA record"), "{error:?}");

    ca.script(|script| {
        script.refuses_challenge = false;
        script.refuses_to_sign = true;
    });
    let error = client.issue(NAME).await.unwrap_err();
    assert_eq!(error.step, Step::Certificate);
    assert!(
        error.message.contains("a CAA record was added"),
        "{error:?}"
    );
    assert!(
        error.hint.contains("CAA record of quiz.school.org"),
        "{error:?}"
    );

    ca.script(|script| script.refuses_to_sign = false);
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.orders(), ["invalid", "invalid", "valid"]);
}

#[tokio::test]
async fn an_authorization_that_is_valid_already_needs_no_challenge() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.seen("challenge").len(), 0);
    ca.script(|script| script.is_authorized = false);
    client.issue("other.school.org").await.unwrap();
    assert_eq!(ca.seen("challenge").len(), 1);
}

#[tokio::test]
async fn a_directory_that_changes_is_followed() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let issuer = client.issuer();
    use cert_manager::issuer::Issuer as _;
    issuer.issue(&super::client::request(NAME)).await.unwrap();
    // The account's URL is among those that are gone: it is looked up again by its key.
    ca.script(|script| script.generation = 7);
    let other = super::client::request("other.school.org");
    issuer.issue(&other).await.unwrap();
    assert_eq!(ca.orders().len(), 2);
    assert_eq!(ca.accounts().len(), 1);
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_found_again() {
    for lists_orders in [true, false] {
        let ca = FakeCa::start().await;
        let mut client = Client::new(&ca).await;
        ca.script(|script| script.lists_orders = lists_orders);
        // More than one page of the list.
        for name in ["a.school.org", "b.school.org"] {
            client.issue(name).await.unwrap();
        }
        client.policy.timeout = Some(Duration::from_secs(2));
        ca.fail("new-order", Fault::Lost, 1);
        client.issue(NAME).await.unwrap_err();
        let begun = client.order(NAME).await.unwrap();
        assert_eq!(begun.url, None);
        client.policy.timeout = None;
        let certificate = client.issue(NAME).await.unwrap();
        assert_eq!(certificate.key.secret_der(), begun.key.secret_der());
        // An authority that lists no orders is left with one that is not used.
        let expected: &[&str] = if lists_orders {
            &["valid", "valid", "valid"]
        } else {
            &["valid", "valid", "ready", "valid"]
        };
        assert_eq!(ca.orders(), expected);
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_not_fetched_again() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    ca.fail("certificate", Fault::Malformed, 1);
    let error = client.issue(NAME).await.unwrap_err();
    assert_eq!(error.step, Step::Certificate, "{error:?}");
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.orders(), ["valid", "valid"]);
}
