//! The demo with certificates from Pebble.

use std::path::Path;

use anyhow::ensure;
use tests::{client, tls, wait};

use super::{DEMO, Demo};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_gets_a_certificate_over_acme() -> anyhow::Result<()> {
    let files = [DEMO[0], DEMO[1], "pebble.yaml", "fetch.yaml"];
    let demo = Demo::new(&files, "shop.example.com")?;
    demo.up()?;
    let pebble = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.local/pebble/pebble.pem");
    let pebble = client::new(&tls::roots(&[&pebble])?)?;
    let url = format!("https://localhost:{}/roots/0", demo.authority);
    let root = wait::until("Pebble tells its root", async || {
        Ok(pebble
            .get(&url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    })
    .await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), root)?;
    let roots = tls::roots(&[file.path()])?;
    let serial = wait::until("a certificate of Pebble's is served", async || {
        demo.served_serial(&roots).await
    })
    .await?;
    let page = client::new(&roots)?
        .get(demo.https("/"))
        .send()
        .await?
        .text()
        .await?;
    assert!(page.contains("Portico demo"));

    for kind in ["crt", "key", "pem"] {
        let file = demo
            .fetched
            .path()
            .join(format!("certs/shop.example.com.{kind}"));
        wait::until("the certificate is there as files", async || {
            ensure!(file.metadata()?.len() > 0, "{} is empty", file.display());
            Ok(())
        })
        .await?;
    }

    demo.project.run(&["restart", "cert-manager", "proxy"])?;
    let again = wait::until("it is served again", async || {
        demo.served_serial(&roots).await
    })
    .await?;
    assert_eq!(again, serial);
    Ok(())
}
