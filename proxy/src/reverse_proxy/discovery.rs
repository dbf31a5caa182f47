//! Upstreams that are found by DNS while requests come (Caddy: `dynamic`).
//!
//! What was found is used for a while (`refresh`), by all workers. The ordinary upstream needs
//! none of this: all addresses of its name are balanced and looked up anew by themselves.

mod compile;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proto::sidecar::dns::{Resolver, Service};
use proto::sidecar::error_chain::Chain;
use upstream::{Address, Target};

use super::state::UpstreamState;
use super::transport::Transport;
use super::upstreams::{Endpoint, Upstream};
use crate::exchange::Exchange;
use crate::log_limit::LogLimit;
use crate::placeholder::Template;

/// So many names are kept at hand; placeholders may give more.
const KEPT: usize = 256;

/// Finds the upstreams of requests.
pub(super) struct Discovery {
    sources: Box<[Source]>,
    transport: Transport,
    max_requests: Option<usize>,
    log: LogLimit,
}

/// One place to look for upstreams.
struct Source {
    kind: Kind,
    /// How long an answer is used.
    refresh: Duration,
    /// How long the last answer is used on where there is no new one.
    grace: Duration,
    /// Name servers of its own.
    resolver: Option<Resolver>,
    known: Mutex<HashMap<Box<str>, Found>>,
}

#[derive(Debug)]
enum Kind {
    /// All addresses of a name.
    Addresses {
        name: Template,
        port: Template,
        takes_v4: bool,
        takes_v6: bool,
    },
    /// What a service's records name (RFC 2782).
    Services {
        service: Template,
        protocol: Template,
        name: Template,
    },
}

/// A question, with its placeholders filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Addresses(String, u16),
    Services(String),
}

#[derive(Clone)]
struct Found {
    until: Instant,
    upstreams: Arc<[(Box<str>, Endpoint)]>,
}

impl Discovery {
    /// The upstreams of a request; `None` where nothing could be found out, after the log was
    /// told.
    pub(super) async fn upstreams(&self, exchange: &Exchange) -> Option<Arc<[Upstream]>> {
        let mut upstreams = Vec::new();
        let mut is_any = false;
        for source in &self.sources {
            match source.find(exchange, &self.transport).await {
                Ok(found) => {
                    is_any = true;
                    upstreams.extend(found.iter().map(|(dial, endpoint)| {
                        Upstream::fixed(dial, endpoint.clone(), None, self.max_requests)
                    }));
                }
                Err(cause) => self.note(exchange, &cause),
            }
        }
        is_any.then(|| upstreams.into())
    }

    fn note(&self, exchange: &Exchange, cause: &str) {
        if let Some(suppressed) = self.log.permit() {
            tracing::error!(
                site = exchange.host(),
                cause,
                suppressed = (suppressed > 0).then_some(suppressed),
                "the dynamic upstreams could not be found out: is the name right, and do the \
                 name servers know it?"
            );
        }
    }
}

impl Source {
    async fn find(
        &self,
        exchange: &Exchange,
        transport: &Transport,
    ) -> Result<Arc<[(Box<str>, Endpoint)]>, String> {
        let question = self.kind.question(exchange)?;
        let key = question.to_string();
        let now = Instant::now();
        let known = self.known.lock().get(&*key).cloned();
        if let Some(found) = &known
            && now < found.until
        {
            return Ok(Arc::clone(&found.upstreams));
        }
        let resolver = self.resolver.as_ref().unwrap_or(&exchange.worker.resolver);
        let dials = self.kind.dials(&question, resolver).await;
        let found = match (dials, known) {
            (Ok(dials), _) => Found {
                until: now + self.refresh,
                upstreams: endpoints(dials, transport)?,
            },
            // Caddy: what is known is used on, and not asked for again meanwhile.
            (Err(_), Some(known)) if !self.grace.is_zero() => Found {
                until: now + self.grace,
                ..known
            },
            (Err(error), _) => return Err(error.to_string()),
        };
        let upstreams = Arc::clone(&found.upstreams);
        let mut known = self.known.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key.into(), found);
        Ok(upstreams)
    }
}

impl Kind {
    fn question(&self, exchange: &Exchange) -> Result<Question, String> {
        match self {
            Self::Addresses { name, port, .. } => {
                let name = name.expand(exchange);
                let port = port.expand(exchange);
                match port.parse() {
                    Ok(port) if port != 0 && !name.is_empty() => {
                        Ok(Question::Addresses(name.into_owned(), port))
                    }
                    _ => Err(format!("`{name}` and `{port}` are no name and port")),
                }
            }
            Self::Services {
                service,
                protocol,
                name,
            } => {
                let parts = [service, protocol, name].map(|part| part.expand(exchange));
                Ok(Question::Services(match &parts {
                    [service, protocol, name] if service.is_empty() && protocol.is_empty() => {
                        name.clone().into_owned()
                    }
                    [service, protocol, name] => format!("_{service}._{protocol}.{name}"),
                }))
            }
        }
    }

    async fn dials(&self, question: &Question, resolver: &Resolver) -> io::Result<Vec<Address>> {
        match (self, question) {
            (
                Self::Addresses {
                    takes_v4, takes_v6, ..
                },
                Question::Addresses(name, port),
            ) => {
                let found = resolver.resolve(name).await?.into_iter();
                let wanted = found.filter(|ip| if ip.is_ipv4() { *takes_v4 } else { *takes_v6 });
                let addresses = wanted.map(|ip| Address::Host {
                    host: ip.to_string().into(),
                    port: *port,
                });
                Ok(addresses.collect())
            }
            (_, Question::Addresses(name, _) | Question::Services(name)) => {
                let services = resolver.services(name).await?.into_iter();
                let addresses = services.map(|Service { host, port, .. }| Address::Host {
                    host: host.into(),
                    port,
                });
                Ok(addresses.collect())
            }
        }
    }
}

/// Upstreams with what they are called.
type Endpoints = Arc<[(Box<str>, Endpoint)]>;

fn endpoints(dials: Vec<Address>, transport: &Transport) -> Result<Endpoints, String> {
    let endpoints = dials.into_iter().map(|address| {
        let dial = address.to_string().into_boxed_str();
        let target = Target::new(transport.settings(address));
        let target = target.map_err(|error| Chain(&error).to_string())?;
        let state = UpstreamState::of(&dial);
        Ok((dial, Endpoint { target, state }))
    });
    endpoints.collect()
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(name, port) => write!(f, "{name}:{port}"),
            Self::Services(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.sources.iter().map(|source| &source.kind);
        f.debug_list().entries(kinds).finish()
    }
}
