use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;
use crate::store::local::{LocalStorage, Rebuilds};

struct Place {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(Timestamp::now())),
        }
    }

    async fn authority(&self) -> ControlAuthority {
        let storage = LocalStorage::open(self.folder.path(), Rebuilds::default()).await;
        let clock = Arc::clone(&self.clock);
        let folder = self.folder.path().join("control");
        ControlAuthority::load(&storage.unwrap(), folder, clock)
            .await
            .unwrap()
    }

    fn role(&self, role: Role) -> PathBuf {
        self.folder.path().join("control").join(role.as_str())
    }
}

#[tokio::test]
async fn identities_are_written_once_and_renewed_at_half_their_lifetime() {
    let place = Place::new();
    let authority = place.authority().await;
    assert_eq!(authority.write_due().unwrap(), WRITTEN.map(Role::as_str));
    assert!(authority.write_due().unwrap().is_empty());
    // Another run finds the same authority.
    drop(authority);
    let authority = place.authority().await;
    assert!(authority.write_due().unwrap().is_empty());
    place
        .clock
        .advance(IDENTITY_LIFETIME / 2 - SignedDuration::from_hours(1));
    assert!(authority.write_due().unwrap().is_empty());
    place.clock.advance(SignedDuration::from_hours(2));
    assert_eq!(authority.write_due().unwrap(), WRITTEN.map(Role::as_str));
    assert!(authority.write_due().unwrap().is_empty());
}

#[tokio::test]
async fn identities_that_are_damaged_or_of_another_role_are_replaced() {
    let place = Place::new();
    let authority = place.authority().await;
    authority.write_due().unwrap();
    let file = place.role(Role::Proxy).join(IDENTITY_FILE);
    fs::write(&file, b"nonsense").unwrap();
    assert_eq!(authority.write_due().unwrap(), ["proxy"]);
    fs::copy(place.role(Role::Operator).join(IDENTITY_FILE), &file).unwrap();
    assert_eq!(authority.write_due().unwrap(), ["proxy"]);
    fs::remove_file(place.role(Role::Operator).join(AUTHORITY_FILE)).unwrap();
    assert_eq!(authority.write_due().unwrap(), ["operator"]);
}

#[tokio::test]
async fn each_subscriber_has_an_identity_of_its_own() {
    let place = Place::new();
    let ids = ["mail", "db"].map(|id| id.parse::<SubscriberId>().unwrap());
    let authority = place.authority().await.with_subscribers(ids.clone());
    authority.write_due().unwrap();
    let folder = |id: &SubscriberId| place.folder.path().join("control").join(id.folder());
    for id in &ids {
        let leaf = CertificateDer::from_pem_file(folder(id).join(IDENTITY_FILE)).unwrap();
        assert_eq!(Role::of_certificate(&leaf), Some(Role::Subscriber));
        assert_eq!(SubscriberId::of_certificate(&leaf).as_ref(), Some(id));
    }
    // One that was put into another's folder is replaced.
    fs::copy(
        folder(&ids[0]).join(IDENTITY_FILE),
        folder(&ids[1]).join(IDENTITY_FILE),
    )
    .unwrap();
    assert_eq!(authority.write_due().unwrap(), ["subscriber-db"]);
}

#[tokio::test]
async fn keys_are_for_their_owner_alone_and_identities_load() {
    let place = Place::new();
    let authority = place.authority().await;
    authority.write_due().unwrap();
    for role in WRITTEN {
        let folder = place.role(role);
        Identity::load(&folder).unwrap();
        let mode = |file| {
            fs::metadata(folder.join(file))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(IDENTITY_FILE), 0o600);
        assert_eq!(mode(AUTHORITY_FILE), 0o644);
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let place = Place::new();
    let authority = place.authority().await;
    // In the place of the folder of one role.
    fs::create_dir_all(place.folder.path().join("control")).unwrap();
    fs::write(place.role(Role::Operator), b"").unwrap();
    let error = authority.write_due().unwrap_err().to_string();
    assert!(error.contains("control/operator"), "{error}");
    assert!(error.contains("--control"), "{error}");
    // The others have theirs.
    Identity::load(&place.role(Role::Proxy)).unwrap();
}
