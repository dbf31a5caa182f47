//! Listings of folders through the edge.

use anyhow::Context as _;
use reqwest::StatusCode;
use tests::stack::Stack;

async fn serve() -> anyhow::Result<Stack> {
    let stack = Stack::start(
        "localhost {
	handle_path /files/* {
		root * /srv/static
		file_server {
			hide *.secret
			browse {
				sort time desc
				file_limit 100
			}
		}
	}
	handle_path /bare* {
		root * /srv/media
		file_server browse
	}
	respond nothing 404
}",
    )
    .await?;
    std::fs::create_dir_all(stack.path("static/dir/sub"))?;
    for (name, time) in [("old <1>.txt", 1_600_000_000), ("new.txt", 1_700_000_000)] {
        let path = stack.path("static/dir").join(name);
        std::fs::write(&path, name)?;
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        std::fs::File::options()
            .write(true)
            .open(&path)?
            .set_modified(time)?;
    }
    std::fs::write(stack.path("static/dir/a.secret"), "x")?;
    std::fs::write(stack.path("media/a.txt"), "x")?;
    Ok(stack)
}

async fn listed(stack: &Stack, path: &str) -> anyhow::Result<Vec<String>> {
    let request = stack.client()?.get(stack.https("localhost", path));
    let response = request.header("accept", "application/json").send().await?;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let items: Vec<serde_json::Value> = serde_json::from_slice(&response.bytes().await?)?;
    let name = |item: &serde_json::Value| item["name"].as_str().map(str::to_owned);
    items
        .iter()
        .map(|item| name(item).context("no name"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_listed_as_the_caddyfile_says() -> anyhow::Result<()> {
    let stack = serve().await?;
    assert_eq!(
        listed(&stack, "/files/dir/").await?,
        ["sub/", "new.txt", "old <1>.txt"]
    );
    assert_eq!(
        listed(&stack, "/files/dir/?sort=name&order=asc&limit=1").await?,
        ["new.txt"]
    );
    let page = stack
        .client()?
        .get(stack.https("localhost", "/files/dir/"))
        .send()
        .await?;
    assert_eq!(page.headers()["vary"], "Accept, Accept-Encoding");
    let page = page.text().await?;
    assert!(page.contains("href=\"./old%20%3C1%3E.txt\""), "{page}");
    // A listing follows the folder at once: nobody keeps it.
    std::fs::remove_file(stack.path("static/dir/new.txt"))?;
    assert_eq!(
        listed(&stack, "/files/dir/").await?,
        ["sub/", "old <1>.txt"]
    );
    let file = stack.https("localhost", "/files/dir/old%20%3C1%3E.txt");
    assert_eq!(
        stack.client()?.get(file).send().await?.text().await?,
        "old <1>.txt"
    );
    for path in ["/files/dir/a.secret", "/files/dir/none/", "/none/"] {
        let response = stack
            .client()?
            .get(stack.https("localhost", path))
            .send()
            .await?;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_was_stripped_as_a_whole_gets_its_slash() -> anyhow::Result<()> {
    let stack = serve().await?;
    let response = stack
        .client()?
        .get(stack.https("localhost", "/bare?x=1"))
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(response.headers()["location"], "/bare/?x=1");
    assert_eq!(listed(&stack, "/bare/").await?, ["a.txt"]);
    Ok(())
}
