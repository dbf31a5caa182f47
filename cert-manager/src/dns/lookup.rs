//! Where a record goes: aliases, zones and their name servers.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use proto::sidecar::dns::Resolver;

use super::{DnsError, wire};

/// The port of name servers.
const PORT: u16 = 53;

/// Longer chains of aliases are taken for loops.
const LONGEST_CHAIN: usize = 8;

/// How many addresses of a zone's name servers are tried, for each may take its time to be silent.
const MOST_ASKED: usize = 3;

/// Asks name servers: those of a policy, or else those of the system.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    resolvers: Vec<String>,
    resolver: Resolver,
}

/// A name server that must know a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameServer {
    /// What it is called in messages.
    pub(super) name: String,
    /// Any of them stands for it.
    pub(super) addresses: Vec<SocketAddr>,
    /// Whether it asks others.
    pub(super) is_recursive: bool,
}

impl Lookup {
    /// Asks `resolvers`, as `HOST` or `HOST:PORT`; without any those of `/etc/resolv.conf`.
    pub(super) fn new(resolvers: Vec<String>, resolver: Resolver) -> Self {
        Self {
            resolvers,
            resolver,
        }
    }

    /// The name that `name` is an alias of in the end; itself if it is none (RFC 1034 section
    /// 3.6.2).
    pub(super) async fn follow(&self, name: Name) -> Result<Name, DnsError> {
        let mut current = name.clone();
        for _ in 0..LONGEST_CHAIN {
            let answer = match self.ask_zone(&current, RecordType::CNAME).await {
                Some(answer) => answer,
                None => self.ask(&current, RecordType::CNAME).await?,
            };
            let target = answer.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == current => Some(target.0.to_lowercase()),
                _ => None,
            });
            match target {
                Some(target) => current = target,
                None => return Ok(current),
            }
        }
        Err(DnsError::new(format!(
            "{name} is an alias (CNAME) of an alias, more than {LONGEST_CHAIN} times"
        ))
        .with_hint("its CNAME records lead in a circle: correct them"))
    }

    /// What the name servers of the zone above `name` say, if one can be asked. A resolver would
    /// remember for long that there is no such name yet, and then not see the record.
    async fn ask_zone(&self, name: &Name, kind: RecordType) -> Option<Message> {
        let zone = self.zone(&name.base_name()).await.ok()?;
        let servers = self.servers_of(&zone).await.ok()?;
        let addresses = servers.iter().flat_map(|server| &server.addresses);
        for address in addresses.take(MOST_ASKED) {
            match wire::ask(*address, name, kind, false).await {
                Ok(answer) if answer.authoritative && is_definite(&answer) => return Some(answer),
                // The name has a zone of its own, elsewhere.
                Ok(_) => return None,
                Err(error) => tracing::debug!(%zone, %address, error, "a name server is silent"),
            }
        }
        None
    }

    /// The zone that holds `name` (RFC 2136 section 4.2 and 4.3).
    pub(super) async fn zone(&self, name: &Name) -> Result<Name, DnsError> {
        let mut candidate = name.clone();
        while !candidate.is_root() {
            let answer = self.ask(&candidate, RecordType::SOA).await?;
            if let Some(zone) = zone_in(&answer, name) {
                return Ok(zone);
            }
            candidate = candidate.base_name();
        }
        Err(DnsError::new(format!("no zone for {name} is found"))
            .with_hint("is the domain registered, and its zone delegated to name servers?"))
    }

    /// The zone that holds `name` by the word of `server`, if it has one.
    pub(super) async fn zone_at(&self, server: SocketAddr, name: &Name) -> Option<Name> {
        let mut candidate = name.clone();
        while !candidate.is_root() {
            let answer = wire::ask(server, &candidate, RecordType::SOA, false).await;
            if let Some(zone) = answer.ok().and_then(|answer| zone_in(&answer, name)) {
                return Some(zone);
            }
            candidate = candidate.base_name();
        }
        None
    }

    /// The servers that must know a record at `name`: the policy's, or those of its zone.
    pub(super) async fn must_know(&self, name: &Name) -> Result<Vec<NameServer>, DnsError> {
        if !self.resolvers.is_empty() {
            return self.recursive().await;
        }
        let zone = self.zone(name).await?;
        self.servers_of(&zone).await
    }

    async fn servers_of(&self, zone: &Name) -> Result<Vec<NameServer>, DnsError> {
        let answer = self.ask(zone, RecordType::NS).await?;
        let hosts: BTreeSet<String> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(host) => Some(super::text(&host.0)),
                _ => None,
            })
            .collect();
        let mut servers = Vec::new();
        for host in hosts {
            match self.addresses(&host).await {
                Ok(addresses) => servers.push(NameServer {
                    name: host,
                    addresses,
                    is_recursive: false,
                }),
                Err(error) => tracing::debug!(%zone, error, "a name server is passed over"),
            }
        }
        if servers.is_empty() {
            return Err(
                DnsError::new(format!("no name server of the zone {zone} is found")).with_hint(
                    "name servers to ask can be given with `resolvers` in `tls`, and \
                 `propagation_timeout -1` does not look",
                ),
            );
        }
        Ok(servers)
    }

    /// The addresses of a name server that is given as `HOST` or `HOST:PORT`.
    pub(super) async fn addresses(&self, server: &str) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = split(server);
        let addresses = self
            .resolver
            .resolve(host)
            .await
            .map_err(|error| error.to_string())?;
        Ok(addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect())
    }

    /// Asks the first of the name servers that has an answer.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let mut complaints = Vec::new();
        for server in self.recursive().await? {
            for address in server.addresses {
                match wire::ask(address, name, kind, true).await {
                    Ok(answer) if is_definite(&answer) => return Ok(answer),
                    Ok(answer) => complaints.push(format!("{address}: {}", answer.response_code)),
                    Err(error) => complaints.push(format!("{address}: {error}")),
                }
            }
        }
        Err(DnsError::new(format!(
            "no name server says which {kind} record {name} has ({})",
            complaints.join("; ")
        ))
        .with_hint(
            "can this container reach its name servers? Others can be given with `resolvers`",
        ))
    }

    async fn recursive(&self) -> Result<Vec<NameServer>, DnsError> {
        if self.resolvers.is_empty() {
            return system_servers();
        }
        let mut servers = Vec::new();
        for name in &self.resolvers {
            let addresses = self.addresses(name).await.map_err(|error| {
                DnsError::new(format!("the resolver `{name}` cannot be used: {error}"))
                    .with_hint("correct `resolvers` in the Caddyfile")
            })?;
            servers.push(NameServer {
                name: name.clone(),
                addresses,
                is_recursive: true,
            });
        }
        Ok(servers)
    }
}

fn system_servers() -> Result<Vec<NameServer>, DnsError> {
    let (config, _) = read_system_conf().map_err(|error| {
        DnsError::new(format!(
            "cannot read name servers from /etc/resolv.conf: {error}"
        ))
        .with_hint("name servers to ask can be given with `resolvers` in `tls`")
    })?;
    Ok(config
        .name_servers
        .iter()
        .map(|server| NameServer {
            name: server.ip.to_string(),
            addresses: vec![SocketAddr::new(server.ip, PORT)],
            is_recursive: true,
        })
        .collect())
}

/// The owner of the SOA record of an answer, if it is a zone of `name`. An answer that there is no
/// such record brings the one of the zone along (RFC 2308 section 2).
fn zone_in(answer: &Message, name: &Name) -> Option<Name> {
    answer
        .answers
        .iter()
        .chain(&answer.authorities)
        .find(|record| matches!(record.data, RData::SOA(_)) && record.name.zone_of(name))
        .map(|record| record.name.to_lowercase())
}

fn is_definite(answer: &Message) -> bool {
    matches!(
        answer.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

/// Splits `HOST` or `HOST:PORT`; IPv6 addresses with a port are in brackets.
fn split(server: &str) -> (&str, u16) {
    let plain = server.trim_start_matches('[').trim_end_matches(']');
    if plain.parse::<IpAddr>().is_ok() {
        return (plain, PORT);
    }
    match server.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host.trim_matches(['[', ']']), port),
            Err(_) => (server, PORT),
        },
        None => (server, PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_may_have_a_port() {
        assert_eq!(split("ns1.school.org"), ("ns1.school.org", 53));
        assert_eq!(split("ns1.school.org:5353"), ("ns1.school.org", 5353));
        assert_eq!(split("192.0.2.1:5353"), ("192.0.2.1", 5353));
        assert_eq!(split("2001:db8::1"), ("2001:db8::1", 53));
        assert_eq!(split("[2001:db8::1]"), ("2001:db8::1", 53));
        assert_eq!(split("[2001:db8::1]:5353"), ("2001:db8::1", 5353));
    }
}
