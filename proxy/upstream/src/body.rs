//! The response body on its way from the upstream.

use std::error::Error;
use std::fmt;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::connection::Lease;
use crate::fastcgi::ScriptBody;

/// A response body that comes from an upstream. When it has ended, its connection goes back to the
/// pool; when it is dropped earlier, or fails, the connection is closed.
pub struct UpstreamBody {
    source: Source,
    observer: Option<Observed>,
    lease: Option<Rc<dyn Lease>>,
    read_timeout: Option<Box<ReadTimeout>>,
}

enum Source {
    Http(Incoming),
    Script(Box<ScriptBody>),
}

/// Told what becomes of a response body.
pub trait BodyObserver: Send + Sync {
    /// The body broke off.
    fn failed(&self, error: &BodyError);

    /// The body is no longer there: it ended, failed, or was given up.
    fn ended(&self);
}

/// Why a response body ended before its time.
#[derive(Debug)]
pub enum BodyError {
    /// The connection failed, or the upstream closed it in the middle of the body.
    Connection(hyper::Error),
    /// The upstream was silent for longer than the read timeout.
    ReadTimeout(Duration),
    /// A script's connection failed, or ended before the script did.
    Script(io::Error),
}

/// Tells an observer of the end, once.
struct Observed(Arc<dyn BodyObserver>);

impl Drop for Observed {
    fn drop(&mut self) {
        self.0.ended();
    }
}

struct ReadTimeout {
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    is_armed: bool,
}

impl UpstreamBody {
    pub(crate) fn new(
        incoming: Incoming,
        lease: Option<Rc<dyn Lease>>,
        read_timeout: Option<Duration>,
    ) -> Self {
        let mut body = Self {
            source: Source::Http(incoming),
            observer: None,
            lease,
            read_timeout: read_timeout.map(ReadTimeout::new),
        };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    pub(crate) fn of_script(body: ScriptBody, read_timeout: Option<Duration>) -> Self {
        Self {
            source: Source::Script(Box::new(body)),
            observer: None,
            lease: None,
            read_timeout: read_timeout.map(ReadTimeout::new),
        }
    }

    /// Tells `observer` what becomes of the body from here on.
    pub fn observe(&mut self, observer: Arc<dyn BodyObserver>) {
        self.observer = Some(Observed(observer));
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.abandon();
        if let Some(Observed(observer)) = &self.observer {
            observer.failed(&error);
        }
        error
    }

    fn abandon(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.abandon();
        }
        if let Source::Script(body) = &mut self.source {
            body.abandon();
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match (&mut self.source, &self.lease) {
            (Source::Http(incoming), Some(lease)) => {
                let incoming = Pin::new(incoming);
                lease.driver().poll(cx, |cx| incoming.poll_frame(cx))
            }
            (Source::Http(incoming), None) => Pin::new(incoming).poll_frame(cx),
            (Source::Script(body), _) => {
                let polled = ready!(body.poll_data(cx));
                return Poll::Ready(
                    polled.map(|data| data.map(Frame::data).map_err(BodyError::Script)),
                );
            }
        };
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::Connection)))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_source(cx);
        if let Some(timeout) = &mut self.read_timeout
            && let Err(error) = timeout.check(cx, polled.is_pending())
        {
            return Poll::Ready(Some(Err(self.fail(error))));
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() || self.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.fail(error)))),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http(incoming) => incoming.is_end_stream(),
            Source::Script(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http(incoming) => incoming.size_hint(),
            Source::Script(body) => body
                .length()
                .map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl ReadTimeout {
    fn new(limit: Duration) -> Box<Self> {
        Box::new(Self {
            limit,
            deadline: Box::pin(tokio::time::sleep(limit)),
            is_armed: false,
        })
    }

    fn check(&mut self, cx: &mut Context<'_>, is_pending: bool) -> Result<(), BodyError> {
        if !is_pending {
            self.is_armed = false;
            return Ok(());
        }
        if !self.is_armed {
            self.is_armed = true;
            let deadline = Instant::now() + self.limit;
            self.deadline.as_mut().reset(deadline);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Err(BodyError::ReadTimeout(self.limit));
        }
        Ok(())
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").finish_non_exhaustive()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(_) | Self::Script(_) => {
                f.write_str("the upstream broke off its response")
            }
            Self::ReadTimeout(limit) => write!(f, "the upstream was silent for {limit:?}"),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::ReadTimeout(_) => None,
            Self::Script(error) => Some(error),
        }
    }
}
