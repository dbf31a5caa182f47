//! Attempts that are made at the test directory first.

use cert_manager::issuer::{Issuer as _, Request};

use super::client::{Client, request};
use crate::fake_ca::{FakeCa, Fault};

const NAME: &str = "quiz.school.org";

/// A client of the first that rehearses at the second.
async fn client(real: &FakeCa, test: &FakeCa) -> Client {
    let mut client = Client::new(real).await;
    let root = std::fs::read_to_string(test.root()).unwrap();
    client.policy.trusted_roots_pem.push_str(&root);
    client.policy.test_directory_url = Some(test.directory_url());
    client
}

fn rehearsed() -> Request {
    Request {
        rehearse: true,
        ..request(NAME)
    }
}

#[tokio::test]
async fn a_rehearsal_that_succeeds_is_followed_by_the_real_attempt() {
    let (real, test) = (FakeCa::start().await, FakeCa::start().await);
    let client = client(&real, &test).await;
    client.issue("other.school.org").await.unwrap();
    assert_eq!(test.requests(), 0);
    let certificate = client
        .issuer()
        .issue(&rehearsed())
        .await
        .unwrap()
        .certificate;
    assert_eq!(certificate.facts.issuer.to_string(), real.directory_url());
    assert_eq!((real.orders().len(), test.orders().len()), (2, 1));
    // By an account of its own, whose order is not kept.
    assert_ne!(real.accounts()[0].key, test.accounts()[0].key);
    client.issuer().issue(&rehearsed()).await.unwrap();
    assert_eq!(test.orders().len(), 2);
}

#[tokio::test]
async fn a_rehearsal_that_fails_keeps_the_real_authority_out_of_it() {
    let (real, test) = (FakeCa::start().await, FakeCa::start().await);
    let client = client(&real, &test).await;
    test.fail("new-order", Fault::Problem(403, "caa", None), 1);
    let error = client.issuer().issue(&rehearsed()).await.unwrap_err();
    let words = format!("the rehearsal at {} failed", test.directory_url());
    assert!(error.message.starts_with(&words), "{error:?}");
    assert!(error.hint.contains("CAA record"), "{error:?}");
    assert!(error.document.contains("error:caa"), "{error:?}");
    assert_eq!(real.requests(), 0);
}

#[tokio::test]
async fn without_a_test_directory_there_is_no_rehearsal() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    client.issuer().issue(&rehearsed()).await.unwrap();
    assert_eq!(ca.orders(), ["valid"]);
}
