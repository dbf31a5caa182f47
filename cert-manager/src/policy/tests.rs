use proto::certs::v1;

use super::*;
use crate::name::Name;

fn issuers(name: &str, acme_ca: &str, email: Option<&str>) -> Vec<IssuerPolicy> {
    let defaults = Defaults {
        acme_ca: acme_ca.to_owned(),
        email: email.map(str::to_owned),
    };
    let name = Name::parse(name).unwrap();
    let policy = Policy::from_wire(&v1::Policy::default(), &name, &defaults);
    policy.unwrap().issuers
}

fn acme(directory_url: &str, email: Option<&str>) -> IssuerPolicy {
    IssuerPolicy::Acme(Box::new(AcmePolicy::new(
        directory_url,
        email.map(str::to_owned),
    )))
}

#[test]
fn an_empty_policy_takes_the_issuer_that_suits_the_name() {
    for name in ["app.localhost", "10.1.2.3"] {
        assert_eq!(
            issuers(name, LETS_ENCRYPT, None),
            [IssuerPolicy::internal()]
        );
    }
    assert_eq!(
        issuers("quiz.school.org", LETS_ENCRYPT, None),
        [acme(LETS_ENCRYPT, None)]
    );
}

#[test]
fn zerossl_follows_lets_encrypt_where_a_contact_is_known() {
    let email = Some("me@school.org");
    assert_eq!(
        issuers("quiz.school.org", LETS_ENCRYPT, email),
        [acme(LETS_ENCRYPT, email), acme(ZERO_SSL, email)]
    );
    let own = "https://ca.corp.internal/directory";
    assert_eq!(issuers("quiz.school.org", own, email), [acme(own, email)]);
}

#[test]
fn a_third_of_the_lifetime_is_left_at_renewal_unless_said_otherwise() {
    let hours = jiff::SignedDuration::from_hours;
    let left = |ratio| RenewalWindow::from_ratio(ratio).of(hours(900));
    assert_eq!(RenewalWindow::default().of(hours(900)), hours(300));
    assert_eq!(left(0.5), hours(450));
    assert_eq!(left(7.0), hours(891));
}

#[test]
fn a_policy_that_was_stored_without_later_fields_is_read() {
    let text =
        r#"{ "issuers": [{ "kind": "internal", "lifetime_seconds": 600 }], "key_type": "p256" }"#;
    let policy: Policy = serde_json::from_str(text).unwrap();
    assert_eq!(policy.renewal_window, RenewalWindow::default());
    assert_eq!(policy.on_demand, None);
}

#[test]
fn secrets_are_never_printed() {
    let account = ExternalAccount {
        key_id: "kid".to_owned(),
        mac_key: Secret::new("hidden"),
    };
    assert!(!format!("{account:?}").contains("hidden"));
}
