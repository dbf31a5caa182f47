//! Where log entries go. Each destination has a thread of its own and is the same one for all
//! configurations that name it, so that a reload loses nothing.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::time::{Duration, Instant};

use caddyfile::document::LogWriter;
use parking_lot::Mutex;

use super::roll::{Rolling, RollingFile};
use crate::compile::Scope;

/// A destination of log entries.
pub(super) struct Writer {
    destination: Destination,
    /// To the thread that writes, which is there from the first entry on: a configuration may name
    /// ten thousand files.
    sender: OnceLock<Option<Sender<Message>>>,
    counts: Arc<Counts>,
}

/// Entries on their way.
#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// What a writer writes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    Discard,
    File(Rolling),
    Stderr,
    Stdout,
}

enum Message {
    Entry(Vec<u8>),
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

/// Entries that may wait for a slow destination; beyond them, entries are dropped and counted.
const CAPACITY: usize = 8192;

static WRITERS: LazyLock<Mutex<HashMap<Destination, Weak<Writer>>>> = LazyLock::new(Mutex::default);

/// Compiles a writer; none is standard error.
pub(super) fn compile(document: Option<&LogWriter>, scope: &mut Scope) -> Option<Arc<Writer>> {
    let destination = match document {
        None | Some(LogWriter::Stderr(_)) => Destination::Stderr,
        Some(LogWriter::Stdout(_)) => Destination::Stdout,
        Some(LogWriter::Discard(_)) => Destination::Discard,
        Some(LogWriter::File(file)) => Destination::File(Rolling::compile(file, scope)?),
        Some(other @ (LogWriter::Net(_) | LogWriter::Other(_))) => {
            scope.error_with_hint(
                format!("the log output `{}` is not supported", other.module()),
                "use `stdout`, `stderr`, `file` or `discard`",
            );
            return None;
        }
    };
    Some(Writer::of(destination))
}

/// Waits until what was logged so far is written, at most for `limit`: for the program's end.
pub fn flush(limit: Duration) {
    let writers: Vec<Arc<Writer>> = WRITERS.lock().values().filter_map(Weak::upgrade).collect();
    let deadline = Instant::now() + limit;
    for writer in writers {
        let Some(Some(sender)) = writer.sender.get() else {
            continue;
        };
        let (done, is_done) = sync_channel(1);
        if sender.send(Message::Flush(done)).is_ok() {
            // A writer that does not come to an end in time loses what it has left.
            let _ = is_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

impl Writer {
    fn of(destination: Destination) -> Arc<Self> {
        let mut writers = WRITERS.lock();
        if let Some(writer) = writers.get(&destination).and_then(Weak::upgrade) {
            return writer;
        }
        // Before the map grows, so that looking through it does not add up.
        if writers.len() == writers.capacity() {
            writers.retain(|_, writer| writer.strong_count() > 0);
        }
        let writer = Arc::new(Self {
            destination: destination.clone(),
            sender: OnceLock::new(),
            counts: Arc::default(),
        });
        writers.insert(destination, Arc::downgrade(&writer));
        writer
    }

    /// Hands an entry on without waiting.
    pub(super) fn send(&self, entry: Vec<u8>) {
        let sender = self.sender.get_or_init(|| match self.destination {
            Destination::Discard => None,
            _ => start(self.destination.clone(), Arc::clone(&self.counts)),
        });
        let Some(sender) = sender else { return };
        if self.counts.waiting.fetch_add(1, Ordering::Relaxed) >= CAPACITY {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The thread ends only when nobody can send any more.
        let _ = sender.send(Message::Entry(entry));
    }

    /// Whether somebody watches.
    pub(super) fn is_terminal(&self) -> bool {
        match self.destination {
            Destination::Discard | Destination::File(_) => false,
            Destination::Stderr => io::stderr().is_terminal(),
            Destination::Stdout => io::stdout().is_terminal(),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

fn start(destination: Destination, counts: Arc<Counts>) -> Option<Sender<Message>> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name("access-log".to_owned());
    let started = thread.spawn(move || match destination {
        Destination::Discard => {}
        Destination::File(rolling) => run(&receiver, RollingFile::new(rolling), &counts),
        Destination::Stderr => run(&receiver, io::BufWriter::new(io::stderr()), &counts),
        Destination::Stdout => run(&receiver, io::BufWriter::new(io::stdout()), &counts),
    });
    match started {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "access logs are not written: no thread can be started");
            None
        }
    }
}

/// Writes entries until nobody can send any more. What was written is flushed whenever there is
/// nothing more to write.
fn run(receiver: &Receiver<Message>, mut output: impl Write, counts: &Counts) {
    let mut is_failing = false;
    while let Ok(first) = receiver.recv() {
        let mut result = Ok(());
        let mut next = Some(first);
        let mut waiting = Vec::new();
        while let Some(message) = next {
            match message {
                Message::Entry(entry) => {
                    result = result.and_then(|()| output.write_all(&entry));
                    counts.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Message::Flush(done) => waiting.push(done),
            }
            next = receiver.try_recv().ok();
        }
        result = result.and_then(|()| output.flush());
        if let Err(error) = &result
            && !is_failing
        {
            tracing::error!(%error, "access log entries are lost: writing failed");
        }
        is_failing = result.is_err();
        for done in waiting {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
        let lost = counts.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                lost,
                "access log entries were dropped: the output is too slow"
            );
        }
    }
}
