//! Certificates of a real ACME server: Pebble, validating over HTTP-01 and TLS-ALPN-01 and refusing some nonces.
//! Needs `pebble` and `pebble-challtestsrv` (Debian: `apt-get install pebble`).

mod challenges;
mod failures;
mod on_demand;
mod orders;

use tests::pebble::{Pebble, Validation};
use tests::stack::Stack;

/// A stack whose certificates come from Pebble, for the sites `a.test` and `b.test`.
async fn start(validation: Validation) -> anyhow::Result<(Stack, Pebble)> {
    let mut stack = Stack::new()?;
    let pebble = Pebble::start(stack.folder(), stack.ports.http, validation).await?;
    use_authority(&mut stack, &pebble)?;
    stack.start_all().await?;
    Ok((stack, pebble))
}

fn use_authority(stack: &mut Stack, pebble: &Pebble) -> anyhow::Result<()> {
    stack.add_options(&format!(
        "\temail admin@example.org\n\tacme_ca {}\n\tacme_ca_root {}",
        pebble.directory,
        pebble.directory_root.display()
    ));
    stack.write_caddyfile("a.test, b.test {\n\trespond ok\n}")
}
