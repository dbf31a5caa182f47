//! Damage to the durable files, beside that of the database.

use super::*;

/// Where the files of a certificate are.
fn certificate_folder(folder: &Path, name: &str) -> PathBuf {
    folder.join("caddy/certificates/local").join(name)
}

async fn open_counted(folder: &Path) -> (LocalStorage, Rebuilds) {
    let rebuilds = Rebuilds::default();
    let store = LocalStorage::open(folder, rebuilds.clone()).await.unwrap();
    (store, rebuilds)
}

/// What can happen to a file.
fn damages(original: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let half = original.len() / 2;
    let mut flipped = original.to_vec();
    flipped[half] ^= 0xff;
    vec![
        ("emptied", Vec::new()),
        ("cut", original[..half].to_vec()),
        ("flipped", flipped),
        ("zeroed", vec![0; original.len()]),
    ]
}

#[tokio::test]
async fn a_damaged_file_of_a_certificate_is_found_kept_and_written_again() {
    let content = Content::new(2);
    let original = filled(&content).await;
    for extension in ["crt", "json", "key"] {
        let file = format!("caddy/certificates/local/a0.school.org/a0.school.org.{extension}");
        let whole = fs::read(original.path().join(&file)).unwrap();
        for (what, bytes) in damages(&whole) {
            let case = format!("{extension} {what}");
            let folder = tempfile::tempdir().unwrap();
            copy(original.path(), folder.path());
            let (store, rebuilds) = open_counted(folder.path()).await;
            fs::write(folder.path().join(&file), &bytes).unwrap();
            let verified = store.verify().await.unwrap();
            assert_eq!(verified.damaged_files, 1, "{case}");
            assert_eq!(rebuilds.damaged_files(), 1, "{case}");
            assert_eq!(
                fs::read(folder.path().join(&file)).unwrap(),
                whole,
                "{case}"
            );
            let aside = files_below(&folder.path().join("aside"));
            let kept = aside
                .iter()
                .find(|path| path.ends_with(&file["caddy/".len()..]));
            assert_eq!(fs::read(kept.unwrap()).unwrap(), bytes, "{case}");
            content.check(&store, &case).await;
            assert_eq!(store.verify().await.unwrap(), Default::default(), "{case}");
            drop(store);
            // The files are good again without the database.
            fs::remove_dir_all(folder.path().join("db")).unwrap();
            let (store, _) = open(folder.path()).await;
            content.check(&store, &case).await;
        }
    }
}

#[tokio::test]
async fn a_start_opens_no_file_of_a_folder_that_is_as_it_was() {
    let content = Content::new(2);
    let folder = filled(&content).await;
    let name = "a0.school.org";
    for extension in ["crt", "json", "key"] {
        // Written in place, which the folder does not tell.
        let file = certificate_folder(folder.path(), name).join(format!("{name}.{extension}"));
        fs::write(file, "damaged").unwrap();
    }
    let (store, rebuilds) = open_counted(folder.path()).await;
    assert_eq!((rebuilds.count(), rebuilds.damaged_files()), (0, 0));
    content.check(&store, "not looked at").await;
    assert_eq!(store.verify().await.unwrap().damaged_files, 1);
    content.check(&store, "written again").await;
}

#[tokio::test]
async fn a_folder_that_was_replaced_by_damage_is_repaired_at_the_start() {
    let content = Content::new(2);
    let folder = filled(&content).await;
    let damaged = certificate_folder(folder.path(), "a0.school.org");
    fs::remove_dir_all(&damaged).unwrap();
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("a0.school.org.json"), "{\"sans\":").unwrap();
    let (store, rebuilds) = open_counted(folder.path()).await;
    assert!(rebuilds.damaged_files() > 0);
    content.check(&store, "at the start").await;
    assert_eq!(store.verify().await.unwrap(), Default::default());
}

#[tokio::test]
async fn every_damaged_account_order_and_authority_is_repaired_from_the_database() {
    let content = Content::new(1);
    let original = filled(&content).await;
    let files = [
        "caddy/acme/ca.test-dir/users/me@school.org/me.json",
        "caddy/acme/ca.test-dir/users/me@school.org/me.key",
        "caddy/orders/ca.test-dir/open.school.org.json",
        "caddy/pki/authorities/local/root.crt",
        "caddy/pki/authorities/local/root.key",
    ];
    for file in files {
        let whole = fs::read(original.path().join(file)).unwrap();
        for (what, bytes) in damages(&whole) {
            let case = format!("{file} {what}");
            let folder = tempfile::tempdir().unwrap();
            copy(original.path(), folder.path());
            fs::write(folder.path().join(file), &bytes).unwrap();
            let (store, rebuilds) = open_counted(folder.path()).await;
            content.check(&store, &case).await;
            assert!(rebuilds.damaged_files() > 0, "{case}");
            drop(store);
            assert_eq!(fs::read(folder.path().join(file)).unwrap(), whole, "{case}");
            fs::remove_dir_all(folder.path().join("db")).unwrap();
            let (store, _) = open(folder.path()).await;
            content.check(&store, &case).await;
        }
    }
}

#[tokio::test]
async fn what_nothing_can_repair_is_kept_aside_and_obtained_anew() {
    let mut content = Content::new(2);
    let folder = filled(&content).await;
    let key = certificate_folder(folder.path(), "a0.school.org").join("a0.school.org.key");
    fs::write(&key, "gone").unwrap();
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let (store, rebuilds) = open_counted(folder.path()).await;
    let lost = content.certificates.remove(0);
    content.check(&store, "the other").await;
    assert!(store.certificate(&lost.name).await.unwrap().is_none());
    assert_eq!(rebuilds.damaged_files(), 1);
    let records = store.records().await.unwrap();
    let record = records.iter().find(|record| record.name == lost.name);
    assert!(record.is_none_or(|record| record.certificate.is_none()));
    let aside = files_below(&folder.path().join("aside"));
    assert_eq!(aside.len(), 3, "{aside:?}");
}

#[tokio::test]
async fn a_certificate_that_the_database_has_lost_is_put_back() {
    let content = Content::new(3);
    let folder = filled(&content).await;
    let (store, _) = open(folder.path()).await;
    let name = &content.certificates[1].name;
    store.lose_certificate(name).await;
    let verified = store.verify().await.unwrap();
    assert_eq!(verified.damaged_rows, 1);
    assert_eq!(verified.damaged_files, 0);
    let file = certificate_folder(folder.path(), name.as_str());
    fs::remove_dir_all(file).unwrap();
    drop(store);
    let (store, _) = open(folder.path()).await;
    content.check(&store, "put back").await;
}

#[tokio::test]
async fn an_order_that_went_on_since_the_database_was_written_is_the_newer_one() {
    let mut content = Content::new(1);
    let folder = filled(&content).await;
    let before = tempfile::tempdir().unwrap();
    copy(&folder.path().join("db"), before.path());
    let (store, _) = open(folder.path()).await;
    content.order.url = Some("https://ca.test/order/2".to_owned());
    store.put_order(&content.order).await.unwrap();
    drop(store);
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    copy(before.path(), &folder.path().join("db"));
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 1);
    content.check(&store, "the newer order").await;
}

#[tokio::test]
async fn what_the_present_version_wrote_is_read() {
    // As version 0.1 wrote it: the database without notes of the files.
    let content = Content::new(3);
    let folder = filled(&content).await;
    {
        let database = sled::open(folder.path().join("db")).unwrap();
        assert!(database.drop_tree("files").unwrap());
        database.flush().unwrap();
    }
    let (store, rebuilds) = open(folder.path()).await;
    assert_eq!(rebuilds, 0);
    content.check(&store, "older").await;
}

#[tokio::test]
async fn another_authority_keeps_the_replaced_one_aside() {
    let content = Content::new(1);
    let folder = filled(&content).await;
    let (store, _) = open(folder.path()).await;
    let now = Timestamp::now();
    let other = Authority {
        id: AuthorityId::Local,
        root: Signer::root("other", now, SignedDuration::from_hours(24)).unwrap(),
        intermediate: None,
    };
    store.put_authority(&other).await.unwrap();
    let found = store.authority(AuthorityId::Local).await.unwrap().unwrap();
    assert_eq!(found.root.certificate_pem, other.root.certificate_pem);
    let aside = files_below(&folder.path().join("aside"));
    let root = aside.iter().find(|path| path.ends_with("local/root.crt"));
    assert_eq!(
        fs::read_to_string(root.unwrap()).unwrap(),
        content.authority.root.certificate_pem
    );
}
