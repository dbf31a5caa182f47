//! The administration listener: `/metrics`, `/healthz` and `/readyz` over plain HTTP, and the
//! client that `PROGRAM health` uses.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::cli::AdminAddress;
use super::readiness::Readiness;
use super::shutdown::Shutdown;

/// How long `PROGRAM health` waits for an answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// A program's metrics.
pub type Metrics = Arc<Mutex<Registry>>;

/// Serves the administration endpoints, and `more` beside them, until shutdown.
///
/// # Errors
/// When the address cannot be bound, in words for an operator.
pub async fn serve(
    address: &AdminAddress,
    readiness: Readiness,
    metrics: Metrics,
    more: Router,
    shutdown: &Shutdown,
) -> Result<(), String> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render_metrics).with_state(metrics))
        .merge(more);
    let stopped = shutdown.token.clone().cancelled_owned();
    match address {
        AdminAddress::Tcp(tcp) => {
            let listener = TcpListener::bind(tcp)
                .await
                .map_err(|error| bind(address, &error))?;
            tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, router)
                    .with_graceful_shutdown(stopped)
                    .await
                {
                    tracing::error!(%error, "the administration listener failed");
                }
            });
        }
        AdminAddress::Unix(path) => {
            // A socket that an earlier run left behind cannot be bound again.
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(bind(address, &error));
                }
                _ => {}
            }
            let listener = UnixListener::bind(path).map_err(|error| bind(address, &error))?;
            tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, router)
                    .with_graceful_shutdown(stopped)
                    .await
                {
                    tracing::error!(%error, "the administration listener failed");
                }
            });
        }
    }
    Ok(())
}

/// Asks a running program whether it is ready.
///
/// # Errors
/// What it waits for, or why it could not be asked.
pub async fn health(address: &AdminAddress) -> Result<(), String> {
    let (status, body) = tokio::time::timeout(HEALTH_TIMEOUT, fetch(address, "/readyz"))
        .await
        .map_err(|_| format!("no answer from {address} within {HEALTH_TIMEOUT:?}"))?
        .map_err(|error| format!("cannot reach {address} (--admin): {error}"))?;
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(body.trim_end().to_owned())
    }
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    if readiness.is_ready() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, readiness.report())
    }
}

async fn render_metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &metrics.lock()) {
        Ok(()) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            error.to_string(),
        ),
    }
}

async fn fetch(address: &AdminAddress, path: &str) -> io::Result<(StatusCode, String)> {
    match address {
        AdminAddress::Tcp(address) => get_over(TcpStream::connect(address).await?, path).await,
        AdminAddress::Unix(socket) => get_over(UnixStream::connect(socket).await?, path).await,
    }
}

async fn get_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> io::Result<(StatusCode, String)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = http::Request::get(path)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn bind(address: &AdminAddress, error: &io::Error) -> String {
    format!("cannot listen on {address} (--admin): {error}")
}
