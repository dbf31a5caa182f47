//! Two upgraded connections, joined.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, Write};

/// What is read at once, in bytes.
const CHUNK: usize = 64 << 10;

thread_local! {
    /// Where every tunnel of the thread reads to. Bytes stay here only within one poll: what the
    /// other side does not take at once moves to a buffer of the tunnel's own, which is freed when
    /// it has been taken. So a tunnel at rest holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// What went through a tunnel, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelFigures {
    /// Bytes from the first side to the second.
    pub sent: u64,
    /// Bytes from the second side to the first.
    pub received: u64,
    /// Why it ended.
    pub end: TunnelEnd,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// It was ended from outside.
    Cancelled,
    /// Both sides finished.
    Finished,
    /// A side failed.
    Failed(io::ErrorKind),
}

/// Copies both ways between two connections until both have ended; the end of one side is passed
/// on while the other side goes on. There is no timeout: idle tunnels stay open until `cancelled`
/// is ready.
///
/// Dropping the future closes both connections.
pub async fn tunnel<A, B>(mut a: A, mut b: B, cancelled: impl Future<Output = ()>) -> TunnelFigures
where
    A: Read + Write + Unpin,
    B: Read + Write + Unpin,
{
    let mut there = Direction::default();
    let mut back = Direction::default();
    let copied = poll_fn(|cx| {
        let there = there.poll_copy(cx, &mut a, &mut b)?;
        let back = back.poll_copy(cx, &mut b, &mut a)?;
        if there.is_ready() && back.is_ready() {
            Poll::Ready(Ok::<(), io::Error>(()))
        } else {
            Poll::Pending
        }
    });
    let end = tokio::select! {
        biased;
        copied = copied => match copied {
            Ok(()) => TunnelEnd::Finished,
            Err(error) => TunnelEnd::Failed(error.kind()),
        },
        () = cancelled => TunnelEnd::Cancelled,
    };
    TunnelFigures {
        sent: there.copied,
        received: back.copied,
        end,
    }
}

/// One way through a tunnel.
#[derive(Default)]
struct Direction {
    /// Read, but not taken by the other side yet.
    pending: Vec<u8>,
    /// How much of `pending` was taken.
    taken: usize,
    copied: u64,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Open,
    /// The reading side ended: what is left is written, then the end is passed on.
    Ending,
    Ended,
}

impl Direction {
    fn poll_copy<R: Read + Unpin, W: Write + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_drain(cx, to))?;
            match self.state {
                State::Open => {
                    let read =
                        SCRATCH.with_borrow_mut(|scratch| self.poll_once(cx, from, to, scratch));
                    match read? {
                        Poll::Ready(()) => {}
                        Poll::Pending => {
                            // Nothing more for now: TLS may still hold the last bytes back.
                            ready!(Pin::new(to).poll_flush(cx))?;
                            return Poll::Pending;
                        }
                    }
                }
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads once and writes what came; keeps what was not taken.
    fn poll_once<R: Read + Unpin, W: Write + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &mut [u8],
    ) -> io::Result<Poll<()>> {
        let mut buffer = ReadBuf::new(scratch);
        if Pin::new(from)
            .poll_read(cx, buffer.unfilled())?
            .is_pending()
        {
            return Ok(Poll::Pending);
        }
        let bytes = buffer.filled();
        if bytes.is_empty() {
            self.state = State::Ending;
            return Ok(Poll::Ready(()));
        }
        self.copied += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => rest = &rest[count..],
                Poll::Pending => {
                    self.pending = rest.to_vec();
                    self.taken = 0;
                    break;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_drain<W: Write + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.taken < self.pending.len() {
            let rest = &self.pending[self.taken..];
            match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.taken += count,
            }
        }
        if !self.pending.is_empty() {
            self.pending = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}
