//! Answers that show what reached the app, and answers that are awkward to forward.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The size of one piece of a generated body.
const CHUNK: usize = 64 * 1024;

/// A request as it reached the app.
#[derive(Debug, Deserialize, Serialize)]
pub struct Echo {
    /// The method.
    pub method: String,
    /// The request target: path and query.
    pub uri: String,
    /// The HTTP version, such as `HTTP/1.1`.
    pub version: String,
    /// Field names in lower case with their values, in the order received.
    pub headers: Vec<(String, String)>,
    /// Size of the body in bytes.
    pub body_bytes: u64,
    /// SHA-256 of the body, lower-case hexadecimal.
    pub body_sha256: String,
}

impl Echo {
    /// Every value of one field, in the order received.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// Describes the request.
pub(super) async fn echo(request: Request) -> Result<Json<Echo>, (StatusCode, String)> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(not_received)?.to_bytes();
    Ok(Json(Echo {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        version: format!("{:?}", parts.version),
        headers: fields(&parts.headers),
        body_bytes: body.len() as u64,
        body_sha256: Sha256::digest(&body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }))
}

/// How long to wait before the answer.
#[derive(Deserialize)]
pub(super) struct SlowQuery {
    #[serde(default = "one_second")]
    ms: u64,
}

/// Answers after a while.
pub(super) async fn slow(Query(query): Query<SlowQuery>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(query.ms)).await;
    "slow, but here\n"
}

/// How much to send.
#[derive(Deserialize)]
pub(super) struct BigQuery {
    bytes: u64,
}

/// A body of zero bytes, sent as a stream with its length announced.
pub(super) async fn big(Query(query): Query<BigQuery>) -> Response {
    let piece = Bytes::from(vec![0; CHUNK]);
    let pieces = stream::unfold(query.bytes, move |left| {
        let piece = piece.clone();
        async move {
            let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            (size > 0).then(|| (Ok::<_, Infallible>(piece.slice(..size)), left - size as u64))
        }
    });
    let length = (header::CONTENT_LENGTH, HeaderValue::from(query.bytes));
    let kind = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    ([length, kind], Body::from_stream(pieces)).into_response()
}

/// Reads the body piece by piece and counts it.
pub(super) async fn upload(request: Request) -> Result<Json<Received>, (StatusCode, String)> {
    let mut body = request.into_body();
    let mut received = Received::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(not_received)?;
        if let Some(data) = frame.data_ref() {
            received.bytes += data.len() as u64;
        } else if let Some(trailers) = frame.trailers_ref() {
            received.trailers = fields(trailers);
        }
    }
    Ok(Json(received))
}

/// A body with a trailer field.
pub(super) async fn trailers() -> Response {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", HeaderValue::from_static("abc123"));
    let frames = stream::iter([
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"body\n"))),
        Ok(Frame::trailers(fields)),
    ]);
    let body = Body::new(StreamBody::new(frames));
    ([(header::TRAILER, "x-checksum")], body).into_response()
}

/// Answers with the status asked for.
pub(super) async fn status(Path(code): Path<u16>) -> Response {
    let Ok(status) = StatusCode::from_u16(code) else {
        return (StatusCode::BAD_REQUEST, "no such status\n").into_response();
    };
    if code == 204 || code == 304 {
        return status.into_response();
    }
    (status, format!("status {code}\n")).into_response()
}

/// Refuses without reading the request's body. The connection stays for a moment, as with servers that
/// linger: closed at once, it would be reset, and the answer lost on its way.
pub(super) async fn early(unread: Body) -> impl IntoResponse {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(unread);
    });
    (
        StatusCode::PAYLOAD_TOO_LARGE,
        [(header::CONNECTION, "close")],
        "not read\n",
    )
}

/// Announces 1000 bytes, sends 5 and breaks the connection.
pub(super) async fn cut() -> Response {
    let pieces =
        stream::once(async { Ok(Bytes::from_static(b"half\n")) }).chain(stream::once(async {
            // The first piece must be on its way before the connection ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(std::io::Error::other("cut short on purpose"))
        }));
    (
        [(header::CONTENT_LENGTH, "1000")],
        Body::from_stream(pieces),
    )
        .into_response()
}

/// What became of a request's body.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Received {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its trailer fields.
    pub trailers: Vec<(String, String)>,
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        })
        .collect()
}

fn not_received(error: axum::Error) -> (StatusCode, String) {
    (
        StatusCode::BAD_REQUEST,
        format!("reading the body: {error}\n"),
    )
}

fn one_second() -> u64 {
    1000
}
