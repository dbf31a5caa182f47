mod damage;
mod sealing;

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::local::{LocalStorage, Rebuilds};
use super::*;
use crate::authority::Usage;
use crate::policy::Secret;

/// What a store is filled with.
struct Content {
    certificates: Vec<Certificate>,
    account: Account,
    order: Order,
    authority: Authority,
}

impl Content {
    fn new(names: usize) -> Self {
        let now = Timestamp::now();
        let root = Signer::root("test", now, SignedDuration::from_hours(24)).unwrap();
        let issuer = IssuerId::Acme("https://ca.test/dir".to_owned());
        let certificates = (0..names).map(|i| certificate(&root, &format!("a{i}.school.org")));
        Self {
            certificates: certificates.collect(),
            account: Account {
                issuer: issuer.clone(),
                email: Some("me@school.org".to_owned()),
                key: PrivateKey::generate(KeyType::P256).unwrap(),
                url: Some("https://ca.test/account/1".to_owned()),
                next_key: Some(PrivateKey::generate(KeyType::P256).unwrap()),
                external_account: Some(ExternalAccount {
                    key_id: "kid".to_owned(),
                    mac_key: Secret::new("c2VjcmV0"),
                }),
            },
            order: Order {
                name: Name::parse("open.school.org").unwrap(),
                issuer,
                url: Some("https://ca.test/order/1".to_owned()),
                key: PrivateKey::generate(KeyType::P256).unwrap(),
                created_at: now,
                replaces: None,
                txt_records: Vec::new(),
                terms: OrderTerms::default(),
            },
            authority: Authority {
                id: AuthorityId::Local,
                root,
                intermediate: None,
            },
        }
    }

    async fn put(&self, store: &LocalStorage) {
        for certificate in &self.certificates {
            put(store, certificate).await;
        }
        store.put_account(&self.account).await.unwrap();
        store.put_order(&self.order).await.unwrap();
        store.put_authority(&self.authority).await.unwrap();
    }

    /// Checks that everything is there.
    async fn check(&self, store: &LocalStorage, case: &str) {
        let records = store.records().await.unwrap();
        for certificate in &self.certificates {
            let found = store.certificate(&certificate.name).await.unwrap();
            let found = found.unwrap_or_else(|| panic!("{} is lost: {case}", certificate.name));
            assert_eq!(found.facts, certificate.facts, "{case}");
            assert_eq!(
                found.key.secret_der(),
                certificate.key.secret_der(),
                "{case}"
            );
            let record = records
                .iter()
                .find(|record| record.name == certificate.name);
            let facts = record.and_then(|record| record.certificate.as_ref());
            assert_eq!(facts, Some(&certificate.facts), "{case}");
        }
        let Account { issuer, email, .. } = &self.account;
        let account = store
            .account(issuer, email.as_deref())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(account.url, self.account.url, "{case}");
        assert_eq!(
            account.key.secret_der(),
            self.account.key.secret_der(),
            "{case}"
        );
        let next = |account: &Account| {
            let key = account.next_key.as_ref();
            key.map(|key| key.secret_der().to_vec())
        };
        assert_eq!(next(&account), next(&self.account), "{case}");
        let bound = &account.external_account;
        assert_eq!(bound, &self.account.external_account, "{case}");
        assert_eq!(store.accounts().await.unwrap().len(), 1, "{case}");
        let Order { issuer, name, .. } = &self.order;
        let order = store.order(issuer, name).await.unwrap().unwrap();
        assert_eq!(order.url, self.order.url, "{case}");
        assert_eq!(
            order.key.secret_der(),
            self.order.key.secret_der(),
            "{case}"
        );
        let authority = store.authority(AuthorityId::Local).await.unwrap().unwrap();
        assert_eq!(
            authority.root.certificate_pem, self.authority.root.certificate_pem,
            "{case}"
        );
    }
}

fn certificate(root: &Signer, name: &str) -> Certificate {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let hour = SignedDuration::from_hours(1);
    let leaf = root
        .leaf(name, &key, Usage::Server, Timestamp::now(), hour)
        .unwrap();
    let name = Name::parse(name).unwrap();
    Certificate::new(name, IssuerId::Internal, vec![leaf], key).unwrap()
}

/// Stores a certificate and its record, as the manager does.
async fn put(store: &LocalStorage, certificate: &Certificate) {
    store.put_certificate(certificate).await.unwrap();
    let mut record = Record::new(certificate.name.clone(), Timestamp::now());
    record.succeed(certificate.facts.clone());
    store.put_records(&[record]).await.unwrap();
}

async fn open(folder: &Path) -> (LocalStorage, u64) {
    let rebuilds = Rebuilds::default();
    let store = LocalStorage::open(folder, rebuilds.clone()).await.unwrap();
    (store, rebuilds.count())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn database_files(folder: &Path) -> Vec<PathBuf> {
    files_below(&folder.join("db"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A store that was filled and closed.
async fn filled(content: &Content) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 0);
    content.put(&store).await;
    store.flush().await.unwrap();
    folder
}

#[tokio::test]
async fn what_was_stored_is_there_after_reopening() {
    let content = Content::new(3);
    let folder = filled(&content).await;
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 0);
    content.check(&store, "reopened").await;
}

#[tokio::test]
async fn a_missing_database_is_rebuilt_from_the_files() {
    let content = Content::new(3);
    let folder = filled(&content).await;
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 1);
    content.check(&store, "removed").await;
}

#[tokio::test]
async fn a_truncated_database_is_rebuilt_from_the_files() {
    let content = Content::new(10);
    let original = filled(&content).await;
    for file in database_files(original.path()) {
        let length = fs::metadata(&file).unwrap().len();
        for part in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            copy(original.path(), folder.path());
            let file = folder
                .path()
                .join(file.strip_prefix(original.path()).unwrap());
            let damaged = fs::File::options().write(true).open(&file).unwrap();
            damaged.set_len(length * part / 6).unwrap();
            let (store, _) = open(folder.path()).await;
            content
                .check(&store, &format!("{} at {part}/6", file.display()))
                .await;
        }
    }
}

#[tokio::test]
async fn a_database_with_flipped_bytes_is_rebuilt_from_the_files() {
    let content = Content::new(10);
    let original = filled(&content).await;
    for file in database_files(original.path()) {
        let length = fs::metadata(&file).unwrap().len();
        let step = usize::try_from((length / 24).max(1)).unwrap();
        for position in (0..usize::try_from(length).unwrap()).step_by(step) {
            let folder = tempfile::tempdir().unwrap();
            copy(original.path(), folder.path());
            let file = folder
                .path()
                .join(file.strip_prefix(original.path()).unwrap());
            let mut bytes = fs::read(&file).unwrap();
            bytes[position] ^= 0xff;
            fs::write(&file, bytes).unwrap();
            let (store, _) = open(folder.path()).await;
            content
                .check(&store, &format!("{} byte {position}", file.display()))
                .await;
        }
    }
}

#[tokio::test]
async fn a_start_that_died_while_opening_gives_the_database_up() {
    let content = Content::new(1);
    let folder = filled(&content).await;
    fs::write(folder.path().join("db.opening"), b"").unwrap();
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 2, "set aside, and completed from the files");
    content.check(&store, "given up").await;
}

#[tokio::test]
async fn a_database_that_is_older_than_the_files_is_completed() {
    let mut content = Content::new(2);
    let folder = filled(&content).await;
    let before = tempfile::tempdir().unwrap();
    copy(&folder.path().join("db"), before.path());
    // A certificate counts as newer by its begin, which has no fractions of a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (store, _) = open(folder.path()).await;
    content.certificates[0] = certificate(&content.authority.root, "a0.school.org");
    put(&store, &content.certificates[0]).await;
    drop(store);
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    copy(before.path(), &folder.path().join("db"));
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 1);
    content.check(&store, "older").await;
}

#[tokio::test]
async fn many_writes_at_once_do_not_block_one_another() {
    let content = Content::new(64);
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).await;
    let mut writes = tokio::task::JoinSet::new();
    for certificate in content.certificates {
        let store = store.clone();
        writes.spawn(async move { put(&store, &certificate).await });
    }
    let deadline = Duration::from_secs(60);
    tokio::time::timeout(deadline, writes.join_all())
        .await
        .unwrap();
    assert_eq!(store.records().await.unwrap().len(), 64);
}

#[tokio::test]
async fn files_that_are_gone_are_written_again() {
    let content = Content::new(2);
    let folder = filled(&content).await;
    let certificates = folder.path().join("caddy").join("certificates");
    fs::remove_dir_all(&certificates).unwrap();
    drop(open(folder.path()).await);
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, _) = open(folder.path()).await;
    content.check(&store, "files gone").await;
}

#[tokio::test]
async fn a_malformed_file_does_not_keep_the_others_from_being_found() {
    let mut content = Content::new(3);
    let folder = filled(&content).await;
    let bad = folder
        .path()
        .join("caddy/certificates/local/a1.school.org/a1.school.org.crt");
    fs::write(bad, b"nonsense").unwrap();
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, _) = open(folder.path()).await;
    content.certificates.remove(1);
    content.check(&store, "one malformed").await;
    let name = Name::parse("a1.school.org").unwrap();
    assert!(store.certificate(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn files_are_in_the_layout_of_caddy_and_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let content = Content::new(1);
    let folder = filled(&content).await;
    let mode = |path: &str| {
        let path = folder.path().join("caddy").join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for secret in [
        "certificates/local/a0.school.org/a0.school.org.key",
        "certificates/local/a0.school.org/a0.school.org.crt",
        "certificates/local/a0.school.org/a0.school.org.json",
        "acme/ca.test-dir/users/me@school.org/me.key",
        "acme/ca.test-dir/users/me@school.org/me.json",
        "orders/ca.test-dir/open.school.org.json",
        "pki/authorities/local/root.key",
    ] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    assert_eq!(mode("pki/authorities/local/root.crt"), 0o644);
    assert_eq!(mode("certificates/local"), 0o700);
}

#[tokio::test]
async fn what_is_removed_stays_removed() {
    let content = Content::new(2);
    let folder = filled(&content).await;
    let (store, _) = open(folder.path()).await;
    let name = &content.certificates[0].name;
    store.remove_name(name).await.unwrap();
    store
        .remove_order(&content.order.issuer, &content.order.name)
        .await
        .unwrap();
    drop(store);
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, _) = open(folder.path()).await;
    assert!(store.certificate(name).await.unwrap().is_none());
    assert_eq!(store.records().await.unwrap().len(), 1);
    let order = store
        .order(&content.order.issuer, &content.order.name)
        .await;
    assert!(order.unwrap().is_none());
}

#[tokio::test]
async fn a_database_in_use_is_waited_for_and_never_taken_for_broken() {
    let content = Content::new(2);
    let folder = filled(&content).await;
    let (first, _) = open(folder.path()).await;
    let second = LocalStorage::open(folder.path(), Rebuilds::default()).await;
    assert!(matches!(second, Err(StoreError::InUse(_))), "{second:?}");

    let opening = open(folder.path());
    let closing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(first);
    };
    let ((store, rebuilds), ()) = tokio::join!(opening, closing);
    assert_eq!(rebuilds, 0);
    content.check(&store, "opened again").await;
}

#[tokio::test]
async fn the_lock_is_for_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = FolderLock::take(folder.path(), || panic!("nobody holds it"))
        .await
        .unwrap();
    assert!(FolderLock::try_take(folder.path()).unwrap().is_none());
    let (waits, waiting) = tokio::sync::oneshot::channel();
    let path = folder.path().to_owned();
    let second =
        tokio::spawn(async move { FolderLock::take(&path, || waits.send(()).unwrap()).await });
    waiting.await.unwrap();
    drop(first);
    second.await.unwrap().unwrap();
}
