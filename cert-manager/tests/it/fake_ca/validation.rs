//! Looking for the answer to an HTTP-01 challenge (RFC 8555 section 8.3).

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whether `address` answers for `token` what the holder of `key` would.
pub(super) async fn is_answered(address: SocketAddr, token: &str, key: &Value) -> bool {
    let expected = format!("\r\n\r\n{token}.{}", thumbprint(key));
    let path = format!("/.well-known/acme-challenge/{token}");
    get(address, &path)
        .await
        .is_ok_and(|answer| answer.ends_with(&expected))
}

/// The answer to a GET over plain HTTP, head and body.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The thumbprint of a key (RFC 7638), whose members are sorted by name.
fn thumbprint(key: &Value) -> String {
    let member = |name: &str| key[name].as_str().unwrap_or_default();
    let text = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        member("crv"),
        member("kty"),
        member("x"),
        member("y")
    );
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}
