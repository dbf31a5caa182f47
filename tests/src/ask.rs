//! The app behind `ask` of on-demand TLS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An app that allows names that begin with `good`, and counts the questions. Stopped when dropped.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl App {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start() -> anyhow::Result<Self> {
        let questions = Arc::<AtomicUsize>::default();
        let router = axum::Router::new()
            .route("/allowed", get(answer))
            .with_state(Arc::clone(&questions));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("listening")?;
        let address = listener.local_addr().context("listening")?;
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the app behind `ask` failed");
            }
        });
        Ok(Self {
            address,
            questions,
            server,
        })
    }

    /// The global option that has it asked.
    pub fn options(&self) -> String {
        format!(
            "\ton_demand_tls {{\n\t\task http://{}/allowed\n\t}}",
            self.address
        )
    }

    /// How often it was asked.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// Stops it: nobody answers any more.
    pub fn stop(&self) {
        self.server.abort();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer(
    State(questions): State<Arc<AtomicUsize>>,
    Query(query): Query<HashMap<String, String>>,
) -> StatusCode {
    questions.fetch_add(1, Ordering::SeqCst);
    match query.get("domain") {
        Some(name) if name.starts_with("good") => StatusCode::OK,
        _ => StatusCode::FORBIDDEN,
    }
}
