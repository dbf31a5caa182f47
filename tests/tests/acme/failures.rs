//! Orders that fail, and what is said about them.

use proto::certs::v1::State;
use tests::pebble::{Pebble, Validation};
use tests::stack::Stack;
use tests::wait;

use super::use_authority;

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_challenge_is_kept_with_the_authoritys_words() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    // Pebble looks for the answer at a port where nothing listens.
    let pebble = Pebble::start(stack.folder(), ports::free()?, Validation::AtOnce).await?;
    use_authority(&mut stack, &pebble)?;
    stack.start_cert_manager(&[])?;
    stack.start_static_server()?;
    stack.start_proxy(&[])?;
    let status = stack.reached("a.test", State::Failed).await?;
    let problem = status.last_problem.expect("a failed name has a problem");
    assert!(status.failures >= 1);
    assert!(status.next_attempt.is_some());
    assert!(
        problem.document.contains("urn:ietf:params:acme:error:"),
        "{problem:?}"
    );
    assert!(!problem.hint.is_empty(), "{problem:?}");

    let table = stack.run("cert-manager", &["status"]).await?;
    let table = String::from_utf8(table.stdout)?;
    assert!(table.contains("a.test"), "{table}");
    let manager = stack.cert_manager.as_mut().expect("started above");
    manager.logged(&["Challenge failed", "a.test"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_away_is_asked_again() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let directory = format!("https://127.0.0.1:{}/dir", ports::free()?);
    stack.add_options(&format!("\tacme_ca {directory}"));
    stack.write_caddyfile("a.test {\n\trespond ok\n}\nlocalhost {\n\trespond local\n}")?;
    stack.start_cert_manager(&[])?;
    stack.start_static_server()?;
    stack.start_proxy(&[])?;
    let status = stack.reached("a.test", State::Failed).await?;
    assert!(
        status
            .last_problem
            .expect("a problem")
            .message
            .contains(&directory)
    );
    // Other names are served meanwhile.
    stack.certified("localhost").await?;
    wait::until("the site is served", async || {
        let response = stack
            .client()?
            .get(stack.https("localhost", "/"))
            .send()
            .await?;
        anyhow::ensure!(response.text().await? == "local", "another site answered");
        Ok(())
    })
    .await
}
