//! The program aborts after each durable step and goes on where it was: with the same account, the
//! same order and the same key.

use std::path::PathBuf;

use cert_manager::certificate::PrivateKey;
use cert_manager::fail_point::FailPoint;
use proto::certs::v1;
use proto::sidecar::identity::Role;

use crate::context::{Place, free_address};
use crate::fake_ca::FakeCa;
use crate::proxy::{Proxy, acme};

const NAME: &str = "quiz.school.org";

/// An authority that looks for the answers to its challenges, and the place of a program that asks
/// it.
async fn start() -> (FakeCa, Place) {
    let ca = FakeCa::start().await;
    ca.script(|script| {
        script.is_authorized = false;
        script.lists_orders = true;
    });
    let (url, root) = (ca.directory_url(), ca.root());
    let flags = ["--acme-ca", &url, "--acme-root", root.to_str().unwrap()];
    let place = Place::with_flags(flags);
    (ca, place)
}

/// Declares `names` and answers the authority.
async fn connect(ca: &FakeCa, place: &Place, names: &[&str]) -> Proxy {
    let address = free_address();
    ca.script(|script| script.validate_at = Some(address));
    let subjects: Vec<_> = names.iter().map(|name| (*name, acme(""))).collect();
    let proxy = Proxy::connect_unsynchronized(place, &subjects).await;
    proxy.answer_http(address).await;
    proxy
}

/// The only file below `folder` of this name.
fn find(folder: PathBuf, file: &str) -> Option<PathBuf> {
    let issuer = std::fs::read_dir(folder).ok()?.next()?.unwrap().path();
    let path = issuer.join(file);
    path.exists().then_some(path)
}

/// The certificate key that is stored, with an open order or with its certificate.
fn stored_key(place: &Place) -> Option<PrivateKey> {
    let files = place.data().join("caddy");
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let of_certificate = find(files.join("certificates"), &format!("{NAME}/{NAME}.key"));
    let of_order = find(files.join("orders"), &format!("{NAME}.json"));
    let pem = match (of_certificate, of_order) {
        (Some(path), _) => read(path),
        (None, Some(path)) => {
            let order: serde_json::Value = serde_json::from_str(&read(path)).unwrap();
            order["key"].as_str().unwrap().to_owned()
        }
        (None, None) => return None,
    };
    Some(PrivateKey::from_pem(&pem).unwrap())
}

/// Aborts at `point`, starts again, and looks at what the authority has seen.
async fn goes_on_after(point: FailPoint) {
    let (ca, mut place) = start().await;
    place.fail_at(Some(point));
    let server = place.start().await;
    let proxy = connect(&ca, &place, &[NAME]).await;
    let log = server.aborted().await;
    assert!(log.contains(&point.to_string()), "{log}");
    drop(proxy);
    let key = stored_key(&place);
    let is_before_key = matches!(
        point,
        FailPoint::AccountKeyStored | FailPoint::AccountRegistered | FailPoint::AccountStored
    );
    assert_eq!(key.is_none(), is_before_key);

    place.fail_at(None);
    let _server = place.start().await;
    let proxy = connect(&ca, &place, &[NAME]).await;
    let certificate = proxy.certificate(NAME, None).await;
    if let Some(key) = key {
        assert_eq!(certificate.private_key, key.secret_der());
    }
    assert_eq!(ca.orders(), ["valid"]);
    assert_eq!(ca.accounts().len(), 1);
    let is_valid = |status: &v1::NameStatus| status.state() == v1::State::Valid;
    place.status_of(NAME, is_valid).await;
    assert_eq!(
        find(place.data().join("caddy/orders"), &format!("{NAME}.json")),
        None
    );
}

macro_rules! goes_on_after {
    ($($test:ident: $point:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                goes_on_after(FailPoint::$point).await;
            }
        )*
    };
}

goes_on_after! {
    goes_on_after_the_account_key_is_stored: AccountKeyStored,
    goes_on_after_the_account_is_registered: AccountRegistered,
    goes_on_after_the_account_is_stored: AccountStored,
    goes_on_after_the_certificate_key_is_stored: CertificateKeyStored,
    goes_on_after_the_order_is_opened: OrderOpened,
    goes_on_after_the_order_is_stored: OrderStored,
    goes_on_after_the_challenge_is_published: ChallengePublished,
    goes_on_after_the_authority_is_told: ChallengeTold,
    goes_on_after_the_name_is_validated: Validated,
    goes_on_after_the_order_is_finalized: Finalized,
    goes_on_after_the_certificate_is_fetched: CertificateFetched,
    goes_on_after_the_certificate_is_stored: CertificateStored,
    goes_on_after_the_certificate_is_announced: CertificateAnnounced,
}

#[tokio::test]
async fn an_authority_that_lists_no_orders_keeps_one_that_is_not_used() {
    let (ca, mut place) = start().await;
    ca.script(|script| script.lists_orders = false);
    place.fail_at(Some(FailPoint::OrderOpened));
    let server = place.start().await;
    let proxy = connect(&ca, &place, &[NAME]).await;
    server.aborted().await;
    drop(proxy);
    let key = stored_key(&place).unwrap();
    place.fail_at(None);
    let _server = place.start().await;
    let proxy = connect(&ca, &place, &[NAME]).await;
    let certificate = proxy.certificate(NAME, None).await;
    // Nothing that is stored here tells whether the authority has heard of the order.
    assert_eq!(ca.orders(), ["pending", "valid"]);
    assert_eq!(certificate.private_key, key.secret_der());
}

#[tokio::test]
async fn an_account_keeps_working_when_a_change_of_its_key_is_cut_off() {
    for point in [FailPoint::NextKeyStored, FailPoint::KeyChanged] {
        let (ca, mut place) = start().await;
        place.fail_at(Some(point));
        let server = place.start().await;
        let proxy = connect(&ca, &place, &[NAME]).await;
        proxy.certificate(NAME, None).await;
        let before = ca.accounts()[0].key.clone();
        let request = v1::RolloverAccountRequest::default();
        let channel = place.channel(Role::Operator);
        let mut admin = v1::admin_client::AdminClient::new(channel);
        admin.rollover_account(request).await.unwrap_err();
        server.aborted().await;
        drop(proxy);
        place.fail_at(None);
        let _server = place.start().await;
        let other = "other.school.org";
        let proxy = connect(&ca, &place, &[NAME, other]).await;
        proxy.certificate(other, None).await;
        let accounts = ca.accounts();
        assert_eq!(accounts.len(), 1);
        assert_ne!(accounts[0].key, before, "{point}");
        assert_eq!(ca.seen("key-change").len(), 1, "{point}");
    }
}
