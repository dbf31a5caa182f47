//! What a policy asks of an authority.

use std::time::Duration;

use cert_manager::backoff::Retry;
use cert_manager::certificate::PrivateKey;
use cert_manager::issuer::Request;
use cert_manager::issuer::acme::ZeroSsl;
use cert_manager::policy::{ExternalAccount, KeyType, PreferredChains, Secret};

use super::client::{Client, request};
use crate::fake_ca::{FakeCa, Fault};

const NAME: &str = "quiz.school.org";

fn external_account(mac_key: &str) -> Option<ExternalAccount> {
    Some(ExternalAccount {
        key_id: "kid-1".to_owned(),
        mac_key: Secret::new(mac_key),
    })
}

/// An authority that wants accounts bound to `kid-1`.
async fn binding_ca() -> FakeCa {
    let ca = FakeCa::start().await;
    ca.script(|script| {
        let key = b"a mac key of some length".to_vec();
        script.external_accounts.insert("kid-1".to_owned(), key);
    });
    ca
}

#[tokio::test]
async fn an_account_is_bound_to_the_external_one_that_is_given() {
    let ca = binding_ca().await;
    let mut client = Client::new(&ca).await;
    let error = client.issue(NAME).await.unwrap_err();
    assert!(error.hint.contains("acme_eab"), "{error:?}");
    assert_eq!(error.retry, Retry::Daily);

    client.policy.external_account = external_account("not base64url!");
    let error = client.issue(NAME).await.unwrap_err();
    assert!(
        error.message.contains("kid-1 is not base64url"),
        "{error:?}"
    );

    client.policy.external_account = external_account("YW5vdGhlciBrZXk");
    let error = client.issue(NAME).await.unwrap_err();
    assert!(error.message.contains("does not verify"), "{error:?}");

    client.policy.external_account = external_account("YSBtYWMga2V5IG9mIHNvbWUgbGVuZ3Ro");
    client.issue(NAME).await.unwrap();
    let accounts = ca.accounts();
    assert_eq!(accounts[0].bound_to.as_deref(), Some("kid-1"));
}

#[tokio::test]
async fn zerossl_gives_an_external_account_to_an_email_once() {
    let ca = binding_ca().await;
    let mut client = Client::new(&ca).await;
    client.environment.zero_ssl = ZeroSsl {
        directory_url: ca.directory_url(),
        account_url: ca.zero_ssl_url(),
    };
    ca.fail(
        "new-account",
        Fault::Problem(500, "serverInternal", None),
        1,
    );
    client.issue(NAME).await.unwrap_err();
    let kept = client.account().await.external_account.unwrap();
    assert_eq!(kept.key_id, "kid-1");
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.seen("zerossl"), ["email=me%40school.org"]);
    assert_eq!(ca.accounts()[0].bound_to.as_deref(), Some("kid-1"));

    ca.script(|script| script.external_accounts.clear());
    client.policy.email = Some("other@school.org".to_owned());
    let error = client.issue(NAME).await.unwrap_err();
    assert!(error.message.contains("invalid_email"), "{error:?}");
    client.policy.email = None;
    let error = client.issue(NAME).await.unwrap_err();
    assert!(error.hint.contains("--email"), "{error:?}");
}

#[tokio::test]
async fn a_profile_is_asked_for_only_where_the_authority_has_it() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    client.policy.profile = Some("shortlived".to_owned());
    let error = client.issue(NAME).await.unwrap_err();
    assert!(
        error.message.contains("no profile `shortlived`"),
        "{error:?}"
    );
    assert_eq!(error.hint, "leave `profile` out");
    ca.script(|script| {
        for profile in ["classic", "tlsserver"] {
            let text = "as documented".to_owned();
            script.profiles.insert(profile.to_owned(), text);
        }
    });
    let error = client.issue(NAME).await.unwrap_err();
    assert!(error.hint.contains("classic, tlsserver"), "{error:?}");
    assert_eq!(ca.seen("new-order").len(), 0);
    client.policy.profile = Some("classic".to_owned());
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.seen("new-order")[0]["profile"], "classic");
}

#[tokio::test]
async fn another_profile_is_not_had_by_an_order_that_was_left_open() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    ca.script(|script| {
        script.profiles.insert("short".to_owned(), String::new());
    });
    ca.fail("finalize", Fault::Problem(500, "serverInternal", None), 1);
    client.issue(NAME).await.unwrap_err();
    client.policy.profile = Some("short".to_owned());
    client.issue(NAME).await.unwrap();
    assert_eq!(ca.orders(), ["ready", "valid"]);
    assert_eq!(ca.seen("new-order")[1]["profile"], "short");
}

#[tokio::test]
async fn a_lifetime_is_asked_for_and_a_refusal_explained() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    client.policy.lifetime = Some(Duration::from_secs(6 * 24 * 3600));
    let facts = client.issue(NAME).await.unwrap().facts;
    let lifetime = facts.not_after.duration_since(facts.not_before);
    assert_eq!(lifetime.as_hours(), 6 * 24);
    ca.script(|script| script.refuses_lifetime = true);
    let error = client.issue("other.school.org").await.unwrap_err();
    assert!(error.hint.contains("leave `lifetime` out"), "{error:?}");
}

#[tokio::test]
async fn the_preferred_chain_is_taken() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let two = PreferredChains::RootCommonName(names(&["Fake Root Two"]));
    let middle = PreferredChains::AnyCommonName(names(&["No Root", "Fake Root Two"]));
    let unknown = PreferredChains::RootCommonName(names(&["No Root"]));
    let cases = [
        (None, false, "One"),
        (None, true, "One"),
        (Some(two.clone()), false, "One"),
        (Some(two), true, "Two"),
        (Some(middle), true, "Two"),
        (Some(unknown), true, "One"),
    ];
    for (preferred, has_alternate, root) in cases {
        let case = format!("{preferred:?}, {has_alternate}");
        client.policy.preferred_chains = preferred;
        ca.script(|script| script.has_alternate = has_alternate);
        let chain = client.issue(NAME).await.unwrap().chain;
        client
            .storage()
            .remove_name(&request(NAME).name)
            .await
            .unwrap();
        let (_, last) = x509_parser::parse_x509_certificate(chain.last().unwrap()).unwrap();
        assert_eq!(
            last.issuer().to_string(),
            format!("CN=Fake Root {root}"),
            "{case}"
        );
    }
    // What was not asked for is not fetched.
    assert_eq!(ca.seen("alternate").len(), 3);
    ca.fail("alternate", Fault::Html(500, None), 1);
    client.issue(NAME).await.unwrap();
}

#[tokio::test]
async fn a_given_account_key_is_used_and_not_stored() {
    let ca = FakeCa::start().await;
    let mut client = Client::new(&ca).await;
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    client.policy.account_key_pem = Some(Secret::new(key.to_pem().as_str()));
    client.issue(NAME).await.unwrap();
    client.issue("other.school.org").await.unwrap();
    assert_eq!(ca.accounts().len(), 1);
    assert!(client.storage().accounts().await.unwrap().is_empty());
    let rsa = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    client.policy.account_key_pem = Some(Secret::new(rsa.to_pem().as_str()));
    let error = client.issue("third.school.org").await.unwrap_err();
    assert!(error.message.contains("P-256"), "{error:?}");
}

#[tokio::test]
async fn the_private_key_is_the_one_that_is_asked_for() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    let first = client.obtain(&request(NAME)).await.unwrap();
    let renewal = |key: Option<PrivateKey>| Request {
        replaces: Some(first.facts.serial.clone()),
        key,
        ..request(NAME)
    };
    let second = client.obtain(&renewal(Some(first.key.clone()))).await;
    assert_eq!(second.unwrap().key.secret_der(), first.key.secret_der());
    // An order that was begun with the key of old is not gone on with.
    ca.fail("finalize", Fault::Problem(500, "serverInternal", None), 1);
    client
        .obtain(&renewal(Some(first.key.clone())))
        .await
        .unwrap_err();
    let third = client.obtain(&renewal(None)).await.unwrap();
    assert_ne!(third.key.secret_der(), first.key.secret_der());
}

#[tokio::test]
async fn addresses_are_ordered_as_addresses() {
    let ca = FakeCa::start().await;
    let client = Client::new(&ca).await;
    for name in ["192.0.2.7", "2001:db8::7"] {
        let facts = client.issue(name).await.unwrap().facts;
        assert_eq!(facts.subject_alternative_names, [name]);
    }
    let asked = ca.seen("new-order");
    let expected = serde_json::json!([{ "type": "ip", "value": "2001:db8::7" }]);
    assert_eq!(asked[1]["identifiers"], expected);
}
