//! What the DNS says of a name. Unlike [`proto::sidecar::dns`], which finds other programs, this
//! tells apart why there is no answer, and does not look into `/etc/hosts`: an authority does not
//! either.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::caa::Caa;

/// How long a name server is given for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked.
const ATTEMPTS: usize = 2;
/// How long one question may take in all, whatever name servers there are.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(6);

/// Asks the DNS. Answers are not kept.
#[derive(Clone, Debug)]
pub struct Dns {
    resolver: TokioResolver,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup<T> {
    /// These records; never empty.
    Found(Vec<T>),
    /// The name exists, without such a record.
    NoRecord,
    /// The name does not exist (NXDOMAIN).
    NoSuchName,
    /// Name servers answer that they cannot tell, in words.
    Failed(String),
    /// No name server answers.
    NoAnswer,
}

impl Dns {
    /// Asks `servers`; where there are none, those of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// When `/etc/resolv.conf` cannot be read or understood.
    pub fn new(servers: &[SocketAddr]) -> io::Result<Self> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| {
                io::Error::other(format!("cannot use /etc/resolv.conf: {error}"))
            })?
        } else {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = ANSWER_TIMEOUT;
        options.attempts = ATTEMPTS;
        Ok(Self {
            resolver: builder.build().map_err(io::Error::other)?,
        })
    }

    /// The addresses of a name, IPv4 before IPv6.
    pub(crate) async fn addresses(&self, name: &str) -> Lookup<IpAddr> {
        let (v4, v6) = tokio::join!(
            self.ask(name, RecordType::A, address),
            self.ask(name, RecordType::AAAA, address),
        );
        match (v4, v6) {
            (Lookup::Found(mut v4), Lookup::Found(v6)) => {
                v4.extend(v6);
                Lookup::Found(v4)
            }
            (Lookup::Found(found), _) | (_, Lookup::Found(found)) => Lookup::Found(found),
            // A half that cannot be told might hold an address.
            (Lookup::Failed(why), _) | (_, Lookup::Failed(why)) => Lookup::Failed(why),
            (Lookup::NoAnswer, _) | (_, Lookup::NoAnswer) => Lookup::NoAnswer,
            (Lookup::NoSuchName, Lookup::NoSuchName) => Lookup::NoSuchName,
            _ => Lookup::NoRecord,
        }
    }

    /// The CAA records of exactly this name.
    pub(super) async fn caa(&self, name: &str) -> Lookup<Caa> {
        self.ask(name, RecordType::CAA, |data| match data {
            RData::CAA(record) => Some(Caa {
                critical: record.issuer_critical,
                tag: record.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&record.value).into_owned(),
            }),
            _ => None,
        })
        .await
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Lookup<T> {
        // With the last dot, so that no search domain is tried.
        let question = self.resolver.lookup(format!("{name}."), kind);
        let Ok(answer) = tokio::time::timeout(QUESTION_TIMEOUT, question).await else {
            return Lookup::NoAnswer;
        };
        match answer {
            Ok(answer) => {
                let found: Vec<T> = answer
                    .answers()
                    .iter()
                    .filter_map(|record| read(&record.data))
                    .collect();
                if found.is_empty() {
                    Lookup::NoRecord
                } else {
                    Lookup::Found(found)
                }
            }
            Err(error) if error.is_nx_domain() => Lookup::NoSuchName,
            Err(error) if error.is_no_records_found() => Lookup::NoRecord,
            Err(NetError::Timeout | NetError::NoConnections | NetError::Io(_)) => Lookup::NoAnswer,
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Lookup::Failed(mnemonic(code)),
            Err(error) => Lookup::Failed(error.to_string()),
        }
    }
}

/// A response code as operators know it.
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => other.to_str().to_owned(),
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
        _ => None,
    }
}
