//! Volumes that are file systems of their own: they fill, and they come and go.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use reqwest::{Method, StatusCode};
use tests::stack::Stack;
use tests::wait;

use super::{TEXT, ask, serve};

/// A file system in memory, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one of a mebibyte; else says why that is not allowed.
    fn new(folder: &Path) -> anyhow::Result<Result<Self, String>> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "portico-test"]);
        let output = mount.arg(folder).output().context("running mount")?;
        if output.status.success() {
            return Ok(Ok(Self(folder.to_owned())));
        }
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !rustix::process::geteuid().is_root() || reason.contains("permission denied"),
            "{reason}"
        );
        Ok(Err(reason))
    }

    /// Takes it away, though files of it may be open.
    fn take_away(self) {
        drop(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        let is_done = unmounted.is_ok_and(|status| status.success());
        assert!(
            is_done || std::thread::panicking(),
            "{} stays mounted",
            self.0.display()
        );
    }
}

/// Waits until a path has a status, and gives the body.
async fn until(stack: &Stack, path: &str, status: StatusCode) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    wait::until(&format!("{path} is {status}"), async || {
        let answer = ask(stack, &Method::GET, path, &[]).await?;
        ensure!(answer.0 == status, "{}", answer.0);
        body = answer.2;
        Ok(())
    })
    .await?;
    Ok(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_full_serves_what_it_holds() -> anyhow::Result<()> {
    let stack = serve().await?;
    let _mounted = match Mounted::new(&stack.path("static"))? {
        Ok(mounted) => mounted,
        Err(reason) => {
            println!("not tested: only root can mount a file system: {reason}");
            return Ok(());
        }
    };
    std::fs::write(stack.path("static/whole.txt"), "whole")?;
    assert_eq!(until(&stack, "/whole.txt", StatusCode::OK).await?, b"whole");

    // An upload that the volume has no room for: what was written of it is a file like any other.
    let path = stack.path("static/upload.bin");
    let mut file = File::create(&path)?;
    let mut written = 0_u64;
    let full = loop {
        match file.write_all(&[b'x'; 64 << 10]) {
            Ok(()) => written = file.metadata()?.len(),
            Err(error) => break error,
        }
        let (status, headers, body) = ask(&stack, &Method::GET, "/upload.bin", &[]).await?;
        ensure!(status == StatusCode::OK, "{status}");
        ensure!(
            headers["content-length"] == body.len().to_string(),
            "{headers:?}"
        );
        ensure!(body.len() as u64 == written, "{} of {written}", body.len());
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    drop(file);
    let (_, _, body) = ask(&stack, &Method::GET, "/upload.bin", &[]).await?;
    assert_eq!(body.len() as u64, std::fs::metadata(&path)?.len());
    assert!(body.len() as u64 >= written && body.iter().all(|byte| *byte == b'x'));
    assert_eq!(until(&stack, "/whole.txt", StatusCode::OK).await?, b"whole");

    std::fs::remove_file(&path)?;
    until(&stack, "/upload.bin", StatusCode::NOT_FOUND).await?;
    std::fs::write(&path, "smaller")?;
    assert_eq!(
        until(&stack, "/upload.bin", StatusCode::OK).await?,
        b"smaller"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_mounted_or_taken_away_is_followed() -> anyhow::Result<()> {
    let stack = serve().await?;
    assert_eq!(
        until(&stack, "/digits.txt", StatusCode::OK).await?,
        TEXT.as_bytes()
    );
    let mounted = match Mounted::new(&stack.path("static"))? {
        Ok(mounted) => mounted,
        Err(reason) => {
            println!("not tested: only root can mount a file system: {reason}");
            return Ok(());
        }
    };
    // The folder below it is covered, and with it what is kept in memory.
    until(&stack, "/digits.txt", StatusCode::NOT_FOUND).await?;
    let content: Vec<u8> = (0..900_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(stack.path("static/big.bin"), &content)?;
    std::fs::write(stack.path("static/mounted.txt"), "mounted")?;
    let mounted_text = until(&stack, "/mounted.txt", StatusCode::OK).await?;
    assert_eq!(mounted_text, b"mounted");

    let url = stack.https("localhost", "/big.bin");
    let mut response = stack.client()?.get(&url).send().await?;
    let mut received = response.chunk().await?.context("no content")?.to_vec();
    mounted.take_away();
    // What is on its way is open, and ends as it began; a break is right as well.
    let ended = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => received.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(content.starts_with(&received));
    assert!(!ended || received.len() == content.len());

    for path in ["/mounted.txt", "/big.bin"] {
        until(&stack, path, StatusCode::NOT_FOUND).await?;
    }
    assert_eq!(
        until(&stack, "/digits.txt", StatusCode::OK).await?,
        TEXT.as_bytes()
    );
    Ok(())
}
