//! Accounts: keys that change, certificates that are revoked.

use std::time::Duration;

use cert_manager::issuer::{Issuer as _, Request, RevocationReason};
use cert_manager::policy::KeyType;

use super::client::Client;
use crate::fake_ca::{FakeCa, Fault};

const NAME: &str = "quiz.school.org";

#[tokio::test]
async fn accounts_are_shared_by_policies_that_differ_in_their_orders_alone() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    let first = client.issuer();
    client.policy.lifetime = Some(Duration::from_secs(24 * 3600));
    let second = client.issuer();
    let (one, other) = (
        super::client::request(NAME),
        super::client::request("other.school.org"),
    );
    let (one, other) = tokio::join!(first.issue(&one), second.issue(&other));
    one.unwrap();
    other.unwrap();
    assert_eq!(ca.accounts().len(), 1);
    client.account().await;
}

#[tokio::test]
async fn an_account_key_is_changed_and_used_from_then_on() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let issuer = client.issuer();
    let error = issuer.change_account_key().await.unwrap_err();
    assert!(error.message.contains("no account"), "{error:?}");
    client.issue(NAME).await.unwrap();
    let before = (client.account().await.key, ca.accounts()[0].key.clone());
    issuer.change_account_key().await.unwrap();
    let account = client.account().await;
    assert_ne!(account.key.secret_der(), before.0.secret_der());
    assert!(account.next_key.is_none());
    assert_ne!(ca.accounts()[0].key, before.1);
    client.issue("other.school.org").await.unwrap();
    assert_eq!(ca.accounts().len(), 1);
}

#[tokio::test]
async fn a_change_of_keys_that_was_cut_off_is_settled_at_either_side() {
    for is_told in [true, false] {
        let ca = FakeCa::start().await;
        let mut client = Client::new(&ca).await;
        client.issue(NAME).await.unwrap();
        let fault = if is_told { Fault::Lost } else { Fault::Hang };
        ca.fail("key-change", fault, 1);
        // The answer never comes, as for a program that ends here.
        let issuer = client.issuer();
        let change = issuer.change_account_key();
        let cut = async {
            let begin = std::time::Instant::now();
            loop {
                let seen = !ca.seen("key-change").is_empty();
                if client.account().await.next_key.is_some() && (seen || !is_told) {
                    break;
                }
                assert!(begin.elapsed() < crate::context::DEADLINE);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            result = change => panic!("an answer: {result:?}"),
            () = cut => {}
        }
        let next = client.account().await.next_key.unwrap();
        ca.heal();
        client.policy.lifetime = None;
        client.issue("other.school.org").await.unwrap();
        let account = client.account().await;
        assert!(account.next_key.is_none());
        assert_eq!(account.key.secret_der(), next.secret_der());
        assert_eq!(ca.accounts().len(), 1);
        let changes = if is_told {
            1
        } else {
            ca.seen("key-change").len()
        };
        assert_eq!(ca.seen("key-change").len(), changes);
    }
}

#[tokio::test]
async fn a_refused_change_leaves_the_present_key() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    client.issue(NAME).await.unwrap();
    let before = client.account().await.key;
    let issuer = client.issuer();
    ca.fail("key-change", Fault::Problem(403, "unauthorized", None), 1);
    issuer.change_account_key().await.unwrap_err();
    ca.script(|script| script.keeps_keys = true);
    let error = issuer.change_account_key().await.unwrap_err();
    assert!(
        error.message.contains("does not offer a change"),
        "{error:?}"
    );
    let account = client.account().await;
    assert_eq!(account.key.secret_der(), before.secret_der());
    assert!(account.next_key.is_none());
    client.issue("other.school.org").await.unwrap();
}

#[tokio::test]
async fn an_attempt_during_a_change_of_keys_ends_well() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    client.issue(NAME).await.unwrap();
    let issuer = client.issuer();
    let names: Vec<_> = (0..6).map(|i| format!("a{i}.school.org")).collect();
    let requests: Vec<_> = names
        .iter()
        .map(|name| super::client::request(name))
        .collect();
    let attempts = requests.iter().map(|request| issuer.issue(request));
    let (attempts, changed) = tokio::join!(
        futures_util::future::join_all(attempts),
        issuer.change_account_key()
    );
    changed.unwrap();
    for attempt in attempts {
        attempt.unwrap();
    }
    assert_eq!(ca.accounts().len(), 1);
}

#[tokio::test]
async fn certificates_are_revoked_with_a_reason_once() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let certificate = client.issue(NAME).await.unwrap();
    let issuer = client.issuer();
    for reason in [
        RevocationReason::Superseded,
        RevocationReason::KeyCompromise,
    ] {
        issuer.revoke(&certificate, reason).await.unwrap();
    }
    let serial = certificate.facts.serial.clone();
    assert_eq!(ca.revoked(), [(serial, 4)]);
}

#[tokio::test]
async fn a_certificate_of_another_account_is_revoked_by_its_own_key() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    let ours = client.issue(NAME).await.unwrap();
    let request = Request {
        key_type: KeyType::P384,
        ..super::client::request("other.school.org")
    };
    let foreign = client.obtain(&request).await.unwrap();
    client.policy.email = Some("other@school.org".to_owned());
    let (issuer, reason) = (client.issuer(), RevocationReason::Unspecified);
    issuer.revoke(&ours, reason).await.unwrap();
    assert_eq!(ca.revoked(), [(ours.facts.serial, 0)]);
    let error = issuer.revoke(&foreign, reason).await.unwrap_err();
    assert!(error.hint.contains("another account"), "{error:?}");
}
