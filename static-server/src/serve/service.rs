//! Where the answers to file requests are made, and what is counted.

use std::sync::Arc;

use http::{Request, Response, request};

use super::answer::{Answer, answer, refusal};
use super::body::Body;
use super::error::ServeError;
use crate::metrics::Metrics;
use crate::volume::{Lookup, Support, Volumes};
use crate::warnings::Warnings;

/// Answers file requests.
#[derive(Clone, Debug)]
pub struct FileService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    volumes: Volumes,
    support: Support,
    metrics: Metrics,
    warnings: Warnings,
}

impl FileService {
    /// A service over `volumes`.
    pub fn new(volumes: Volumes, support: Support, metrics: Metrics) -> Self {
        let warnings = Warnings::default();
        Self {
            shared: Arc::new(Shared {
                volumes,
                support,
                metrics,
                warnings,
            }),
        }
    }

    /// Answers one request over HTTP. Its body is not read.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let answer = self.answer(parts).await;
        answer.map(|content| Body::new(content, self.shared.metrics.sent_bytes.clone()))
    }

    /// Answers one request; what follows the head is still to be sent.
    pub async fn answer(&self, parts: request::Parts) -> Answer {
        let asked = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| (parts.method.clone(), parts.uri.clone()));
        let result = if self.shared.support.has_cached_lookup {
            answer(&self.shared.volumes, &parts, Lookup::Cached)
        } else {
            Err(ServeError::WouldBlock)
        };
        let result = match result {
            Err(ServeError::WouldBlock) => self.answer_from_disk(parts).await,
            other => other,
        };
        let response = result.unwrap_or_else(|error| {
            error.log(&self.shared.warnings);
            self.shared.metrics.count_error(&error);
            refusal(&error)
        });
        let status = response.status();
        if let Some((method, uri)) = asked {
            tracing::debug!(%method, %uri, status = status.as_u16(), "answered");
        }
        self.shared.metrics.count_response(status);
        response
    }

    async fn answer_from_disk(&self, parts: request::Parts) -> Result<Answer, ServeError> {
        self.shared.metrics.disk_lookups.inc();
        let path = parts.uri.path().to_owned();
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || answer(&shared.volumes, &parts, Lookup::Full))
            .await
            .unwrap_or_else(|error| {
                Err(ServeError::Unavailable {
                    path,
                    source: std::io::Error::other(error),
                })
            })
    }
}
