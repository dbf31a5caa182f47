//! Files that change, and a static-server that goes.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, bail, ensure};
use reqwest::StatusCode;
use tests::stack::Stack;
use tests::wait;

use super::{serve, serve_over_http};

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_served_changed() -> anyhow::Result<()> {
    let stack = serve().await?;
    let file = stack.path("static/page.html");
    for version in 0..5 {
        let text = format!("version {version}");
        // In place and by replacement, as editors and deployments do.
        if version % 2 == 0 {
            std::fs::write(&file, &text)?;
        } else {
            std::fs::write(stack.path("static/new"), &text)?;
            std::fs::rename(stack.path("static/new"), &file)?;
        }
        shows(&stack, "/page.html", &text).await?;
    }
    std::fs::remove_file(&file)?;
    wait::until("the file is gone", async || {
        let response = stack
            .client()?
            .get(stack.https("localhost", "/page.html"))
            .send()
            .await?;
        ensure!(
            response.status() == StatusCode::NOT_FOUND,
            "{}",
            response.status()
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_appears_is_served_and_watched() -> anyhow::Result<()> {
    let stack = serve().await?;
    std::fs::create_dir_all(stack.path("static/a/b"))?;
    for text in ["one", "two"] {
        std::fs::write(stack.path("static/a/b/c.txt"), text)?;
        shows(&stack, "/a/b/c.txt", text).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_static_server_clients_are_told_to_come_back() -> anyhow::Result<()> {
    let mut stack = serve().await?;
    stack
        .static_server
        .as_mut()
        .context("not started")?
        .kill()
        .await?;
    let response = stack
        .client()?
        .get(stack.https("localhost", "/digits.txt"))
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    stack.start_static_server()?;
    shows(&stack, "/digits.txt", super::TEXT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_half_written_is_never_kept() -> anyhow::Result<()> {
    let stack = serve().await?;
    let client = stack.client()?;
    for round in 0..5 {
        let name = format!("collected-{round}.css");
        let mut file = std::fs::File::create(stack.path("static").join(&name))?;
        for part in 0..4 {
            file.write_all(format!("part {part}\n").repeat(500).as_bytes())?;
            // Asked for while it grows, as often as it takes to be kept.
            for _ in 0..5 {
                let url = stack.https("localhost", &format!("/{name}"));
                client.get(url).send().await?.bytes().await?;
            }
        }
        drop(file);
        let whole = std::fs::read_to_string(stack.path("static").join(&name))?;
        shows(&stack, &format!("/{name}"), &whole).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_on_its_way_breaks_the_transfer() -> anyhow::Result<()> {
    changes_on_its_way(serve().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_on_its_way_over_http_breaks_the_transfer() -> anyhow::Result<()> {
    changes_on_its_way(serve_over_http().await?).await
}

/// What happens to a file, whether that breaks a transfer, and how it is done.
type Happening<'a> = (&'a str, bool, &'a dyn Fn() -> std::io::Result<()>);

/// A client gets the version that it was promised, or a broken transfer.
async fn changes_on_its_way(stack: Stack) -> anyhow::Result<()> {
    const SIZE: usize = 24 * 1024 * 1024;
    let path = stack.path("static/big.bin");
    let open = || std::fs::File::options().write(true).open(&path);
    let aside = stack.path("static/aside.bin");
    let changes: [Happening<'_>; 5] = [
        ("cut short", true, &|| open()?.set_len(1000)),
        ("emptied", true, &|| open()?.set_len(0)),
        ("written anew", true, &|| {
            open()?.write_all_at(&vec![2; SIZE], 0)
        }),
        ("replaced", false, &|| {
            std::fs::write(&aside, vec![2; SIZE])?;
            std::fs::rename(&aside, &path)
        }),
        ("deleted", false, &|| std::fs::remove_file(&path)),
    ];
    for (what, breaks, change) in changes {
        std::fs::write(&path, vec![1; SIZE])?;
        let url = stack.https("localhost", "/big.bin");
        let mut response = stack.client()?.get(url).send().await?;
        assert_eq!(response.content_length(), Some(SIZE as u64));
        let mut received = response.chunk().await?.context("no content")?.len();
        change()?;
        let ended = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    ensure!(!bytes.contains(&2), "{what}: bytes of another version");
                    received += bytes.len();
                }
                other => break other,
            }
        };
        assert_eq!(ended.is_err(), breaks, "{what}: {received} of {SIZE} bytes");
        assert_eq!(
            received == SIZE,
            !breaks,
            "{what}: {received} of {SIZE} bytes"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_there_later_or_goes_is_followed() -> anyhow::Result<()> {
    let stack = serve().await?;
    shows(&stack, "/digits.txt", super::TEXT).await?;
    std::fs::rename(stack.path("static"), stack.path("away"))?;
    let client = stack.client()?;
    wait::until("the volume is gone", async || {
        let response = client
            .get(stack.https("localhost", "/digits.txt"))
            .send()
            .await?;
        ensure!(
            response.status() == StatusCode::NOT_FOUND,
            "{}",
            response.status()
        );
        Ok(())
    })
    .await?;
    // Another takes its place, as a mount does.
    std::fs::create_dir(stack.path("new"))?;
    std::fs::write(stack.path("new/digits.txt"), "mounted")?;
    std::fs::rename(stack.path("new"), stack.path("static"))?;
    shows(&stack, "/digits.txt", "mounted").await?;
    std::fs::write(stack.path("static/digits.txt"), "changed")?;
    shows(&stack, "/digits.txt", "changed").await
}

async fn shows(stack: &Stack, path: &str, text: &str) -> anyhow::Result<()> {
    let client = stack.client()?;
    wait::until(&format!("{path} is {text:?}"), async || {
        let response = client.get(stack.https("localhost", path)).send().await?;
        let (status, shown) = (response.status(), response.text().await?);
        if shown != text {
            bail!("{status} {shown:?}");
        }
        Ok(())
    })
    .await
}
