//! The demo app: what the Compose demo runs as `web`, and what the tests put behind the edge.
//!
//! It behaves like a Django app in production: it collects its static files into a folder that
//! something else serves, keeps uploads in a second one, and answers everything else itself.

mod live;
mod page;
mod photos;
mod probe;
mod static_files;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};

pub use probe::{Echo, Received};
pub use static_files::fingerprint;

/// Where the demo app keeps its files.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Served as `/static`; written once, at start.
    pub static_files: PathBuf,
    /// Served as `/media`; uploads are written here.
    pub media: PathBuf,
}

/// Writes the static files and returns the app.
///
/// # Errors
/// When a folder cannot be made or written.
pub fn router(folders: &Folders) -> anyhow::Result<Router> {
    std::fs::create_dir_all(&folders.media)
        .with_context(|| format!("making {}", folders.media.display()))?;
    let assets = static_files::collect(&folders.static_files)
        .with_context(|| format!("writing static files to {}", folders.static_files.display()))?;
    let app = Arc::new(App {
        assets,
        media: folders.media.clone(),
    });
    Ok(Router::new()
        .route("/", get(page::show))
        .route("/photos", post(photos::upload))
        .route("/ws", any(live::websocket))
        .route("/events", get(live::events))
        .route("/echo", any(probe::echo))
        .route("/echo/{*rest}", any(probe::echo))
        .route("/slow", any(probe::slow))
        .route("/big", get(probe::big))
        .route("/upload", any(probe::upload))
        .route("/trailers", any(probe::trailers))
        .route("/status/{code}", any(probe::status))
        .route("/early", any(probe::early))
        .route("/cut", any(probe::cut))
        .fallback(page::not_found)
        .layer(DefaultBodyLimit::disable())
        .with_state(app))
}

/// What the handlers share.
#[derive(Debug)]
struct App {
    assets: static_files::Assets,
    media: PathBuf,
}
