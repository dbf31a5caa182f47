//! Hands open files to the proxies on this host, so that their bytes don't cross a second hop.
//!
//! A request that comes over the socket is answered as one that comes over HTTP; only the content is
//! another: what is read already goes along in the message, a file as its descriptor. What fits
//! neither is declined, and the proxy asks over HTTP.

mod socket;

use std::os::fd::AsFd as _;
use std::time::Duration;

use http::{Request, request};
use prost::Message as _;
use proto::files::v1::handoff_segment::Content as Piece;
use proto::files::v1::{HandoffAnswer, HandoffFile, HandoffRange, HandoffRequest, HandoffSegment};
use proto::handoff::{ANSWER_LIMIT, Connection, HandoffError, REQUEST_LIMIT, fields, headers};
use proto::sidecar::error_chain::Chain;
use proto::sidecar::shutdown::{CancellationToken, Shutdown};

pub use self::socket::Socket;
use crate::metrics::Metrics;
use crate::serve::answer::Answer;
use crate::serve::content::{self, Content, FileSlice};
use crate::serve::service::FileService;

/// Pause when no connection can be accepted, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until shutdown; requests under way are finished.
pub async fn run(socket: Socket, service: FileService, metrics: Metrics, shutdown: Shutdown) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.token.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(connection) => {
                let peer = Peer {
                    connection,
                    service: service.clone(),
                    metrics: metrics.clone(),
                    ending: shutdown.token.clone(),
                };
                shutdown.tasks.spawn(async move {
                    if let Err(error) = peer.serve().await {
                        tracing::debug!(error = %Chain(&error), "a proxy's connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a proxy cannot be handed files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One proxy's connection.
struct Peer {
    connection: Connection,
    service: FileService,
    metrics: Metrics,
    ending: CancellationToken,
}

impl Peer {
    /// Serves until the connection is closed, or the program ends.
    async fn serve(&self) -> Result<(), HandoffError> {
        loop {
            let receiving = self.connection.receive::<HandoffRequest>(REQUEST_LIMIT);
            let Some(received) = self.ending.run_until_cancelled(receiving).await else {
                return Ok(());
            };
            let request = match received {
                Ok((request, None)) => parts(request)?,
                Ok((_, Some(_))) => {
                    return Err(HandoffError::Nonsense("a request comes with a descriptor"));
                }
                Err(HandoffError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.send(self.service.answer(request).await).await?;
        }
    }

    async fn send(&self, answer: Answer) -> Result<(), HandoffError> {
        let (message, file) = message(answer);
        let encoded = message.encode_to_vec();
        if encoded.len() > ANSWER_LIMIT {
            let declined = declined().encode_to_vec();
            return self.connection.send(&declined, None).await;
        }
        let descriptor = file.as_ref().map(|slice| slice.file.as_fd());
        self.connection.send(&encoded, descriptor).await?;
        if file.is_some() {
            self.metrics.handed_over.inc();
        }
        self.metrics.sent_bytes.inc_by(literal_length(&message));
        Ok(())
    }
}

fn parts(message: HandoffRequest) -> Result<request::Parts, HandoffError> {
    let request = Request::builder()
        .method(message.method.as_bytes())
        .uri(message.target)
        .body(())
        .map_err(|_| HandoffError::Nonsense("it has no method or no target of HTTP"))?;
    let (mut parts, ()) = request.into_parts();
    parts.headers = headers(message.fields)?;
    Ok(parts)
}

/// The message for an answer, and the file to attach.
fn message(answer: Answer) -> (HandoffAnswer, Option<FileSlice>) {
    let (head, content) = answer.into_parts();
    let mut message = HandoffAnswer {
        declined: false,
        status: u32::from(head.status.as_u16()),
        fields: fields(&head.headers),
        body: Vec::new(),
        file: None,
    };
    let segment = |content| HandoffSegment {
        content: Some(content),
    };
    match content {
        Content::Empty => (message, None),
        Content::Bytes(bytes) if bytes.is_empty() => (message, None),
        Content::Bytes(bytes) if bytes.len() > ANSWER_LIMIT => (declined(), None),
        Content::Bytes(bytes) => {
            message.body = vec![segment(Piece::Literal(bytes.to_vec()))];
            (message, None)
        }
        Content::File(slice) => {
            message.body = vec![segment(range(&slice))];
            message.file = Some(described(&slice));
            (message, Some(slice))
        }
        Content::Pieces(pieces) => {
            let mut file = None;
            for piece in pieces {
                let content = match piece {
                    content::Piece::Bytes(bytes) => Piece::Literal(bytes.to_vec()),
                    content::Piece::File(slice) => {
                        let range = range(&slice);
                        file = Some(slice);
                        range
                    }
                };
                message.body.push(segment(content));
            }
            message.file = file.as_ref().map(described);
            (message, file)
        }
    }
}

fn range(slice: &FileSlice) -> Piece {
    Piece::Range(HandoffRange {
        offset: slice.bytes.start,
        length: slice.bytes.end - slice.bytes.start,
    })
}

fn described(slice: &FileSlice) -> HandoffFile {
    let (modified_seconds, modified_nanoseconds) = slice.snapshot.modified;
    HandoffFile {
        size: slice.snapshot.size,
        modified_seconds,
        modified_nanoseconds,
        path: slice.path.clone(),
    }
}

fn declined() -> HandoffAnswer {
    HandoffAnswer {
        declined: true,
        ..HandoffAnswer::default()
    }
}

fn literal_length(message: &HandoffAnswer) -> u64 {
    let length = |segment: &HandoffSegment| match &segment.content {
        Some(Piece::Literal(bytes)) => bytes.len() as u64,
        _ => 0,
    };
    message.body.iter().map(length).sum()
}
