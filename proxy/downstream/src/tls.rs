//! TLS for clients: settings, certificates and the choice among them.

mod certificate;
mod challenge;
mod client_authentication;
mod on_demand;
mod policies;
mod resolve;
mod table;
mod tickets;

use std::sync::{Arc, LazyLock};

use proto::sidecar::identity::provider;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};
use rustls::{
    CipherSuite, NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};

use crate::connection::Alpn;

pub use certificate::{Certificate, CertificateError};
pub(crate) use challenge::is_challenge;
pub use challenge::{ChallengeCertificate, TlsAlpnChallenges};
pub use client_authentication::ClientAuthentication;
use client_authentication::Verifier;
pub use on_demand::{Obtaining, OnDemand};
pub(crate) use policies::Policies;
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
    /// The cipher suites of TLS 1.2, in order of preference; empty are all that the library has.
    pub cipher_suites: Vec<CipherSuite>,
    /// Key exchange groups, in order of preference; empty are all that the library has.
    pub curves: Vec<NamedGroup>,
    /// Certificates that clients show; `None` asks for none. Sessions are not resumed then, for
    /// what was shown would not be looked at again.
    pub client_authentication: Option<ClientAuthentication>,
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
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            client_authentication: None,
        }
    }

    /// The cryptography, reduced to what is wanted.
    fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = provider();
        if !self.curves.is_empty() {
            let known = provider.kx_groups.clone();
            let find = |curve: &NamedGroup| known.iter().find(|group| group.name() == *curve);
            Arc::make_mut(&mut provider).kx_groups =
                self.curves.iter().filter_map(find).copied().collect();
        }
        if !self.cipher_suites.is_empty() {
            let known = provider.cipher_suites.clone();
            let find = |name: &CipherSuite| known.iter().find(|suite| suite.suite() == *name);
            // Go: those of TLS 1.3 cannot be chosen.
            let of_tls13 = known
                .iter()
                .filter(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
            let wanted = self.cipher_suites.iter().filter_map(find);
            let wanted = wanted.filter(|suite| matches!(suite, SupportedCipherSuite::Tls12(_)));
            Arc::make_mut(&mut provider).cipher_suites = of_tls13.chain(wanted).copied().collect();
        }
        provider
    }
}

/// A listener's TLS, ready to shake hands.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    pub(crate) config: Arc<ServerConfig>,
    /// What is otherwise for some names.
    pub(crate) policies: Policies,
    pub(crate) certificates: Arc<CertificateTable>,
    pub(crate) on_demand: Option<Arc<dyn OnDemand>>,
}

impl TlsSettings {
    /// Makes the settings that `options` describe.
    ///
    /// # Errors
    /// When no protocol version, cipher suite or group is left, or clients are to have a certificate
    /// of no authority.
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
        let builder = ServerConfig::builder_with_provider(options.provider())
            .with_protocol_versions(&versions)?;
        let builder = match &options.client_authentication {
            None => builder.with_no_client_auth(),
            Some(wanted) => builder.with_client_cert_verifier(Arc::new(Verifier::new(wanted)?)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolve::Resolver::new(
            Arc::clone(&options.certificates),
            options.default_server_name,
            options.fallback_server_name,
        )));
        config.alpn_protocols = alpn;
        match options.tickets {
            Some(tickets) if options.client_authentication.is_none() => {
                config.session_storage = Arc::clone(&SESSIONS);
                config.ticketer = tickets;
                // As Go does; each costs a record and an encryption per handshake.
                config.send_tls13_tickets = 1;
            }
            _ => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        Ok(Self {
            config: Arc::new(config),
            policies: Policies::default(),
            certificates: options.certificates,
            on_demand: options.on_demand,
        })
    }

    /// The same, but spoken as `others` with clients that ask for one of `names` (SNI), of which a
    /// `*` stands for one label. Where several are for a name, the first holds.
    #[must_use]
    pub fn with_policy(mut self, names: &[Box<str>], others: &Self) -> Self {
        self.policies.add(names, Arc::clone(&others.config));
        self
    }

    /// Whether handshakes cannot begin before it is known what the client asks for.
    pub(crate) fn awaits_hello(&self) -> bool {
        self.on_demand.is_some() || !self.policies.is_empty()
    }

    /// How TLS is spoken with a client that asks for a name, or for none.
    pub(crate) fn config_for(&self, server_name: Option<&str>) -> &Arc<ServerConfig> {
        server_name
            .and_then(|name| self.policies.find(name))
            .unwrap_or(&self.config)
    }
}
