//! Listening addresses and their settings.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::activity::{Limits, TICK};
use crate::tls::TlsSettings;

/// How many connections the kernel holds until a worker accepts them; it caps this at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A client that vanished is noticed after about two and a half minutes, as Go's servers do.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// A port on every address of the host, IPv4 and IPv6, by one dual-stack socket; on a host
    /// without IPv6, IPv4 alone.
    Any(u16),
    /// One address.
    Exact(SocketAddr),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Exact(address) => address.fmt(f),
        }
    }
}

/// A listener's settings. A connection keeps those it was accepted with.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Where it listens.
    pub address: ListenAddress,
    /// TLS, if it is spoken here.
    pub tls: Option<Arc<TlsSettings>>,
    /// Whether HTTP/1 is spoken.
    pub http1: bool,
    /// Whether HTTP/2 is spoken: over TLS by ALPN, in plaintext by prior knowledge (`h2c`).
    pub http2: bool,
    /// When to give up on a client.
    pub timeouts: Timeouts,
    /// The largest request head, in bytes.
    pub max_header_bytes: u32,
}

impl ListenerConfig {
    /// A listener with the defaults that Caddy has: HTTP/1 and, over TLS, HTTP/2; heads up to 1 MiB.
    pub fn new(address: ListenAddress, tls: Option<Arc<TlsSettings>>) -> Self {
        Self {
            address,
            http1: true,
            http2: tls.is_some(),
            tls,
            timeouts: Timeouts::default(),
            max_header_bytes: 1 << 20,
        }
    }
}

/// When to give up on a client; each is kept to within a second or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Duration,
    /// A request's head, from its first byte; for a first request from the connection's begin.
    pub read_header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// An HTTP/1 request's body, as far as it is asked for, from the end of the request's head;
    /// `None` is without end.
    pub read: Option<Duration>,
    /// An HTTP/1 response, from the end of the request's head; `None` is without end.
    pub write: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            read_header: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            read: None,
            write: None,
        }
    }
}

impl Timeouts {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            handshake: ticks(self.handshake),
            header: ticks(self.read_header),
            idle: ticks(self.idle),
            request: self.read.map_or(u32::MAX, ticks),
            response: self.write.map_or(u32::MAX, ticks),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", hint(source))]
pub struct ListenError {
    /// The address.
    pub address: ListenAddress,
    /// What the system says.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (is another program using the port?)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need the capability CAP_NET_BIND_SERVICE, or the sysctl \
             net.ipv4.ip_unprivileged_port_start=0)"
        }
        io::ErrorKind::AddrNotAvailable => " (this host has no such address)",
        _ => "",
    }
}

/// Bound sockets of one address that do not listen yet, so that a set of addresses can be had as a
/// whole or not at all.
#[derive(Debug)]
pub(crate) struct Bound {
    address: ListenAddress,
    sockets: Vec<Socket>,
}

impl Bound {
    /// Binds `count` sockets to one address, each for a worker.
    pub(crate) fn bind(address: ListenAddress, count: usize) -> Result<Self, ListenError> {
        let error = |source| ListenError { address, source };
        let first = match address {
            ListenAddress::Exact(exact) => bind(exact).map_err(error)?,
            ListenAddress::Any(port) => match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
                Ok(socket) => socket,
                Err(missing) if is_family_missing(&missing) => {
                    bind((Ipv4Addr::UNSPECIFIED, port).into()).map_err(error)?
                }
                Err(source) => return Err(error(source)),
            },
        };
        // Port 0 has become a real one, which the other sockets must share.
        let real = local_address(&first).map_err(error)?;
        let mut sockets = vec![first];
        while sockets.len() < count {
            sockets.push(bind(real).map_err(error)?);
        }
        Ok(Self { address, sockets })
    }

    pub(crate) fn address(&self) -> ListenAddress {
        self.address
    }

    /// Starts listening; connections arrive from now on.
    pub(crate) fn listen(self) -> Result<(SocketAddr, Vec<TcpListener>), ListenError> {
        let error = |source| ListenError {
            address: self.address,
            source,
        };
        for socket in &self.sockets {
            socket.listen(BACKLOG).map_err(error)?;
        }
        let first = self
            .sockets
            .first()
            .ok_or_else(|| error(io::ErrorKind::InvalidInput.into()))?;
        let local = local_address(first).map_err(error)?;
        Ok((
            local,
            self.sockets.into_iter().map(TcpListener::from).collect(),
        ))
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit these, which saves a system call each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE)
            .with_retries(9),
    )?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket has no internet address"))
}

/// Whether the host has no IPv6: not compiled in, or switched off so that `[::]` does not exist.
fn is_family_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis()))
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bound, ListenAddress, ticks};

    #[test]
    fn workers_share_one_port() {
        let address = ListenAddress::Exact("127.0.0.1:0".parse().unwrap());
        let (local, sockets) = Bound::bind(address, 3).unwrap().listen().unwrap();
        assert_eq!(sockets.len(), 3);
        for socket in sockets {
            assert_eq!(socket.local_addr().unwrap(), local);
        }
    }

    #[test]
    fn address_of_another_host_is_explained() {
        let address = ListenAddress::Exact("192.0.2.1:0".parse().unwrap());
        let error = Bound::bind(address, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot listen on 192.0.2.1:0 (this host has no such address)"
        );
    }

    #[test]
    fn short_timeouts_are_one_tick() {
        assert_eq!(ticks(Duration::from_millis(10)), 1);
        assert_eq!(ticks(Duration::from_millis(1500)), 2);
        assert_eq!(ticks(Duration::MAX), u32::MAX);
    }
}
