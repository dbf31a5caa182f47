//! Name resolution without the system's resolver library, which a statically linked program does
//! not have: `/etc/hosts` and `/etc/resolv.conf` are read, and queries are made here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

/// Resolves host names. Answers are not kept: whoever asks wants to know what is true now, since
/// containers that are recreated change their addresses within the lifetime that DNS gives them.
#[derive(Clone, Debug)]
pub struct Resolver {
    inner: TokioResolver,
}

/// Where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name of its host, without a final dot.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Hosts with a lower number are to be asked before others.
    pub priority: u16,
    /// The share of clients among hosts of the same priority.
    pub weight: u16,
}

impl Resolver {
    /// A resolver as `/etc/resolv.conf` and `/etc/hosts` say.
    ///
    /// # Errors
    /// When `/etc/resolv.conf` cannot be read or understood.
    pub fn from_system() -> io::Result<Self> {
        let builder = TokioResolver::builder_tokio()
            .map_err(|error| io::Error::other(format!("cannot use /etc/resolv.conf: {error}")))?;
        Self::build(builder)
    }

    /// A resolver that asks these name servers.
    ///
    /// # Errors
    /// When there are none.
    pub fn with_servers(servers: &[SocketAddr]) -> io::Result<Self> {
        let servers = servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        if config.name_servers().is_empty() {
            return Err(io::Error::other("no name server is named"));
        }
        let provider = TokioRuntimeProvider::default();
        Self::build(TokioResolver::builder_with_config(config, provider))
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> io::Result<Self> {
        let options = builder.options_mut();
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self {
            inner: builder.build().map_err(io::Error::other)?,
        })
    }

    /// The places of the service `name`, such as `_http._tcp.example.com` (RFC 2782), those with
    /// the lowest priority first.
    ///
    /// # Errors
    /// `NotFound` when the name does not exist or has no such record; other kinds when no name
    /// server gave an answer.
    pub async fn services(&self, name: &str) -> io::Result<Vec<Service>> {
        let lookup = self
            .inner
            .srv_lookup(name)
            .await
            .map_err(|error| describe(name, &error))?;
        let records = lookup.answers().iter();
        let mut services: Vec<Service> = records
            .filter_map(|record| match &record.data {
                RData::SRV(service) => Some(Service {
                    host: service.target.to_utf8().trim_end_matches('.').to_owned(),
                    port: service.port,
                    priority: service.priority,
                    weight: service.weight,
                }),
                _ => None,
            })
            .collect();
        services.sort_by_key(|service| service.priority);
        Ok(services)
    }

    /// The addresses of `host`, IPv4 before IPv6; a literal address is its own answer.
    ///
    /// # Errors
    /// `NotFound` when the name does not exist or has no address; other kinds when no name server
    /// gave an answer.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![address]);
        }
        let lookup = self
            .inner
            .lookup_ip(host)
            .await
            .map_err(|error| describe(host, &error))?;
        let mut addresses: Vec<IpAddr> = lookup.iter().collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the name `{host}` has no address"),
            ));
        }
        Ok(addresses)
    }
}

fn describe(host: &str, error: &NetError) -> io::Error {
    if error.is_nx_domain() || error.is_no_records_found() {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("the name `{host}` does not resolve"),
        )
    } else {
        io::Error::other(format!("resolving `{host}` failed: {error}"))
    }
}
