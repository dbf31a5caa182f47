//! Clients that are not ours. Needs Python with the packages of `requirements.txt`; `PYTHON` names
//! its interpreter.

use std::path::Path;

use tests::process;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn pythons_grpc_reads_the_status_by_reflection() -> anyhow::Result<()> {
    let stack = Stack::start("localhost, app.localhost {\n\trespond ok\n}").await?;
    stack.certified("localhost").await?;
    stack.certified("app.localhost").await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("grpc_status.py");
    let address = format!("127.0.0.1:{}", stack.ports.status);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = process::run(python, &[&script.to_string_lossy(), &address]).await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let names = answer["names"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    assert_eq!(names.len(), 2, "{answer}");
    for (name, status) in ["app.localhost", "localhost"].iter().zip(names) {
        assert_eq!(status["name"], *name);
        assert_eq!(status["state"], "STATE_VALID");
        assert_eq!(
            status["certificate"]["serial"],
            stack.stored_serial(name).await?
        );
    }
    Ok(())
}
