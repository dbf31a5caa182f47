//! Files through the edge: HTTP's conditions and ranges, what must not be reachable, and changes.

mod changes;
mod confinement;
mod handoff;
mod kept;
mod listings;
mod model;
mod representations;
mod uploads;
mod volumes;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tests::stack::Stack;

/// The file that most tests ask for.
const TEXT: &str = "0123456789";

/// A stack that serves its `static` folder as the site `localhost`.
async fn serve() -> anyhow::Result<Stack> {
    start(Stack::new()?).await
}

/// The same, where files come over HTTP and none is handed over open.
async fn serve_over_http() -> anyhow::Result<Stack> {
    let mut stack = Stack::new()?;
    let none = stack.path("none").display().to_string();
    stack
        .environment
        .push(("PORTICO_STATIC_HANDOFF".into(), none));
    start(stack).await
}

async fn start(mut stack: Stack) -> anyhow::Result<Stack> {
    stack.write_caddyfile(
        "localhost {
	root * /srv/static
	file_server {
		precompressed br gzip
	}
}",
    )?;
    stack.start_all().await?;
    std::fs::write(stack.path("static/digits.txt"), TEXT)?;
    Ok(stack)
}

/// Status, fields without the date, and body; without the boundary where it has several parts.
async fn ask(
    stack: &Stack,
    method: &Method,
    path: &str,
    fields: &[(&str, &str)],
) -> anyhow::Result<(StatusCode, HeaderMap, Vec<u8>)> {
    let url = stack.https("localhost", path);
    let mut request = stack.client()?.request(method.clone(), url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = request.send().await?;
    let (status, mut headers) = (response.status(), response.headers().clone());
    headers.remove("date");
    let mut body: Vec<u8> = response.bytes().await?.into();
    let kind = headers.get("content-type");
    let kind = kind.map_or(Ok(""), |kind| kind.to_str())?.to_owned();
    if let Some((kind, boundary)) = kind.split_once("boundary=") {
        let boundary = boundary.as_bytes();
        while let Some(at) = body
            .windows(boundary.len())
            .position(|text| text == boundary)
        {
            body.splice(at..at + boundary.len(), *b"BOUNDARY");
        }
        headers.insert("content-type", kind.parse()?);
    }
    Ok((status, headers, body))
}
