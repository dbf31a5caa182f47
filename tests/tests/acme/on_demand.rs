//! Names that are ordered when their first client comes.

use anyhow::ensure;
use proto::certs::v1::State;
use tests::ask::App;
use tests::pebble::{Pebble, Validation};
use tests::stack::Stack;
use tests::{tls, wait};
use tokio::task::JoinSet;

const SITE: &str = "https:// {\n\ttls {\n\t\ton_demand\n\t}\n\trespond ok\n}";

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_of_a_new_name_cost_one_order() -> anyhow::Result<()> {
    let app = App::start().await?;
    let mut stack = Stack::new()?;
    let pebble = Pebble::start(stack.folder(), stack.ports.http, Validation::Delayed).await?;
    super::use_authority(&mut stack, &pebble)?;
    stack.add_options(&app.options());
    stack.write_caddyfile(SITE)?;
    stack.start_all().await?;
    let roots = tls::roots(&[&pebble.issuing_root().await?])?;
    let port = stack.ports.https;
    // The first may come before the proxy is connected.
    wait::until("good1.test is served", async || {
        let config = tls::config(&roots, &["http/1.1"])?;
        tls::connect(port, "good1.test", config).await.map(drop)
    })
    .await?;
    ensure!(pebble.orders()? == 1, "{} orders", pebble.orders()?);

    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let config = tls::config(&roots, &["http/1.1"])?;
        clients.spawn(async move { tls::serial(&tls::connect(port, "good2.test", config).await?) });
    }
    let results = clients.join_all().await.into_iter();
    let mut serials = results.collect::<Result<Vec<_>, _>>()?;
    serials.dedup();
    assert_eq!(serials, [stack.stored_serial("good2.test").await?]);
    assert_eq!(pebble.orders()?, 2);
    let status = stack.reached("good2.test", State::Valid).await?;
    assert_eq!(status.issuer, pebble.directory);
    assert_eq!(app.questions(), 2);

    let config = tls::config(&roots, &["http/1.1"])?;
    tls::connect(port, "bad.test", config)
        .await
        .expect_err("it is denied");
    assert_eq!(pebble.orders()?, 2);
    Ok(())
}
