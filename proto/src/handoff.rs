//! The hand-off of open files: messages over a Unix socket that carry a descriptor.
//!
//! The messages are `portico.files.v1.Handoff*`, one per `SOCK_SEQPACKET` message, so there is no
//! framing to get out of step. Neither side trusts the other to be sane: sizes are bounded, more
//! than one descriptor is an error, and what cannot be understood ends the connection.

mod file;

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

pub use self::file::{FileState, read_cached, read_full};
use crate::files::v1::HandoffField;

/// The longest request, in bytes.
pub const REQUEST_LIMIT: usize = 64 * 1024;
/// The longest answer, in bytes: what the kernel takes in one message without a big allocation.
pub const ANSWER_LIMIT: usize = 80 * 1024;
/// What names of sockets end in.
pub const EXTENSION: &str = "files";

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why a message was not sent or received. The connection is of no use after any of these.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The message is no message of the expected kind.
    #[error("the message cannot be decoded")]
    Decode(#[source] prost::DecodeError),
    /// The system refuses.
    #[error("the socket failed")]
    Io(#[source] io::Error),
    /// The message breaks a rule.
    #[error("the message makes no sense: {0}")]
    Nonsense(&'static str),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    // Tokio does not mind which type of socket it waits for.
    stream: UnixStream,
}

/// Where connections come in.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
}

impl Connection {
    /// Connects to a socket's path. Does not wait: a peer whose queue is full refuses.
    ///
    /// # Errors
    /// When nobody listens there, or the peer runs as a user that is not trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let stream = std::os::unix::net::UnixStream::from(socket);
        Self::trusted(UnixStream::from_std(stream)?)
    }

    /// Sends one message, with a descriptor if one is given.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send(
        &self,
        message: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), HandoffError> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = descriptor.as_slice();
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let slices = [IoSlice::new(message)];
            sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)
                .map_err(io::Error::from)
        };
        let sent = self.stream.async_io(Interest::WRITABLE, send).await;
        sent.map(drop).map_err(HandoffError::of)
    }

    /// Receives one message of at most `limit` bytes, and the descriptor that came with it.
    ///
    /// # Errors
    /// When the connection is lost or closed, or the message makes no sense.
    pub async fn receive<M: Message + Default>(
        &self,
        limit: usize,
    ) -> Result<(M, Option<OwnedFd>), HandoffError> {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // Decoded where it is received, so that a connection needs no buffer of its own.
        let receive = || {
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.resize(scratch.len().max(limit), 0);
                receive(&self.stream, &mut scratch[..limit])
            })
        };
        self.stream
            .async_io(Interest::READABLE, receive)
            .await
            .map_err(HandoffError::of)?
    }

    /// Refuses what another user, who is neither of our group nor root, has at the other end.
    fn trusted(stream: UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let is_trusted = peer.uid() == 0
            || peer.uid() == rustix::process::geteuid().as_raw()
            || peer.gid() == rustix::process::getegid().as_raw();
        if !is_trusted {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "the other end runs as user {} of group {}; run static-server and proxy as \
                     the same user or group",
                    peer.uid(),
                    peer.gid()
                ),
            ));
        }
        Ok(Self { stream })
    }
}

impl Listener {
    /// Listens at a path that must not exist yet.
    ///
    /// # Errors
    /// When the path cannot be bound: it exists, it is too long, or the folder is not writable.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let listener = std::os::unix::net::UnixListener::from(socket);
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// When none can be accepted, or the peer runs as a user that is not trusted.
    pub async fn accept(&self) -> io::Result<Connection> {
        let (stream, _) = self.listener.accept().await?;
        Connection::trusted(stream)
    }
}

impl HandoffError {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// The fields of a head as a message holds them.
pub fn fields(headers: &HeaderMap) -> Vec<HandoffField> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| HandoffField {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    headers.iter().map(field).collect()
}

/// The fields of a message as a head holds them.
///
/// # Errors
/// When one is not as HTTP allows.
pub fn headers(fields: Vec<HandoffField>) -> Result<HeaderMap, HandoffError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| HandoffError::Nonsense("a field's name is not one of HTTP"))?;
        let value = HeaderValue::try_from(field.value)
            .map_err(|_| HandoffError::Nonsense("a field's value is not one of HTTP"))?;
        headers
            .try_append(name, value)
            .map_err(|_| HandoffError::Nonsense("there are too many fields"))?;
    }
    Ok(headers)
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Receives and decodes; the outer error is that of the system call.
fn receive<M: Message + Default>(
    stream: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<Result<(M, Option<OwnedFd>), HandoffError>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(buffer)];
    let RecvMsg { bytes, flags, .. } =
        recvmsg(stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    // Those that are not kept are closed.
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let message = &buffer[..bytes.min(buffer.len())];
    Ok(understand(message, flags, descriptors))
}

fn understand<M: Message + Default>(
    message: &[u8],
    flags: ReturnFlags,
    mut descriptors: Vec<OwnedFd>,
) -> Result<(M, Option<OwnedFd>), HandoffError> {
    if flags.contains(ReturnFlags::TRUNC) {
        return Err(HandoffError::Nonsense("it is too long"));
    }
    if flags.contains(ReturnFlags::CTRUNC) {
        // Also when this program has no descriptor left.
        return Err(HandoffError::Nonsense(
            "its descriptors could not be received",
        ));
    }
    if message.is_empty() {
        return Err(HandoffError::Closed);
    }
    let descriptor = descriptors.pop();
    if !descriptors.is_empty() {
        return Err(HandoffError::Nonsense("it has more than one descriptor"));
    }
    let message = M::decode(message).map_err(HandoffError::Decode)?;
    Ok((message, descriptor))
}

#[cfg(test)]
mod tests;
