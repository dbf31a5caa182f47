//! What must not be reachable, however it is asked for.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::serve;

const SECRET: &str = "the secret";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_volume_is_served() -> anyhow::Result<()> {
    let stack = serve().await?;
    std::fs::write(stack.path("secret.txt"), SECRET)?;
    std::fs::write(stack.path("media/secret.txt"), SECRET)?;
    std::fs::create_dir(stack.path("static/sub"))?;
    let targets = [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/%252e%252e/secret.txt",
        "/....//secret.txt",
        "/.%00./secret.txt",
        "/sub/..%00/../secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "//../secret.txt",
        "/./.././secret.txt",
        "/../media/secret.txt",
        "/srv/media/secret.txt",
    ];
    for target in targets {
        let mut raw = stack.raw().await?;
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw.send(&request).await?;
        let response = raw.read_to_end().await?;
        assert!(
            response.starts_with("HTTP/1.1 4") || response.starts_with("HTTP/1.1 3"),
            "{target}: {response}"
        );
        assert!(!response.contains(SECRET), "{target}: {response}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_nowhere_outside() -> anyhow::Result<()> {
    let stack = serve().await?;
    std::fs::write(stack.path("secret.txt"), SECRET)?;
    symlink(stack.path("secret.txt"), stack.path("static/absolute.txt"))?;
    symlink("../secret.txt", stack.path("static/relative.txt"))?;
    symlink("..", stack.path("static/parent"))?;
    symlink("digits.txt", stack.path("static/inside.txt"))?;
    let client = stack.client()?;
    for path in ["/absolute.txt", "/relative.txt", "/parent/secret.txt"] {
        let response = client.get(stack.https("localhost", path)).send().await?;
        assert_eq!(response.status(), 404, "{path}");
    }
    let response = client
        .get(stack.https("localhost", "/inside.txt"))
        .send()
        .await?;
    assert_eq!(response.text().await?, super::TEXT);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_regular_files_are_opened() -> anyhow::Result<()> {
    let stack = serve().await?;
    mknodat(
        CWD,
        stack.path("static/pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )?;
    let response = stack
        .client()?
        .get(stack.https("localhost", "/pipe"))
        .send()
        .await?;
    assert_eq!(response.status(), 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_choose_the_root() -> anyhow::Result<()> {
    let stack = serve().await?;
    std::fs::write(stack.path("media/secret.txt"), SECRET)?;
    let response = stack
        .client()?
        .get(stack.https("localhost", "/secret.txt"))
        .header("portico-file", "root=\"/srv/media\"")
        .send()
        .await?;
    assert_eq!(response.status(), 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_swapped_for_links_lead_nowhere_outside() -> anyhow::Result<()> {
    const BIG: usize = 600_000;
    let stack = serve().await?;
    let (folder, link) = (stack.path("static/a"), stack.path("static/b"));
    std::fs::create_dir_all(folder.join("sub"))?;
    std::fs::create_dir_all(stack.path("outside/sub"))?;
    // Small ones are kept in memory, big ones are handed over open.
    for name in ["file.txt", "sub/file.txt", "big.bin"] {
        let size = if name == "big.bin" { BIG } else { 10 };
        std::fs::write(folder.join(name), vec![b'i'; size])?;
        std::fs::write(stack.path("outside").join(name), vec![b'o'; size])?;
    }
    symlink("../outside", &link)?;
    let (stop, swaps) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let swapping = std::thread::spawn({
        let (stop, swaps) = (Arc::clone(&stop), Arc::clone(&swaps));
        move || -> std::io::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE)?;
                swaps.fetch_add(1, Ordering::Relaxed);
                // Now and then long enough for a file to be kept.
                if swaps.load(Ordering::Relaxed) % 64 == 0 {
                    std::thread::sleep(Duration::from_millis(30));
                }
            }
            Ok(())
        }
    });
    let (client, start) = (stack.client()?, Instant::now());
    let (mut inside, mut refused, mut broken) = (0, 0, 0);
    while start.elapsed() < Duration::from_secs(4) {
        for path in ["/a/file.txt", "/b/sub/file.txt", "/a/big.bin", "/b/big.bin"] {
            let response = client.get(stack.https("localhost", path)).send().await?;
            match response.status().as_u16() {
                200 => match response.bytes().await {
                    Ok(body) => {
                        ensure!(body.iter().all(|byte| *byte == b'i'), "{path} is outside");
                        inside += 1;
                    }
                    Err(_) => broken += 1,
                },
                404 | 503 => refused += 1,
                other => anyhow::bail!("{path}: {other}"),
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapping.join().expect("the thread panicked")?;
    let swaps = swaps.load(Ordering::Relaxed);
    assert!(
        swaps > 1000 && inside > 20 && refused > 20 && broken < inside,
        "{swaps} swaps, {inside} inside, {refused} refused, {broken} broken"
    );
    Ok(())
}
