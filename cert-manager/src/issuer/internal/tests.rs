use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::clock::ManualClock;
use crate::policy::{KeyType, RenewalWindow};
use crate::store::local::{LocalStorage, Rebuilds};

async fn authority(folder: &Path, clock: &Arc<ManualClock>) -> Arc<InternalAuthority> {
    let storage = LocalStorage::open(folder, Rebuilds::default())
        .await
        .unwrap();
    let clock: Arc<dyn Clock> = clock.clone();
    Arc::new(
        InternalAuthority::load(Arc::new(storage), clock)
            .await
            .unwrap(),
    )
}

fn request(name: &str) -> Request {
    Request {
        name: Name::parse(name).unwrap(),
        key_type: KeyType::P256,
        key: None,
        replaces: None,
        rehearse: false,
        challenge: None,
    }
}

/// The root and the intermediate in the files.
fn files(folder: &Path) -> [String; 2] {
    ["root.crt", "intermediate.crt"].map(|file| {
        let path = folder.join("caddy/pki/authorities/local").join(file);
        std::fs::read_to_string(path).unwrap()
    })
}

#[tokio::test]
async fn the_intermediate_is_renewed_and_the_root_stays() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let issuer = InternalIssuer::new(authority(folder.path(), &clock).await, 12 * 3600, false);
    issuer.issue(&request("a.localhost")).await.unwrap();
    let [root, intermediate] = files(folder.path());
    clock.advance(INTERMEDIATE_LIFETIME / 2 + SignedDuration::from_hours(1));
    let certificate = issuer
        .issue(&request("a.localhost"))
        .await
        .unwrap()
        .certificate;
    let [root_now, intermediate_now] = files(folder.path());
    assert_eq!(root, root_now);
    assert_ne!(intermediate, intermediate_now);
    assert!(certificate.facts.not_after > clock.now());
    // Another run goes on with both.
    drop(issuer);
    authority(folder.path(), &clock).await;
    assert_eq!(files(folder.path()), [root_now, intermediate_now]);
}

#[tokio::test]
async fn a_leaf_never_outlives_its_signer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let authority = authority(folder.path(), &clock).await;
    clock.advance(INTERMEDIATE_LIFETIME / 2 - SignedDuration::from_hours(1));
    let issuer = InternalIssuer::new(Arc::clone(&authority), u64::MAX, false);
    let certificate = issuer
        .issue(&request("a.localhost"))
        .await
        .unwrap()
        .certificate;
    let signer = authority.signer().await.unwrap();
    assert_eq!(certificate.facts.not_after, signer.not_after().unwrap());
}

#[tokio::test]
async fn leaves_are_for_the_name_with_the_key_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let issuer = InternalIssuer::new(authority(folder.path(), &clock).await, 3600, false);
    for name in ["localhost", "*.app.localhost", "192.168.1.9", "fd00::9"] {
        for key_type in [
            KeyType::Ed25519,
            KeyType::P256,
            KeyType::P384,
            KeyType::Rsa2048,
        ] {
            let request = Request {
                key_type,
                ..request(name)
            };
            let facts = issuer.issue(&request).await.unwrap().certificate.facts;
            assert_eq!(facts.subject_alternative_names, [name]);
            assert_eq!(facts.issuer, IssuerId::Internal);
            assert_eq!(facts.serial.len(), 32);
            let third = (facts.not_after - facts.renew_at(RenewalWindow::default())).get_seconds();
            assert!((1200..1400).contains(&third), "{third}");
        }
    }
}
