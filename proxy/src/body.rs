//! Bodies: of requests on their way to an upstream and of responses on their way to the client.
//!
//! Both are enums, so that a body costs no allocation and no virtual call per layer.

pub(crate) mod buffers;
mod encoded;
pub mod observed;

use std::cell::Cell;
use std::collections::VecDeque;
use std::error::Error as StdError;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use upstream::UpstreamBody;

pub(crate) use self::encoded::Coder;
pub use self::encoded::Encoded;
use self::observed::Observed;
use crate::access_log::Entry;
use crate::handler::tracing::OpenSpan;
use crate::handoff::FileBody;
use crate::http_cache::RecordedBody;

/// The body of a request.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// What has been read already, in front of `rest`.
    buffered: VecDeque<Frame<Bytes>>,
    rest: Option<Incoming>,
    /// Bytes that may still come; `None` is without limit.
    remaining: Option<u64>,
    /// Counts what was read, where somebody wants to know.
    read: Option<Rc<Cell<u64>>>,
}

/// Why a request's body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The client's connection failed or closed.
    #[error("reading the request body failed")]
    Connection(#[source] hyper::Error),
    /// More bytes than `request_body max_size` allows: answered with 413.
    #[error("the request body is larger than `max_size` allows")]
    TooLarge,
}

/// The body of a response.
#[derive(Debug, Default)]
pub enum ResponseBody {
    /// A body of which the first piece has been looked at.
    Begun(Box<Begun>),
    /// No bytes.
    #[default]
    Empty,
    /// Bytes that are compressed on their way.
    Encoded(Box<Encoded>),
    /// What is read from an open file that a static-server handed over.
    File(Box<FileBody>),
    /// Bytes at hand; `None` once they are sent.
    Full(Option<Bytes>),
    /// Bytes that are kept in memory, and that others are answered with as well; `None` once they are
    /// sent.
    Kept(Option<Bytes>),
    /// A body that is counted for the access log.
    Logged(Box<Observed<Entry>>),
    /// What is kept while it comes.
    Recorded(Box<RecordedBody>),
    /// A body that is part of a span.
    Traced(Box<Observed<OpenSpan>>),
    /// What an upstream sends.
    Upstream(UpstreamBody),
}

/// A body of which the first piece has been looked at.
#[derive(Debug)]
pub struct Begun {
    first: Option<Result<Frame<Bytes>, <ResponseBody as Body>::Error>>,
    rest: ResponseBody,
}

impl RequestBody {
    /// The body that a client sends.
    pub fn new(incoming: Incoming) -> Self {
        Self {
            rest: (!incoming.is_end_stream()).then_some(incoming),
            ..Self::default()
        }
    }

    /// A body of bytes at hand.
    pub fn full(bytes: Bytes) -> Self {
        let buffered = if bytes.is_empty() {
            VecDeque::new()
        } else {
            VecDeque::from([Frame::data(bytes)])
        };
        Self {
            buffered,
            ..Self::default()
        }
    }

    /// Fails the body once more than `bytes` are read from here on. A lower limit that holds
    /// already stays.
    pub fn limit(&mut self, bytes: u64) {
        self.remaining = Some(
            self.remaining
                .map_or(bytes, |remaining| remaining.min(bytes)),
        );
    }

    /// Counts the bytes that are read into `counter`.
    pub fn count(&mut self, counter: Rc<Cell<u64>>) {
        self.read = Some(counter);
    }

    /// Whether the announced length is over the limit, so that reading is sure to fail.
    pub fn is_over_limit(&self) -> bool {
        self.remaining
            .is_some_and(|limit| self.unlimited_size_hint().lower() > limit)
    }

    /// Reads up to `bytes` of the body into memory (all of it if `None`); the rest still streams.
    /// Cancel safe: what was read stays in front.
    ///
    /// # Errors
    /// As reading the body.
    pub async fn buffer(&mut self, bytes: Option<u64>) -> Result<(), RequestBodyError> {
        let mut total: u64 = self.buffered.iter().map(frame_length).sum();
        while self.rest.is_some() && bytes.is_none_or(|bytes| total < bytes) {
            match std::future::poll_fn(|context| self.poll_rest(context)).await {
                None => break,
                Some(frame) => {
                    let frame = frame?;
                    total += frame_length(&frame);
                    self.buffered.push_back(frame);
                }
            }
        }
        Ok(())
    }

    fn unlimited_size_hint(&self) -> SizeHint {
        let buffered: u64 = self.buffered.iter().map(frame_length).sum();
        let rest = match &self.rest {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(buffered));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(buffered));
        }
        hint
    }

    fn poll_rest(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some(incoming) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = match ready!(Pin::new(incoming).poll_frame(context)) {
            None => {
                self.rest = None;
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                self.rest = None;
                return Poll::Ready(Some(Err(RequestBodyError::Connection(error))));
            }
            Some(Ok(frame)) => frame,
        };
        let length = frame_length(&frame);
        if let Some(read) = &self.read {
            read.set(read.get() + length);
        }
        if let Some(remaining) = &mut self.remaining {
            match remaining.checked_sub(length) {
                Some(less) => *remaining = less,
                None => {
                    self.rest = None;
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl RequestBodyError {
    /// This error, if it is `error` or one of its sources: the client of an upstream wraps what
    /// the request's body reported.
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut current = Some(error);
        while let Some(error) = current {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            current = error.source();
        }
        None
    }
}

impl ResponseBody {
    /// The length of the first piece, which is waited for and stays in the body.
    pub(crate) async fn first_length(&mut self) -> u64 {
        let mut body = std::mem::take(self);
        let first = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let length = first
            .as_ref()
            .and_then(|frame| frame.as_ref().ok())
            .map_or(0, frame_length);
        *self = match first {
            None => Self::Empty,
            Some(first) => Self::Begun(Box::new(Begun {
                first: Some(first),
                rest: body,
            })),
        };
        length
    }

    /// Reads up to `bytes` of the body into memory (all of it if `None`); the rest still streams.
    /// An error stays in it, behind what came before.
    pub(crate) async fn buffer(&mut self, bytes: Option<u64>) {
        let mut body = std::mem::take(self);
        let mut held = BytesMut::new();
        let next = loop {
            if bytes.is_some_and(|bytes| held.len() as u64 >= bytes) {
                break None;
            }
            match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                None => {
                    *self = Self::full(held.freeze());
                    return;
                }
                Some(frame) => match frame.map(Frame::into_data) {
                    Ok(Ok(data)) => held.extend_from_slice(&data),
                    Ok(Err(trailers)) => break Some(Ok(trailers)),
                    Err(error) => break Some(Err(error)),
                },
            }
        };
        let rest = match next {
            None => body,
            first => Self::Begun(Box::new(Begun { first, rest: body })),
        };
        *self = Self::Begun(Box::new(Begun {
            first: Some(Ok(Frame::data(held.freeze()))),
            rest,
        }));
    }

    /// The body, compressed. One that is at hand as a whole is compressed at once, so that its
    /// length is known.
    pub(crate) async fn encoded(self, coder: Coder) -> Self {
        let mut encoded = Box::new(Encoded::new(self, coder));
        let first =
            std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut encoded).poll_frame(context)));
        match first.await {
            Poll::Pending => Self::Encoded(encoded),
            Poll::Ready(None) => Self::Empty,
            Poll::Ready(Some(first)) => {
                let whole = first.as_ref().ok().and_then(Frame::data_ref);
                match whole {
                    Some(whole) if encoded.is_end_stream() => Self::full(whole.clone()),
                    _ => Self::Begun(Box::new(Begun {
                        first: Some(first),
                        rest: Self::Encoded(encoded),
                    })),
                }
            }
        }
    }

    /// A body of bytes that are kept in memory.
    pub(crate) fn kept(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Kept(Some(bytes))
        }
    }

    /// All bytes of a body of `length`, in memory of just that size.
    ///
    /// # Errors
    /// As reading the body, and when it is shorter or longer.
    pub(crate) async fn into_bytes(mut self, length: u64) -> Result<Bytes, <Self as Body>::Error> {
        if let Self::Full(Some(bytes)) = &self
            && bytes.len() as u64 == length
        {
            return Ok(bytes.clone());
        }
        let mut held = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await
        {
            if let Ok(data) = frame?.into_data() {
                held.extend_from_slice(&data);
            }
            if held.len() as u64 > length {
                break;
            }
        }
        match held.len() as u64 == length {
            true => Ok(held.into()),
            false => Err("its length is not the one that was announced".into()),
        }
    }

    /// A body of bytes at hand.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(Some(bytes))
        }
    }
}

impl From<UpstreamBody> for ResponseBody {
    fn from(body: UpstreamBody) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::Upstream(body)
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(frame) = self.buffered.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.poll_rest(context)
    }

    fn is_end_stream(&self) -> bool {
        self.buffered.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.unlimited_size_hint()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Begun(begun) => match begun.first.take() {
                Some(first) => Poll::Ready(Some(first)),
                None => Pin::new(&mut begun.rest).poll_frame(context),
            },
            Self::Empty => Poll::Ready(None),
            Self::Encoded(body) => Pin::new(&mut **body).poll_frame(context),
            Self::File(body) => Pin::new(&mut **body).poll_frame(context),
            Self::Full(bytes) | Self::Kept(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Logged(body) => Pin::new(&mut **body).poll_frame(context),
            Self::Recorded(body) => Pin::new(&mut **body).poll_frame(context),
            Self::Traced(body) => Pin::new(&mut **body).poll_frame(context),
            Self::Upstream(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Begun(begun) => begun.first.is_none() && begun.rest.is_end_stream(),
            Self::Empty => true,
            Self::Encoded(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
            Self::Full(bytes) | Self::Kept(bytes) => bytes.is_none(),
            Self::Logged(body) => body.is_end_stream(),
            Self::Recorded(body) => body.is_end_stream(),
            Self::Traced(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Begun(begun) if begun.first.is_none() => begun.rest.size_hint(),
            Self::Begun(_) => SizeHint::new(),
            Self::Empty => SizeHint::with_exact(0),
            Self::Encoded(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
            Self::Full(bytes) | Self::Kept(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Logged(body) => body.size_hint(),
            Self::Recorded(body) => body.size_hint(),
            Self::Traced(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

fn frame_length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}
