//! Certificates of the internal authority: issued, served, kept, renewed and reported.

mod on_demand;
mod operator;
mod persistence;
mod session_tickets;

use std::path::{Path, PathBuf};

use proto::certs::v1::State;
use tests::stack::Stack;

const SITES: &str = "localhost, app.localhost {
	respond ok
}";

#[tokio::test(flavor = "multi_thread")]
async fn local_names_and_addresses_are_certified_at_once() -> anyhow::Result<()> {
    let stack = Stack::start(&format!("{SITES}\n127.0.0.1 {{\n\trespond address\n}}")).await?;
    let client = stack.client()?;
    for (host, text) in [
        ("localhost", "ok"),
        ("app.localhost", "ok"),
        ("127.0.0.1", "address"),
    ] {
        let response = client.get(stack.https(host, "/")).send().await?;
        assert_eq!(response.text().await?, text, "{host}");
        let status = stack.reached(host, State::Valid).await?;
        assert_eq!(status.issuer, "internal");
    }
    assert_eq!(
        stack.served_serial("app.localhost").await?,
        stack.stored_serial("app.localhost").await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_gets_an_internal_certificate_where_asked() -> anyhow::Result<()> {
    let stack = Stack::start("shop.example.test {\n\ttls internal\n\trespond ok\n}").await?;
    stack.certified("shop.example.test").await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_for_their_owner_alone_and_in_no_log() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let stack = Stack::start(SITES).await?;
    stack.certified("localhost").await?;
    for folder in ["control", "cert-data", "proxy-data"] {
        for file in files_below(&stack.path(folder))? {
            let text = std::fs::read(&file)?;
            if text.windows(11).any(|window| window == b"PRIVATE KEY") {
                let mode = |path: &Path| Ok(std::fs::metadata(path)?.permissions().mode());
                let above = file
                    .ancestors()
                    .take_while(|path| *path != stack.path(folder));
                let modes = above.map(mode).collect::<std::io::Result<Vec<u32>>>()?;
                let is_private = modes.iter().any(|mode| mode & 0o077 == 0);
                assert!(is_private, "{} is readable by others", file.display());
            }
        }
    }
    for program in [&stack.cert_manager, &stack.proxy, &stack.static_server]
        .into_iter()
        .flatten()
    {
        assert!(!program.log()?.contains("PRIVATE KEY"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_plaintext_on_loopback_and_delivery_is_not() -> anyhow::Result<()> {
    let stack = Stack::start(SITES).await?;
    let port = stack.ports.status;
    let channel = tonic::transport::Channel::from_shared(format!("http://127.0.0.1:{port}"))?
        .connect()
        .await?;
    let request = proto::certs::v1::GetChallengeRequest {
        token: "x".to_owned(),
    };
    let mut delivery = proto::certs::v1::delivery_client::DeliveryClient::new(channel);
    let refusal = delivery
        .get_challenge(request)
        .await
        .expect_err("Delivery needs an identity");
    assert_eq!(refusal.code(), tonic::Code::Unimplemented);
    // The mutual TLS port takes no client without a certificate.
    let anonymous = tests::tls::config(&stack.roots()?, &["h2"])?;
    assert!(
        tests::tls::connect(
            stack.ports.manager,
            "cert-manager.portico.internal",
            anonymous
        )
        .await
        .is_err()
    );
    Ok(())
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
