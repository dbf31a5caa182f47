//! FastCGI 1.0, the side of the web server: what php-fpm and its like are spoken to in.
//!
//! ```text
//! ──► BEGIN_REQUEST · PARAMS… · STDIN…            (the body, on a task of its own)
//! ◄── STDOUT (head, empty line, body)… · STDERR… · END_REQUEST
//! ```
//!
//! Every request has a connection of its own, as in Caddy: php-fpm gives each connection a
//! process, and one that is kept open keeps its process from everybody else. Both directions
//! stream, neither waits for the other, and neither is held in memory.

mod body;
mod head;
mod reader;
mod record;
mod upload;
mod variables;

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use tokio::io::{AsyncWriteExt as _, ReadHalf};

pub(crate) use self::body::ScriptBody;
pub use self::body::ScriptLog;
pub use self::variables::Variables;

use self::body::Errors;
use self::reader::{End, Piece, Reader};
use self::record::Kind;
use self::upload::{Failure, Upload};
use crate::body::UpstreamBody;
use crate::client::{Client, Sent};
use crate::error::{SendError, SendErrorKind};
use crate::stream::Stream;
use crate::target::{Target, TargetSettings};

/// Why there is no response to a request that was sent.
struct CallError {
    kind: SendErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The head of a response, and what came with it.
struct Answered {
    response: Response<()>,
    /// The beginning of the body.
    first: Bytes,
    /// Whether that is all of it.
    is_whole: bool,
}

impl<B> Client<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Has the responder at `target` run a script, and waits for the head of the response.
    /// `CONTENT_LENGTH` among the variables must be the length of `body`: many responders wait for
    /// as many bytes. The read timeout is for any silence, also before the head.
    ///
    /// Must run where local tasks can be spawned (`LocalRuntime`, `LocalSet`). Dropping the future closes the connection.
    ///
    /// # Errors
    /// With a request that has `body` in it when nothing was sent.
    pub async fn call(
        &self,
        target: &Arc<Target>,
        variables: &Variables<'_>,
        body: B,
        log: Arc<dyn ScriptLog>,
    ) -> Sent<B> {
        let opened = match self.dialler().open(target).await {
            Ok(opened) => opened,
            Err(error) => {
                return Err(SendError {
                    kind: error.kind,
                    unsent: Some(Box::new(Request::new(body))),
                    is_reused: false,
                    source: Some(error.source),
                });
            }
        };
        let answered = exchange(opened.stream, target.settings(), variables, body, log).await;
        answered.map_err(|CallError { kind, source }| SendError {
            kind,
            unsent: None,
            is_reused: false,
            source,
        })
    }
}

/// Sends a request on a new connection and waits for the head of its response.
async fn exchange<B>(
    stream: Stream,
    settings: &TargetSettings,
    variables: &Variables<'_>,
    body: B,
    log: Arc<dyn ScriptLog>,
) -> Result<Response<UpstreamBody>, CallError>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (reading, mut writing) = tokio::io::split(stream);
    let has_body = !body.is_end_stream();
    let mut records = BytesMut::new();
    record::put_begin(&mut records);
    record::put_stream(Kind::Variables, &variables.encode(), &mut records);
    if !has_body {
        record::put_stream(Kind::Input, b"", &mut records);
    }
    writing.write_all(&records).await.map_err(CallError::io)?;
    drop(records);
    let mut upload = has_body.then(|| Upload::start(writing, body));
    let mut reader = Reader::new(reading);
    let mut errors = Errors::new(log);
    let answered = tokio::select! {
        answered = head(&mut reader, &mut errors, settings) => answered?,
        failure = Upload::failed(upload.as_mut()) => return Err(failure.into()),
    };
    errors.status = Some(answered.response.status());
    let body = if answered.is_whole {
        ScriptBody::whole(answered.first)
    } else {
        ScriptBody::new(answered.first, reader, errors, upload)
    };
    let body = UpstreamBody::of_script(body, settings.read_timeout);
    Ok(answered.response.map(|()| body))
}

async fn head(
    reader: &mut Reader<ReadHalf<Stream>>,
    errors: &mut Errors,
    settings: &TargetSettings,
) -> Result<Answered, CallError> {
    let longest = settings.max_response_header_size.unwrap_or(head::LONGEST);
    let mut output = BytesMut::new();
    let (response, is_whole) = loop {
        match next(reader, settings.read_timeout).await? {
            Piece::End(End::Complete) => {
                let said = "the script ended without a response";
                return Err(CallError::new(SendErrorKind::Closed, said));
            }
            Piece::End(End::Refused(reason)) => return Err(CallError::refused(reason)),
            Piece::Errors(text) => errors.push(&text),
            Piece::Output(data) => output.extend_from_slice(&data),
        }
        let parsed = head::parse(&output);
        match parsed.map_err(|error| CallError::new(SendErrorKind::Protocol, error))? {
            Some((response, length)) => {
                let _head = output.split_to(length);
                let is_whole = take_rest(reader, errors, &mut output)?;
                break (response, is_whole);
            }
            None if output.len() > longest => {
                let said = format!("the head of the response is longer than {longest} bytes");
                return Err(CallError::new(SendErrorKind::Protocol, said));
            }
            None => {}
        }
    };
    Ok(Answered {
        response,
        first: output.freeze(),
        is_whole,
    })
}

/// Takes what has been read already; whether that is the end of the request. Most responses are
/// short enough to come whole, and then their length is known.
fn take_rest(
    reader: &mut Reader<ReadHalf<Stream>>,
    errors: &mut Errors,
    output: &mut BytesMut,
) -> Result<bool, CallError> {
    while let Some(piece) = reader.take_piece().map_err(CallError::io)? {
        match piece {
            Piece::End(End::Complete) => return Ok(true),
            Piece::End(End::Refused(reason)) => return Err(CallError::refused(reason)),
            Piece::Errors(text) => errors.push(&text),
            Piece::Output(data) => output.extend_from_slice(&data),
        }
    }
    Ok(false)
}

async fn next(
    reader: &mut Reader<ReadHalf<Stream>>,
    limit: Option<Duration>,
) -> Result<Piece, CallError> {
    let piece = poll_fn(|cx| reader.poll_piece(cx));
    let piece = match limit {
        None => piece.await,
        Some(limit) => match tokio::time::timeout(limit, piece).await {
            Ok(piece) => piece,
            Err(elapsed) => return Err(CallError::new(SendErrorKind::HeaderTimeout, elapsed)),
        },
    };
    piece.map_err(CallError::io)
}

impl CallError {
    fn new(kind: SendErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    fn refused(reason: &str) -> Self {
        let said = format!("the responder refused the request: {reason}");
        Self::new(SendErrorKind::Closed, said)
    }

    fn io(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::InvalidData => SendErrorKind::Protocol,
            _ => SendErrorKind::Closed,
        };
        Self::new(kind, error)
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Body(source) => Self {
                kind: SendErrorKind::RequestBody,
                source: Some(source),
            },
            Failure::Stalled(error) => Self::new(SendErrorKind::Closed, error),
        }
    }
}
