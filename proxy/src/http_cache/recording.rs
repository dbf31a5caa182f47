//! A body that is kept while it comes: whoever wants it reads it from its begin, as it grows.
//!
//! It is read as fast as the server sends it, up to a limit, so that a slow client holds up nobody
//! else who waits for the same response.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::stored::Head;
use crate::body::ResponseBody;

/// Bytes that recordings hold at once.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    most: u64,
}

/// A response that is on its way.
#[derive(Debug)]
pub(crate) struct Recording {
    pub head: Arc<Head>,
    /// The length of the body, where that is known before it has come.
    pub length: Option<u64>,
    state: Mutex<State>,
    deserted: Notify,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct State {
    pieces: Vec<Bytes>,
    length: u64,
    /// Bytes of the budget that are taken.
    reserved: u64,
    trailers: Option<HeaderMap>,
    end: Option<End>,
    readers: usize,
    /// It is wanted even if nobody reads it now.
    is_wanted: bool,
    waiting: Vec<Waker>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The body broke off.
    Broken,
    /// All of it is there.
    Complete,
    /// It is too large: the rest goes to the first reader only.
    TooLarge,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is kept.
    Kept,
    /// With it the body is too large to be kept.
    TooLarge,
}

/// Reads a recording.
pub struct RecordedBody {
    recording: Arc<Recording>,
    next: usize,
    rest: Rest,
}

/// What comes behind a recording that grew too large.
enum Rest {
    /// Trailers, if there are some, or nothing.
    Nothing,
    /// The body itself, when it is handed over.
    Expected(oneshot::Receiver<ResponseBody>),
    /// The body itself.
    Here(Box<ResponseBody>),
    /// All was read.
    Over,
}

impl Budget {
    /// A budget of `most` bytes.
    pub(crate) fn new(most: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            most,
        }
    }

    fn reserve(&self, bytes: u64) -> bool {
        let reserved = self.used.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.most)
        });
        reserved.is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

impl Recording {
    /// A recording of a body of `length`; `None` where there is no room for it.
    pub(crate) fn new(
        head: Arc<Head>,
        length: Option<u64>,
        budget: Arc<Budget>,
    ) -> Option<Arc<Self>> {
        let reserved = length.unwrap_or_default();
        budget.reserve(reserved).then(|| {
            Arc::new(Self {
                head,
                length,
                state: Mutex::new(State {
                    reserved,
                    ..State::default()
                }),
                deserted: Notify::new(),
                budget,
            })
        })
    }

    /// Reads it from its begin, as one who can do without what is too large to be kept.
    pub(crate) fn reader(self: &Arc<Self>) -> RecordedBody {
        self.read(Rest::Nothing)
    }

    /// Reads it from its begin, and all the rest.
    pub(crate) fn first_reader(
        self: &Arc<Self>,
        rest: oneshot::Receiver<ResponseBody>,
    ) -> RecordedBody {
        self.read(Rest::Expected(rest))
    }

    /// Goes on also if nobody reads it any more.
    pub(crate) fn want(&self) {
        self.state.lock().is_wanted = true;
    }

    /// Ends once nobody reads it any more.
    pub(crate) async fn deserted(&self) {
        loop {
            let notified = self.deserted.notified();
            if self.is_deserted(&self.state.lock()) {
                return;
            }
            notified.await;
        }
    }

    /// Adds a piece of the body, which may have `most` bytes.
    pub(crate) fn push(&self, piece: Bytes, most: u64) -> Pushed {
        let mut state = self.state.lock();
        state.length += piece.len() as u64;
        state.pieces.push(piece);
        let is_kept = state.length <= most && self.reserve(&mut state);
        if !is_kept {
            state.end = Some(End::TooLarge);
        }
        state.wake();
        match is_kept {
            true => Pushed::Kept,
            false => Pushed::TooLarge,
        }
    }

    /// Adds the trailers.
    pub(crate) fn push_trailers(&self, trailers: HeaderMap) {
        self.state.lock().trailers = Some(trailers);
    }

    /// Ends it. Gives the whole body, unless that is not the one that was announced or has
    /// trailers, with which it is not kept.
    pub(crate) fn complete(&self) -> Option<Bytes> {
        let mut state = self.state.lock();
        let is_whole = self.length.is_none_or(|length| length == state.length);
        state.end = Some(match is_whole {
            true => End::Complete,
            false => End::Broken,
        });
        state.wake();
        if !is_whole || state.trailers.is_some() {
            return None;
        }
        // A copy, so that no larger buffer is held that the pieces are parts of.
        let mut whole = Vec::with_capacity(usize::try_from(state.length).unwrap_or_default());
        for piece in &state.pieces {
            whole.extend_from_slice(piece);
        }
        Some(whole.into())
    }

    /// Ends it because the body broke off.
    pub(crate) fn break_off(&self) {
        let mut state = self.state.lock();
        state.end = Some(End::Broken);
        state.wake();
    }

    fn read(self: &Arc<Self>, rest: Rest) -> RecordedBody {
        self.state.lock().readers += 1;
        RecordedBody {
            recording: Arc::clone(self),
            next: 0,
            rest,
        }
    }

    /// Whether it ends before its body does. Whoever has read all that was announced may be gone before
    /// the server has said that this was all.
    fn is_deserted(&self, state: &State) -> bool {
        state.readers == 0 && !state.is_wanted && self.length != Some(state.length)
    }

    /// Takes from the budget what goes beyond what was taken before.
    fn reserve(&self, state: &mut State) -> bool {
        let more = state.length.saturating_sub(state.reserved);
        let is_reserved = self.budget.reserve(more);
        if is_reserved {
            state.reserved += more;
        }
        is_reserved
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.budget.release(self.state.lock().reserved);
    }
}

impl State {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl RecordedBody {
    /// The next of what is kept; `Ready(None)` where that is all that there will be.
    fn poll_kept(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, End>>> {
        let mut state = self.recording.state.lock();
        if let Some(piece) = state.pieces.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        match state.end {
            Some(End::Complete) => Poll::Ready(None),
            Some(end) => Poll::Ready(Some(Err(end))),
            None => {
                let waker = context.waker();
                if !state.waiting.iter().any(|known| known.will_wake(waker)) {
                    state.waiting.push(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    fn trailers(&self) -> Option<Frame<Bytes>> {
        let state = self.recording.state.lock();
        state.trailers.clone().map(Frame::trailers)
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        let mut state = self.recording.state.lock();
        state.readers -= 1;
        if self.recording.is_deserted(&state) {
            self.recording.deserted.notify_one();
        }
    }
}

impl Body for RecordedBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let broken = || Box::new(io::Error::other("the response broke off"));
        loop {
            match &mut this.rest {
                Rest::Over => return Poll::Ready(None),
                Rest::Here(body) => return Pin::new(&mut **body).poll_frame(context),
                Rest::Nothing | Rest::Expected(_) => {}
            }
            match this.poll_kept(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                Poll::Ready(None) => {
                    this.rest = Rest::Over;
                    return Poll::Ready(this.trailers().map(Ok));
                }
                Poll::Ready(Some(Err(end))) => {
                    let Rest::Expected(rest) = &mut this.rest else {
                        this.rest = Rest::Over;
                        return Poll::Ready(Some(Err(broken())));
                    };
                    if end == End::Broken {
                        this.rest = Rest::Over;
                        return Poll::Ready(Some(Err(broken())));
                    }
                    match Pin::new(rest).poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(body)) => this.rest = Rest::Here(Box::new(body)),
                        Poll::Ready(Err(_)) => {
                            this.rest = Rest::Over;
                            return Poll::Ready(Some(Err(broken())));
                        }
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.rest {
            Rest::Over => true,
            Rest::Here(body) => body.is_end_stream(),
            Rest::Nothing | Rest::Expected(_) => {
                let state = self.recording.state.lock();
                state.end == Some(End::Complete)
                    && state.trailers.is_none()
                    && self.next >= state.pieces.len()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Rest::Over => SizeHint::with_exact(0),
            Rest::Here(body) => body.size_hint(),
            Rest::Nothing | Rest::Expected(_) => {
                let state = self.recording.state.lock();
                let is_complete = state.end == Some(End::Complete);
                let length = self
                    .recording
                    .length
                    .or_else(|| is_complete.then_some(state.length));
                let read: u64 = state.pieces[..self.next]
                    .iter()
                    .map(|piece| piece.len() as u64)
                    .sum();
                length.map_or_else(SizeHint::default, |length| {
                    SizeHint::with_exact(length.saturating_sub(read))
                })
            }
        }
    }
}

impl fmt::Debug for RecordedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedBody")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
