//! When to renew, and what a renewal replaces.

use std::time::Duration;

use cert_manager::issuer::{Issuer as _, Request};
use cert_manager::record::Step;

use super::client::{Client, request};
use crate::fake_ca::{FakeCa, Fault};

const NAME: &str = "quiz.school.org";

fn offer_renewal_information(ca: &FakeCa) {
    ca.script(|script| {
        let window = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        script.renewal_window = Some((window.0.to_owned(), window.1.to_owned()));
    });
}

#[tokio::test]
async fn renewal_information_is_read_with_and_without_retry_after() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let certificate = client.issue(NAME).await.unwrap();
    let issuer = client.issuer();
    assert_eq!(issuer.renewal_info(&certificate).await.unwrap(), None);

    offer_renewal_information(&ca);
    let info = issuer.renewal_info(&certificate).await.unwrap().unwrap();
    assert_eq!(info.window_start, "2026-03-01T00:00:00Z".parse().unwrap());
    assert_eq!(info.window_end, "2026-03-02T00:00:00Z".parse().unwrap());
    assert_eq!(info.ask_again_after, Duration::from_secs(6 * 3600));
    ca.script(|script| script.renewal_retry_after = Some("5400".to_owned()));
    let info = issuer.renewal_info(&certificate).await.unwrap().unwrap();
    assert_eq!(info.ask_again_after, Duration::from_secs(5400));

    ca.fail("renewal-info", Fault::Html(503, Some(600)), 1);
    let error = issuer.renewal_info(&certificate).await.unwrap_err();
    assert_eq!(error.step, Step::RenewalInfo);
    let after = cert_manager::backoff::Retry::After(Duration::from_secs(600));
    assert_eq!(error.retry, after);
    ca.fail("renewal-info", Fault::Malformed, 1);
    assert!(issuer.renewal_info(&certificate).await.is_err());
}

#[tokio::test]
async fn a_renewal_says_what_it_replaces() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let first = client.obtain(&request(NAME)).await.unwrap();
    let renewal = |serial: &str| Request {
        replaces: Some(serial.to_owned()),
        ..request(NAME)
    };
    // An authority without renewal information does not know the field.
    let second = client.obtain(&renewal(&first.facts.serial)).await.unwrap();
    offer_renewal_information(&ca);
    let third = client.obtain(&renewal(&second.facts.serial)).await.unwrap();
    let asked = ca.seen("new-order");
    assert!(asked[0]["replaces"].is_null() && asked[1]["replaces"].is_null());
    let id = instant_acme::CertificateIdentifier::try_from(&second.chain[0]).unwrap();
    assert_eq!(asked[2]["replaces"], id.to_string());

    ca.script(|script| script.is_replaced = true);
    client.obtain(&renewal(&third.facts.serial)).await.unwrap();
    let asked = ca.seen("new-order");
    assert!(asked[3]["replaces"].is_string());
    assert!(asked[4]["replaces"].is_null());
    assert_eq!(ca.orders().len(), 4);
}
