//! The proxy's own words about Caddyfiles: each mistake is shown where it is, with what to do.

use std::path::PathBuf;

use tests::process;

/// What `proxy validate` writes about a Caddyfile that is `name` in the current folder.
async fn complaint(text: &str) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("Caddyfile");
    std::fs::write(&path, text)?;
    let path = path.to_string_lossy();
    let output = process::run(
        process::binary("proxy")?,
        &["validate", "--config", path.as_ref()],
    )
    .await?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr)?;
    Ok(text.replace(path.as_ref(), "Caddyfile"))
}

macro_rules! complaints {
    ($($name:ident: $text:expr;)*) => {$(
        #[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            insta::assert_snapshot!(complaint($text).await?);
            Ok(())
        }
    )*};
}

complaints! {
    unknown_directive: "example.com {\n\treverse_porxy web:8000\n}\n";
    unknown_subdirective: "example.com {\n\tfile_server {\n\t\tbrowser\n\t}\n}\n";
    unknown_global_option: "{\n\temial me@example.com\n}\nexample.com\nrespond ok\n";
    unknown_matcher: "example.com {\n\t@api paht /api/*\n\trespond @api ok\n}\n";
    matcher_not_defined: "example.com {\n\trespond @api ok\n}\n";
    block_not_closed: "example.com {\n\trespond ok";
    closing_brace_too_many: "example.com {\n\trespond ok\n}\n}\n";
    quote_not_closed: "example.com {\n\trespond \"ok\n}\n";
    too_few_arguments: "example.com {\n\tredir\n}\n";
    too_many_arguments: "example.com {\n\troot * /srv /www\n}\n";
    status_is_no_number: "example.com {\n\trespond ok 2OO\n}\n";
    duration_is_none: "{\n\tgrace_period soon\n}\nexample.com\nrespond ok\n";
    upstream_without_an_address: "example.com {\n\treverse_proxy\n}\n";
    upstream_port_out_of_range: "example.com {\n\treverse_proxy web:80000\n}\n";
    site_twice: "example.com {\n\trespond a\n}\nexample.com {\n\trespond b\n}\n";
    import_of_nothing: "import nothing\nexample.com {\n\trespond ok\n}\n";
    import_in_a_circle: "(a) {\n\timport b\n}\n(b) {\n\timport a\n}\nexample.com {\n\timport a\n}\n";
    directive_not_supported_yet: "example.com {\n\tacme_server\n}\n";
    several_mistakes_at_once: "example.com {\n\tgizp\n\trespnd ok\n}\n";
    port_out_of_range: "http://:99999 {\n\trespond ok\n}\n";
}

#[tokio::test]
async fn a_missing_file_is_named() -> anyhow::Result<()> {
    let path = "/no/such/Caddyfile";
    let output = process::run(process::binary("proxy")?, &["validate", "--config", path]).await?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr)?.contains(path));
    Ok(())
}

#[tokio::test]
async fn the_example_caddyfiles_are_good() -> anyhow::Result<()> {
    let compose = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../compose");
    for name in ["Caddyfile", "local.Caddyfile"] {
        let path = compose.join(name);
        let path = path.to_string_lossy();
        let proxy = process::binary("proxy")?;
        let output = process::run(&proxy, &["validate", "--config", path.as_ref()]).await?;
        assert!(output.status.success(), "{name}: {output:?}");
        let output = process::run(&proxy, &["adapt", "--config", path.as_ref()]).await?;
        let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        assert!(
            document["apps"]["http"]["servers"].is_object(),
            "{document}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_caddyfile_stops_the_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("Caddyfile");
    std::fs::write(&path, "example.com {\n\treverse_porxy web:8000\n}\n")?;
    let path = path.to_string_lossy();
    let args = ["serve", "--config", path.as_ref()];
    let output = process::run(process::binary("proxy")?, &args).await?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr)?.contains("Caddyfile:2:2"));
    Ok(())
}
