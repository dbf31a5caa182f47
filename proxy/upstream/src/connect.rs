//! Opening connections: name to addresses, addresses to a socket, TLS over it.

mod resolve;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use proto::sidecar::dns::Resolver;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::error::SendErrorKind;
use crate::stream::{Socket, Stream};
use crate::target::{Address, Target, Versions};

use resolve::Names;

/// Opens connections for one worker.
pub(crate) struct Dialler {
    names: Rc<Names>,
    /// The names that other name servers are asked for.
    others: RefCell<HashMap<Box<[SocketAddr]>, Rc<Names>>>,
    /// Moves on with every connection, so that they spread over the addresses of a name.
    turn: Cell<usize>,
}

/// A new connection.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) is_http2: bool,
    /// How many addresses the name has.
    pub(crate) addresses: usize,
}

/// Why there is no connection.
pub(crate) struct ConnectError {
    pub(crate) kind: SendErrorKind,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

impl Dialler {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self {
            names: Rc::new(Names::new(resolver)),
            others: RefCell::default(),
            turn: Cell::new(0),
        }
    }

    /// Opens a connection to `target`, waiting for a share of its `max_connections` first.
    pub(crate) async fn open(&self, target: &Target) -> Result<Opened, ConnectError> {
        self.open_after(target, &[]).await
    }

    /// As [`Self::open`]; what the connection says first, also before TLS, is `preamble`.
    pub(crate) async fn open_after(
        &self,
        target: &Target,
        preamble: &[u8],
    ) -> Result<Opened, ConnectError> {
        let settings = target.settings();
        let permit = match target.permits() {
            Some(permits) => std::sync::Arc::clone(permits).acquire_owned().await.ok(),
            None => None,
        };
        let deadline = Instant::now() + settings.dial_timeout;
        let (mut socket, addresses) = match target.address() {
            Address::Host { host, port } => self.dial_host(target, host, *port, deadline).await?,
            Address::Unix(path) => (dial_unix(path, deadline).await?, 1),
        };
        if !preamble.is_empty() {
            let written = tokio::time::timeout_at(deadline, socket.write_all(preamble)).await;
            written
                .map_err(|elapsed| ConnectError::new(SendErrorKind::ConnectTimeout, elapsed))?
                .map_err(ConnectError::io)?;
        }
        let mut is_http2 = settings.versions == Versions::Http2;
        let stream = match target.tls() {
            None => Stream::plain(socket),
            Some(tls) => {
                let handshake = tls.connector.connect(tls.server_name.clone(), socket);
                let stream = match timeout(tls.handshake_timeout, handshake).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return Err(ConnectError::new(SendErrorKind::Tls, error)),
                    Err(elapsed) => return Err(ConnectError::new(SendErrorKind::Tls, elapsed)),
                };
                is_http2 |= stream.get_ref().1.alpn_protocol() == Some(b"h2");
                Stream::tls(stream)
            }
        };
        Ok(Opened {
            stream: stream.with_limits(settings.write_timeout, permit),
            is_http2,
            addresses,
        })
    }

    async fn dial_host(
        &self,
        target: &Target,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(Socket, usize), ConnectError> {
        let names = self.names(target)?;
        let addresses = addresses(&names, host, deadline).await?;
        let local = target.settings().local_address;
        let mut failure = None;
        for (tried, address) in self.in_turn(&addresses).enumerate() {
            // Every address gets an equal share of the time that is left.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            match dial_tcp(SocketAddr::new(address, port), local, share).await {
                Ok(stream) => {
                    set_options(&stream, target).map_err(ConnectError::io)?;
                    return Ok((Socket::Tcp(stream), addresses.len()));
                }
                Err(error) => failure = Some(error),
            }
        }
        // The name may have moved: containers that are recreated get new addresses.
        names.forget(host);
        Err(failure.unwrap_or_else(|| {
            ConnectError::new(
                SendErrorKind::NameNotFound,
                format!("the name `{host}` has no address"),
            )
        }))
    }

    /// Who is asked for the name of `target`.
    fn names(&self, target: &Target) -> Result<Rc<Names>, ConnectError> {
        let servers = &target.settings().name_servers;
        if servers.is_empty() {
            return Ok(Rc::clone(&self.names));
        }
        let mut others = self.others.borrow_mut();
        if let Some(names) = others.get(servers) {
            return Ok(Rc::clone(names));
        }
        let resolver = Resolver::with_servers(servers)
            .map_err(|error| ConnectError::new(SendErrorKind::Resolve, error))?;
        let names = Rc::new(Names::new(resolver));
        others.insert(servers.clone(), Rc::clone(&names));
        Ok(names)
    }

    /// The addresses, IPv4 first, each family beginning with another one every time.
    fn in_turn<'a>(&self, addresses: &'a [IpAddr]) -> impl Iterator<Item = IpAddr> + 'a {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (v4, v6) = addresses.split_at(addresses.partition_point(IpAddr::is_ipv4));
        rotated(v4, turn).chain(rotated(v6, turn))
    }
}

impl ConnectError {
    fn new(kind: SendErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    fn io(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => SendErrorKind::Refused,
            io::ErrorKind::TimedOut => SendErrorKind::ConnectTimeout,
            _ => SendErrorKind::Unreachable,
        };
        Self::new(kind, error)
    }
}

async fn addresses(
    names: &Names,
    host: &str,
    deadline: Instant,
) -> Result<Rc<[IpAddr]>, ConnectError> {
    if let Ok(address) = host.parse() {
        return Ok(Rc::new([address]));
    }
    match tokio::time::timeout_at(deadline, names.resolve(host)).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => SendErrorKind::NameNotFound,
                _ => SendErrorKind::Resolve,
            };
            Err(ConnectError::new(kind, error.to_string()))
        }
        Err(_elapsed) => Err(ConnectError::new(
            SendErrorKind::Resolve,
            format!("no name server answered for `{host}` in time"),
        )),
    }
}

fn rotated(addresses: &[IpAddr], turn: usize) -> impl Iterator<Item = IpAddr> + '_ {
    let (before, after) = addresses.split_at(turn.checked_rem(addresses.len()).unwrap_or(0));
    after.iter().chain(before).copied()
}

async fn dial_tcp(
    address: SocketAddr,
    local: Option<IpAddr>,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let connected = match local {
        None => timeout(limit, TcpStream::connect(address)).await,
        Some(local) => timeout(limit, connect_from(local, address)).await,
    };
    match connected {
        Ok(connected) => connected.map_err(ConnectError::io),
        Err(_elapsed) => Err(ConnectError::new(
            SendErrorKind::ConnectTimeout,
            format!("no answer from {address} within {limit:?}"),
        )),
    }
}

async fn connect_from(local: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match local {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(address).await
}

fn set_options(stream: &TcpStream, target: &Target) -> io::Result<()> {
    let probe_interval = target.settings().keep_alive.probe_interval;
    let probes = socket2::TcpKeepalive::new()
        .with_time(probe_interval)
        .with_interval(probe_interval);
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&probes)
}

async fn dial_unix(path: &Path, deadline: Instant) -> Result<Socket, ConnectError> {
    let connected = match path.to_str().and_then(|path| path.strip_prefix('@')) {
        // A leading zero byte is how the kernel is told of a name without a file.
        Some(name) => {
            let name = format!("\0{name}");
            tokio::time::timeout_at(deadline, UnixStream::connect(name)).await
        }
        None => tokio::time::timeout_at(deadline, UnixStream::connect(path)).await,
    };
    match connected {
        Ok(stream) => stream.map(Socket::Unix).map_err(ConnectError::io),
        Err(elapsed) => Err(ConnectError::new(SendErrorKind::ConnectTimeout, elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_turn() {
        let addresses: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2", "::1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let dialler = Dialler::new(Resolver::from_system().unwrap());
        let first: Vec<_> = dialler.in_turn(&addresses).collect();
        let second: Vec<_> = dialler.in_turn(&addresses).collect();
        assert_eq!(first, addresses);
        assert_eq!(second, [addresses[1], addresses[0], addresses[2]]);
        assert_eq!(dialler.in_turn(&[]).count(), 0);
    }
}
