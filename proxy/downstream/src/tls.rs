//! TLS for clients: settings, certificates and the choice among them.

mod certificate;
mod challenge;
mod on_demand;
mod resolve;
mod table;
mod tickets;

use std::sync::{Arc, LazyLock};

use proto::sidecar::identity::provider;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::connection::Alpn;

pub use certificate::{Certificate, CertificateError};
pub(crate) use challenge::is_challenge;
pub use challenge::{ChallengeCertificate, TlsAlpnChallenges};
pub use on_demand::{Obtaining, OnDemand};
pub(crate) use resolve::with_local_address;
pub use table::CertificateTable;
pub use tickets::{
    SessionTickets, TICKET_KEY_NAME_LEN, TICKET_KEY_SECRET_LEN, TicketKey, TicketKeyError,
};

/// TLS 1.2 sessions kept for clients that resume by session id; newer ones bring a ticket instead.
const SESSION_CACHE: usize = 4096;

static SESSIONS: LazyLock<Arc<dyn StoresServerSessions>> =
    LazyLock::new(|| ServerSessionMemoryCache::new(SESSION_CACHE));

/// What of TLS can be chosen.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Where certificates come from.
    pub certificates: Arc<CertificateTable>,
    /// The name to assume when a client sends none and its address has no certificate either.
    pub default_server_name: Option<Box<str>>,
    /// The name to assume when there is no certificate for the one that a client sent.
    pub fallback_server_name: Option<Box<str>>,
    /// What obtains certificates for names that have none when a client asks for them.
    pub on_demand: Option<Arc<dyn OnDemand>>,
    /// The keys of session tickets, the same for every listener and after a reload; `None` resumes
    /// no sessions at all.
    pub tickets: Option<Arc<SessionTickets>>,
    /// Whether HTTP/1.1 is offered.
    pub http1: bool,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub tls12: bool,
    /// Whether TLS 1.3 is spoken.
    pub tls13: bool,
}

impl TlsOptions {
    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1; no sessions are resumed and nothing is obtained.
    pub fn new(certificates: Arc<CertificateTable>) -> Self {
        Self {
            certificates,
            default_server_name: None,
            fallback_server_name: None,
            on_demand: None,
            tickets: None,
            http1: true,
            http2: true,
            tls12: true,
            tls13: true,
        }
    }
}

/// A listener's TLS, ready to shake hands.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificates: Arc<CertificateTable>,
    pub(crate) on_demand: Option<Arc<dyn OnDemand>>,
}

impl TlsSettings {
    /// Makes the settings that `options` describe.
    ///
    /// # Errors
    /// When no protocol version is left.
    pub fn new(options: TlsOptions) -> Result<Self, rustls::Error> {
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::with_capacity(2);
        if options.tls12 {
            versions.push(&rustls::version::TLS12);
        }
        if options.tls13 {
            versions.push(&rustls::version::TLS13);
        }
        let mut alpn = Vec::with_capacity(3);
        if options.http2 {
            alpn.push(Alpn::Http2.as_str().as_bytes().to_vec());
        }
        if options.http1 {
            alpn.push(Alpn::Http1.as_str().as_bytes().to_vec());
        }
        // Last, so that it is agreed on only with whoever speaks nothing else of these. The resolver
        // sees to it that this is an authority, and there is a challenge.
        alpn.push(challenge::PROTOCOL.to_vec());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolve::Resolver::new(
                Arc::clone(&options.certificates),
                options.default_server_name,
                options.fallback_server_name,
            )));
        config.alpn_protocols = alpn;
        match options.tickets {
            Some(tickets) => {
                config.session_storage = Arc::clone(&SESSIONS);
                config.ticketer = tickets;
                // As Go does; each costs a record and an encryption per handshake.
                config.send_tls13_tickets = 1;
            }
            None => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        Ok(Self {
            config: Arc::new(config),
            certificates: options.certificates,
            on_demand: options.on_demand,
        })
    }
}
