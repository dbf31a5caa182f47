//! Files that users uploaded.

use reqwest::StatusCode;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn uploads_run_in_no_browser_and_static_files_do() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    stack
        .environment
        .push(("PORTICO_UNTRUSTED".into(), "/srv/media".into()));
    let site = "localhost {
	handle_path /static/* {
		root * /srv/static
		file_server
	}
	handle_path /media/* {
		root * /srv/media
		file_server
	}
}";
    stack.write_caddyfile(site)?;
    stack.start_all().await?;
    for folder in ["static", "media"] {
        std::fs::write(stack.path(folder).join("a.svg"), "<svg/>")?;
        std::fs::write(stack.path(folder).join("a.png"), "png")?;
    }
    // Twice: from the static-server, and from what the proxy keeps.
    for _ in 0..2 {
        for (path, nosniff, disposition) in [
            ("/media/a.svg", "nosniff", "attachment"),
            ("/media/a.png", "nosniff", ""),
            ("/static/a.svg", "", ""),
        ] {
            let response = stack
                .client()?
                .get(stack.https("localhost", path))
                .send()
                .await?;
            assert_eq!(response.status(), StatusCode::OK);
            let field = |name: &str| {
                let value = response.headers().get(name);
                value.map_or("", |value| value.to_str().unwrap_or("unreadable"))
            };
            assert_eq!(field("x-content-type-options"), nosniff, "{path}");
            assert_eq!(field("content-disposition"), disposition, "{path}");
        }
    }
    Ok(())
}
