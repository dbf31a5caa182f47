//! A response body that knows when its request is over, and what of it is not written yet.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::worker::Entry;

/// Bytes of a response that are handed to hyper before those in front of them are written. hyper
/// takes much more if it is allowed to: memory that a slow client holds, and that a fast one has out
/// of the processor's cache before it is encrypted.
const WINDOW: usize = 128 << 10;
/// The same once a worker's responses hold [`CROWDED`] bytes in all.
const SMALL_WINDOW: usize = 16 << 10;
/// Bytes that a worker's responses hold before each is allowed less.
const CROWDED: usize = 64 << 20;

thread_local! {
    /// Bytes of this worker's responses that are handed to hyper and not yet written.
    static UNWRITTEN: Cell<usize> = const { Cell::new(0) };
}

pin_project! {
    /// A response body, and the note that its request is being answered, which ends with it.
    #[derive(Debug)]
    pub struct TrackedBody<B> {
        #[pin]
        inner: B,
        request: Request,
        // Only where more than one frame comes.
        unwritten: Option<Rc<Unwritten>>,
    }
}

impl<B> TrackedBody<B> {
    pub(crate) fn new(inner: B, request: Request) -> Self {
        Self {
            inner,
            request,
            unwritten: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for TrackedBody<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let mut this = self.project();
        if let Some(unwritten) = this.unwritten
            && unwritten.is_full(cx)
        {
            return Poll::Pending;
        }
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let is_last = this.inner.is_end_stream();
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|bytes| {
                    let unwritten = (!is_last).then(|| {
                        let unwritten = this.unwritten.get_or_insert_default();
                        unwritten.add(bytes.len());
                        Rc::clone(unwritten)
                    });
                    Piece {
                        length: bytes.len(),
                        bytes,
                        unwritten,
                    }
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes of a response, counted until they are written.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    length: usize,
    unwritten: Option<Rc<Unwritten>>,
}

/// What hyper holds of one response, but for its last piece.
#[derive(Debug, Default)]
struct Unwritten {
    bytes: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

/// Bytes that a response may have unwritten.
fn window() -> usize {
    match UNWRITTEN.get() {
        0..CROWDED => WINDOW,
        _ => SMALL_WINDOW,
    }
}

impl Unwritten {
    fn add(&self, length: usize) {
        self.bytes.set(self.bytes.get() + length);
        UNWRITTEN.set(UNWRITTEN.get() + length);
    }

    /// Whether there is no room; then the task of `cx` is woken when there is some.
    fn is_full(&self, cx: &Context<'_>) -> bool {
        let is_full = self.bytes.get() >= window();
        if is_full {
            self.waiting.replace(Some(cx.waker().clone()));
        }
        is_full
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(unwritten) = &self.unwritten else {
            return;
        };
        let left = unwritten.bytes.get() - self.length;
        unwritten.bytes.set(left);
        UNWRITTEN.set(UNWRITTEN.get() - self.length);
        if left < window()
            && let Some(waiting) = unwritten.waiting.take()
        {
            waiting.wake();
        }
    }
}

/// One request being answered, from its head until its response is gone.
#[derive(Debug)]
pub(crate) struct Request(Rc<Entry>);

impl Request {
    pub(crate) fn begin(entry: Rc<Entry>) -> Self {
        entry.activity.begin_request();
        Self(entry)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.activity.end_request();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use bytes::{Buf as _, Bytes};

    use super::{CROWDED, Piece, SMALL_WINDOW, Unwritten, WINDOW};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn piece(unwritten: &Rc<Unwritten>, length: usize) -> Piece {
        unwritten.add(length);
        Piece {
            bytes: Bytes::from(vec![0; length]),
            length,
            unwritten: Some(Rc::clone(unwritten)),
        }
    }

    #[test]
    fn a_full_window_waits_until_enough_is_written() {
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let unwritten = Rc::new(Unwritten {
            bytes: Cell::new(0),
            waiting: RefCell::default(),
        });
        let small = piece(&unwritten, 10);
        assert!(!unwritten.is_full(&cx));
        let mut big = piece(&unwritten, WINDOW);
        assert!(unwritten.is_full(&cx));
        drop(small);
        assert_eq!(
            count.0.load(Ordering::Relaxed),
            0,
            "the window is still full"
        );
        big.advance(WINDOW);
        assert!(unwritten.is_full(&cx), "a piece counts until it is gone");
        drop(big);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(!unwritten.is_full(&cx));
    }

    #[test]
    fn in_a_crowd_each_has_a_small_window() {
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let unwritten = Rc::<Unwritten>::default();
        let mut pieces = vec![piece(&unwritten, SMALL_WINDOW - 1), piece(&unwritten, 1)];
        assert!(!unwritten.is_full(&cx));
        let crowd = piece(&Rc::default(), CROWDED - SMALL_WINDOW);
        assert!(unwritten.is_full(&cx));
        pieces.pop();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        pieces.push(piece(&unwritten, WINDOW - SMALL_WINDOW));
        assert!(unwritten.is_full(&cx));
        drop(crowd);
        assert!(!unwritten.is_full(&cx), "the crowd is gone");
    }
}
