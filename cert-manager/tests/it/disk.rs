//! A disk without room: it is said, nothing is lost, and it is over when there is room again.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use proto::certs::v1;

use crate::context::Place;
use crate::proxy::{Proxy, internal, serial};

/// A file system of a few megabytes in memory; unmounted when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Mounts it, or says why not.
    fn mount(folder: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "portico-test"])
            .arg(folder)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("SKIPPED: a tmpfs cannot be mounted: {other:?}");
                None
            }
        }
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives it back.
    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

async fn renew(place: &Place, name: &str) {
    let request = v1::RenewRequest {
        name: name.to_owned(),
    };
    // The request itself needs room to be kept.
    let _ = place.admin().renew(request).await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_gone_on_from() {
    let place = Place::new();
    let data = place.data();
    let Some(small) = Small::mount(&data) else {
        return;
    };
    let server = place.start().await;
    let names: Vec<_> = (0..8).map(|i| format!("a{i}.localhost")).collect();
    let subjects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), internal()))
        .collect();
    let proxy = Proxy::connect(&place, &subjects).await;
    let mut before = Vec::new();
    for name in &names {
        before.push(serial(&proxy.certificate(name, None).await));
    }
    small.fill();
    let more = [subjects.clone(), vec![("b.localhost", internal())]].concat();
    // The declaration may be refused as a whole, or the certificate cannot be kept.
    proxy.declare(&more).await;
    let mut last = String::new();
    let said = |log: &str| log.contains("No space left on device");
    for _ in 0..600 {
        last = server.log();
        if said(&last) {
            break;
        }
        renew(&place, "a0.localhost").await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(said(&last), "{last}");
    small.empty();

    let proxy = Proxy::connect(&place, &more).await;
    renew(&place, "b.localhost").await;
    proxy.certificate("b.localhost", None).await;
    renew(&place, "a1.localhost").await;
    proxy.certificate("a1.localhost", Some(&before[1])).await;
    server.kill();

    let server = place.start().await;
    let proxy = Proxy::connect(&place, &more).await;
    let received = proxy
        .wait(|received| received.certificates.len() == 9)
        .await;
    for (name, before) in names.iter().zip(&before).skip(2) {
        assert_eq!(serial(&received.certificates[name]), *before, "{name}");
    }
    let (log, _, _) = server.terminate();
    assert!(!log.contains("DOES NOT OPEN"), "{log}");
    drop(small);
}

#[tokio::test]
async fn a_database_that_cannot_grow_is_opened_anew_when_it_can() {
    let place = Place::new();
    let server = place.start().await;
    let first = [("first.localhost", internal())];
    let proxy = Proxy::connect(&place, &first).await;
    let before = serial(&proxy.certificate("first.localhost", None).await);
    server.terminate();
    // Certificates and the log fit into files of this size, and the database does not for long.
    let largest = std::fs::metadata(place.data().join("db/db")).unwrap().len();
    let blocks = largest / 512 + 1024;
    let serve = place.command("serve");
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!(
            "trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\""
        ))
        .arg(serve.get_program())
        .args(serve.get_args());
    let server = place.spawn_by(limited, place.listen, place.status_listen, place.admin);
    server.ready().await;
    let names: Vec<_> = (0..400).map(|i| format!("a{i}.localhost")).collect();
    let subjects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), internal()))
        .chain(first.clone())
        .collect();
    let proxy = Proxy::connect_unsynchronized(&place, &subjects).await;
    let mut log = String::new();
    for _ in 0..600 {
        log = server.log();
        if log.contains("File too large") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(log.contains("File too large"), "{log}");
    let announced = proxy.wait(|_| true).await.certificates;
    server.lift_file_size_limit();
    for name in &names {
        renew(&place, name).await;
    }
    let proxy = Proxy::connect(&place, &subjects).await;
    let received = proxy
        .wait(|received| received.certificates.len() == subjects.len())
        .await;
    assert_eq!(serial(&received.certificates["first.localhost"]), before);
    server.kill();

    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects).await;
    let received = proxy
        .wait(|received| received.certificates.len() == subjects.len())
        .await;
    assert_eq!(serial(&received.certificates["first.localhost"]), before);
    for name in announced.keys() {
        assert!(received.certificates.contains_key(name), "{name}");
    }
}
