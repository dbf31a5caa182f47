//! PHP applications behind a real php-fpm. `PHP_FPM` names the program.

mod fpm;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tests::stack::Stack;

use self::fpm::Fpm;

/// Answers with what it was told.
const TELL: &str = r#"<?php
header('Content-Type: application/json');
echo json_encode(['server' => $_SERVER, 'get' => $_GET, 'post' => $_POST,
    'sha' => hash('sha256', file_get_contents('php://input'))], JSON_UNESCAPED_SLASHES);
"#;

/// A stack whose site is a PHP application as most people have one.
async fn serve(options: &str) -> anyhow::Result<(Stack, Fpm)> {
    let mut stack = Stack::new()?;
    let folder = stack.path("static");
    let fpm = Fpm::start(stack.folder()).await?;
    stack.write_caddyfile(&format!(
        "localhost {{
	root * /srv/static
	php_fastcgi unix/{} {{
		root {}
		env APP_ENV production
		{options}
	}}
	file_server
}}",
        fpm.socket().display(),
        folder.display(),
    ))?;
    std::fs::create_dir(folder.join("blog"))?;
    for name in ["index.php", "tell.php", "blog/index.php"] {
        std::fs::write(folder.join(name), TELL)?;
    }
    std::fs::write(folder.join("app.css"), "body {}")?;
    stack.start_all().await?;
    stack.certified("localhost").await?;
    Ok((stack, fpm))
}

async fn told(stack: &Stack, path: &str) -> anyhow::Result<Value> {
    let url = stack.https("localhost", path);
    let response = stack.client()?.get(&url).send().await.context("asking")?;
    ensure!(response.status() == 200, "{path}: {}", response.status());
    response.json().await.context("reading")
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_files_and_pretty_addresses_share_a_site() -> anyhow::Result<()> {
    let (stack, _fpm) = serve("").await?;
    let root = stack.path("static");
    let root = root.to_str().context("a path of text")?;
    for (path, script, info) in [
        ("/tell.php?x=1", "/tell.php", ""),
        ("/?x=1", "/index.php", ""),
        ("/pretty/address?x=1", "/index.php", ""),
        ("/blog/?x=1", "/blog/index.php", ""),
        (
            "/tell.php/some/thing%20else?x=1",
            "/tell.php",
            "/some/thing else",
        ),
    ] {
        let told = told(&stack, path).await?;
        let server = &told["server"];
        assert_eq!(server["SCRIPT_NAME"], script, "{path}");
        assert_eq!(
            server["SCRIPT_FILENAME"],
            format!("{root}{script}"),
            "{path}"
        );
        assert_eq!(server["REQUEST_URI"], path);
        assert_eq!(
            server["PATH_INFO"].as_str().unwrap_or_default(),
            info,
            "{path}"
        );
        assert_eq!(told["get"]["x"], "1", "{path}");
        assert_eq!(server["DOCUMENT_ROOT"], root);
        assert_eq!(server["APP_ENV"], "production");
        assert_eq!(server["HTTPS"], "on");
        assert_eq!(server["SSL_PROTOCOL"], "TLSv1.3");
        assert_eq!(server["SERVER_NAME"], "localhost");
        assert_eq!(server["SERVER_PORT"], stack.ports.https.to_string());
        assert_eq!(server["REMOTE_ADDR"], "127.0.0.1");
        assert_eq!(server["HTTP_X_FORWARDED_PROTO"], "https");
    }
    let client = stack.client()?;
    let get = async |path: &str| client.get(stack.https("localhost", path)).send().await;
    let redirect = get("/blog?x=1").await?;
    assert_eq!(redirect.status(), 308);
    assert_eq!(redirect.headers()["location"], "/blog/?x=1");
    let file = get("/app.css").await?;
    assert_eq!(file.headers()["content-type"], "text/css; charset=utf-8");
    assert_eq!(file.text().await?, "body {}");
    // Never the source of a script.
    let source = get("/tell.PHP").await?.text().await?;
    assert!(!source.contains("<?php"), "{source}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_uploads_arrive() -> anyhow::Result<()> {
    let (stack, _fpm) = serve("").await?;
    let client = stack.client()?;
    let url = stack.https("localhost", "/tell.php");
    let form = client
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded");
    let told: Value = form.body("name=Zo%C3%AB&n=1").send().await?.json().await?;
    assert_eq!(told["post"]["name"], "Zoë");

    let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| (n % 251) as u8).collect();
    let sha: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let upload = client.put(&url).header("content-type", "image/png");
    let told: Value = upload.body(bytes).send().await?.json().await?;
    assert_eq!(told["sha"], sha);
    assert_eq!(told["server"]["CONTENT_LENGTH"], "6000000");

    // Without a length, as chunks.
    let chunks = ["one", "two"].map(Ok::<_, std::io::Error>);
    let chunks = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let told: Value = client.post(&url).body(chunks).send().await?.json().await?;
    let sha: String = Sha256::digest("onetwo")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(told["sha"], sha);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_cookies_and_pieces_come_as_the_script_sends_them() -> anyhow::Result<()> {
    let (stack, _fpm) = serve("").await?;
    let gate = stack.path("gate");
    let script = format!(
        "<?php
http_response_code(404);
setcookie('a', '1');
setcookie('b', '2');
echo 'first';
flush();
for ($i = 0; !file_exists('{}') && $i < 3000; $i++) {{
    clearstatcache();
    usleep(10000);
}}
echo ' last';
",
        gate.display()
    );
    std::fs::write(stack.path("static/slow.php"), script)?;
    let client = stack.client()?;
    let url = stack.https("localhost", "/slow.php");
    let mut response = client.get(&url).send().await?;
    assert_eq!(response.status(), 404);
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let first = response.chunk().await?.context("a first piece")?;
    assert_eq!(first, "first");
    std::fs::write(&gate, "")?;
    assert_eq!(response.text().await?, " last");
    let head = client.head(&url).send().await?;
    assert_eq!(head.status(), 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_scripts_are_in_the_log() -> anyhow::Result<()> {
    let (mut stack, _fpm) = serve("capture_stderr").await?;
    let script = "<?php\nundefined_function();\n";
    std::fs::write(stack.path("static/broken.php"), script)?;
    let url = stack.https("localhost", "/broken.php");
    let response = stack.client()?.get(&url).send().await?;
    assert_eq!(response.status(), 500);
    let parts = [
        "PHP Fatal error",
        "undefined_function",
        "broken.php",
        "localhost",
    ];
    stack.running_proxy()?.logged(&parts).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_held_while_php_restarts() -> anyhow::Result<()> {
    let (stack, fpm) = serve("lb_try_duration 30s").await?;
    told(&stack, "/tell.php").await?;
    fpm.stop().await?;
    let client = stack.client()?;
    let url = stack.https("localhost", "/tell.php");
    let held = tokio::spawn(client.post(&url).body("a=1").send());
    let _fpm = Fpm::start(stack.folder()).await?;
    assert_eq!(held.await??.status(), 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_php_that_stays_away_is_a_bad_gateway_and_a_hint() -> anyhow::Result<()> {
    let (mut stack, fpm) = serve("lb_try_duration 100ms").await?;
    fpm.stop().await?;
    let url = stack.https("localhost", "/tell.php");
    assert_eq!(stack.client()?.get(&url).send().await?.status(), 502);
    stack
        .running_proxy()?
        .logged(&["is php-fpm running"])
        .await?;
    Ok(())
}
