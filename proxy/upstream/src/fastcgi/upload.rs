//! Sending the request's body while the response is already read.

use std::error::Error;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;

use bytes::{Buf as _, Bytes};
use http_body::Body;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::record::{Kind, LONGEST, header};

/// A body on its way, on a task of its own: scripts may answer before they have read everything,
/// and clients may send everything before they read. Dropping it ends the task.
pub(super) struct Upload {
    task: AbortHandle,
    failure: oneshot::Receiver<Failure>,
}

/// Why the body did not arrive.
pub(super) enum Failure {
    /// The body itself failed: the client went away, or sent too much.
    Body(Box<dyn Error + Send + Sync>),
    /// The responder took no more bytes for too long.
    Stalled(io::Error),
}

impl Upload {
    pub(super) fn start<W, B>(mut stream: W, body: B) -> Self
    where
        W: AsyncWrite + Unpin + 'static,
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (report, failure) = oneshot::channel();
        let task = tokio::task::spawn_local(async move {
            if let Err(failure) = send(&mut stream, body).await {
                // Whoever no longer listens has the response, or wants none.
                let _ = report.send(failure);
            }
        });
        Self {
            task: task.abort_handle(),
            failure,
        }
    }

    /// Waits for a failure, for ever if there is none.
    pub(super) async fn failed(upload: Option<&mut Self>) -> Failure {
        if let Some(upload) = upload
            && let Ok(failure) = (&mut upload.failure).await
        {
            return failure;
        }
        pending().await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send<W, B>(stream: &mut W, mut body: B) -> Result<(), Failure>
where
    W: AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                // So that a script that waits for more of the body does not wait on.
                write(stream, Kind::Abort, Bytes::new()).await?;
                return Err(Failure::Body(error.into()));
            }
        };
        // Trailers have no place in CGI.
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(LONGEST));
            if !write(stream, Kind::Input, piece).await? {
                return Ok(());
            }
        }
    }
    write(stream, Kind::Input, Bytes::new()).await?;
    Ok(())
}

/// Writes one record; `false` if the responder takes no more.
async fn write<W>(stream: &mut W, kind: Kind, content: Bytes) -> Result<bool, Failure>
where
    W: AsyncWrite + Unpin,
{
    let header = header(kind, content.len());
    let mut record = (&header[..]).chain(content);
    match stream.write_all_buf(&mut record).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Failure::Stalled(error)),
        // A script may end without having read everything: its response tells.
        Err(_) => Ok(false),
    }
}
