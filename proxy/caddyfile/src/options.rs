//! Global options: the block without addresses at the start of a Caddyfile.
//! Caddy: `httpcaddyfile/options.go`, `serveroptions.go`, `pkiapp.go`.

mod admin;
mod pki;
mod servers;
mod storage;
mod tls;

pub(crate) use self::servers::ServerOptions;
pub(crate) use self::storage::parse_storage;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{
    self, Bind, SiteLog, State, duration, integer, is_supported, one_value, parse_bind,
    parse_dns_provider, parse_issuer, parse_log, parse_preferred_chains, ratio,
};
use crate::document::{
    Admin, CertificateAuthority, Duration, ExternalAccount, HttpMetrics, Issuer, OnDemand,
    PreferredChains,
};
use crate::order;
use crate::token::Token;

/// What the global options say; absent is Caddy's default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) acme_ca: Option<String>,
    pub(crate) acme_ca_root: Option<String>,
    /// DNS-01 for all names; with `dns` set the provider may be left out.
    pub(crate) acme_dns: Option<Option<Json>>,
    pub(crate) acme_eab: Option<ExternalAccount>,
    pub(crate) admin: Option<Admin>,
    pub(crate) auto_https: Vec<String>,
    pub(crate) cert_issuers: Vec<Issuer>,
    pub(crate) cert_lifetime: Option<Duration>,
    pub(crate) debug: bool,
    pub(crate) default_bind: Vec<Bind>,
    pub(crate) default_sni: String,
    pub(crate) dns: Option<Json>,
    pub(crate) email: Option<String>,
    pub(crate) encrypted_client_hello: Option<Json>,
    pub(crate) events: Option<Json>,
    pub(crate) fallback_sni: String,
    pub(crate) grace_period: Duration,
    pub(crate) http_port: Option<u16>,
    pub(crate) https_port: Option<u16>,
    pub(crate) key_type: Option<String>,
    pub(crate) local_certs: bool,
    pub(crate) logs: Vec<SiteLog>,
    pub(crate) metrics: Option<HttpMetrics>,
    pub(crate) ocsp_interval: Option<Duration>,
    pub(crate) ocsp_stapling_off: bool,
    pub(crate) on_demand_tls: Option<OnDemand>,
    /// Directives in the order of their routes.
    pub(crate) order: Vec<&'static str>,
    pub(crate) persist_config_off: bool,
    pub(crate) pki: BTreeMap<String, CertificateAuthority>,
    pub(crate) preferred_chains: Option<PreferredChains>,
    pub(crate) renew_interval: Option<Duration>,
    pub(crate) renewal_window_ratio: Option<f64>,
    pub(crate) resolvers: Vec<String>,
    /// Settings of servers, those with the longest address first.
    pub(crate) servers: Vec<ServerOptions>,
    pub(crate) shutdown_delay: Duration,
    pub(crate) skip_install_trust: bool,
    pub(crate) storage: Option<Map<String, Json>>,
    pub(crate) storage_check_off: bool,
    /// Time between cleanings of the storage; `Some(None)` is never.
    pub(crate) storage_clean_interval: Option<Option<Duration>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            acme_ca: None,
            acme_ca_root: None,
            acme_dns: None,
            acme_eab: None,
            admin: None,
            auto_https: Vec::new(),
            cert_issuers: Vec::new(),
            cert_lifetime: None,
            debug: false,
            default_bind: Vec::new(),
            default_sni: String::new(),
            dns: None,
            email: None,
            encrypted_client_hello: None,
            events: None,
            fallback_sni: String::new(),
            grace_period: Duration::default(),
            http_port: None,
            https_port: None,
            key_type: None,
            local_certs: false,
            logs: Vec::new(),
            metrics: None,
            ocsp_interval: None,
            ocsp_stapling_off: false,
            on_demand_tls: None,
            order: order::DEFAULT.to_vec(),
            persist_config_off: false,
            pki: BTreeMap::new(),
            preferred_chains: None,
            renew_interval: None,
            renewal_window_ratio: None,
            resolvers: Vec::new(),
            servers: Vec::new(),
            shutdown_delay: Duration::default(),
            skip_install_trust: false,
            storage: None,
            storage_check_off: false,
            storage_clean_interval: None,
        }
    }
}

const NAMES: &[&str] = &[
    "acme_ca",
    "acme_ca_root",
    "acme_dns",
    "acme_eab",
    "admin",
    "auto_https",
    "cert_issuer",
    "cert_lifetime",
    "debug",
    "default_bind",
    "default_sni",
    "dns",
    "ech",
    "email",
    "events",
    "fallback_sni",
    "filesystem",
    "grace_period",
    "http_port",
    "https_port",
    "key_type",
    "local_certs",
    "log",
    "metrics",
    "ocsp_interval",
    "ocsp_stapling",
    "on_demand_tls",
    "order",
    "persist_config",
    "pki",
    "preferred_chains",
    "renew_interval",
    "renewal_window_ratio",
    "servers",
    "shutdown_delay",
    "skip_install_trust",
    "storage",
    "storage_check",
    "storage_clean_interval",
    "tls_resolvers",
];

impl Options {
    /// Reads the options, each from its own tokens; what is wrong goes to `state`.
    pub(crate) fn parse<'t>(
        segments: impl IntoIterator<Item = &'t [Token]>,
        state: &mut State,
    ) -> Self {
        let mut options = Self::default();
        for tokens in segments {
            let mut cursor = Cursor::new(tokens);
            let Some(token) = cursor.next_token() else {
                continue;
            };
            if !is_supported(&token.text) {
                let message = format!("global option `{}` is not supported yet", token.text);
                state
                    .diagnostics
                    .push(Diagnostic::unsupported_at(token, message));
            }
            if let Err(diagnostic) = options.parse_option(token, &mut cursor, state) {
                state.diagnostics.push(diagnostic);
            }
        }
        // The most specific address comes first; one without is for all other servers.
        options
            .servers
            .sort_by_key(|server| std::cmp::Reverse(server.listener.len()));
        options
    }

    /// The port of plain HTTP.
    pub(crate) fn http_port(&self) -> u16 {
        self.http_port.unwrap_or(80)
    }

    /// The port of HTTPS.
    pub(crate) fn https_port(&self) -> u16 {
        self.https_port.unwrap_or(443)
    }

    /// Whether `auto_https` has `word`.
    pub(crate) fn auto_https_has(&self, word: &str) -> bool {
        self.auto_https.iter().any(|known| known == word)
    }

    fn parse_option(
        &mut self,
        token: &Token,
        cursor: &mut Cursor<'_>,
        state: &mut State,
    ) -> Result<(), Diagnostic> {
        match token.text.as_str() {
            "acme_ca" => self.acme_ca = Some(one_value(cursor)?),
            "acme_ca_root" => self.acme_ca_root = Some(one_value(cursor)?),
            "acme_dns" => self.acme_dns = Some(provider(cursor, state)?),
            "acme_eab" => self.acme_eab = Some(tls::parse_external_account(cursor)?),
            "admin" => self.admin = Some(admin::parse(cursor)?),
            "auto_https" => self.auto_https = tls::parse_auto_https(cursor)?,
            "cert_issuer" => {
                cursor.expect_arg()?;
                self.cert_issuers.push(parse_issuer(
                    &mut cursor.from_next_segment(),
                    &mut state.diagnostics,
                )?);
            }
            "cert_lifetime" => self.cert_lifetime = Some(duration(cursor)?),
            "debug" => self.debug = true,
            "default_bind" => {
                let mut bind = parse_bind(cursor)?;
                if bind.addresses.is_empty() {
                    bind.addresses.push(String::new());
                }
                self.default_bind.push(bind);
            }
            "default_sni" => self.default_sni = one_value(cursor)?,
            "dns" => self.dns = provider(cursor, state)?,
            "ech" => self.encrypted_client_hello = Some(tls::parse_ech(token, cursor, state)?),
            "email" => self.email = Some(one_value(cursor)?),
            "fallback_sni" => self.fallback_sni = one_value(cursor)?,
            "grace_period" => self.grace_period = duration(cursor)?,
            "http_port" => self.http_port = Some(port(cursor)?),
            "https_port" => self.https_port = Some(port(cursor)?),
            "key_type" => self.key_type = Some(one_value(cursor)?),
            "local_certs" => self.local_certs = true,
            "log" => self.parse_log(cursor, state)?,
            "metrics" => self.metrics = Some(servers::parse_metrics(cursor)?),
            "ocsp_interval" => self.ocsp_interval = Some(duration(cursor)?),
            "ocsp_stapling" => {
                expect_off(cursor)?;
                self.ocsp_stapling_off = true;
            }
            "on_demand_tls" => self.on_demand_tls = Some(tls::parse_on_demand(cursor)?),
            "order" => self.parse_order(cursor)?,
            "persist_config" => {
                expect_off(cursor)?;
                self.persist_config_off = true;
            }
            "pki" => pki::parse(cursor, &mut self.pki)?,
            "preferred_chains" => self.preferred_chains = Some(parse_preferred_chains(cursor)?),
            "renew_interval" => self.renew_interval = Some(duration(cursor)?),
            "renewal_window_ratio" => self.renewal_window_ratio = Some(ratio(cursor)?),
            "servers" => {
                let server = ServerOptions::parse(token, cursor, state)?;
                if self
                    .servers
                    .iter()
                    .any(|known| known.listener == server.listener)
                {
                    let message = format!(
                        "cannot have `servers` global options with duplicate listener addresses: {}",
                        server.listener
                    );
                    return Err(Diagnostic::error_at(token, message));
                }
                self.servers.push(server);
            }
            "shutdown_delay" => self.shutdown_delay = duration(cursor)?,
            "skip_install_trust" => self.skip_install_trust = true,
            "storage" => {
                cursor.expect_arg()?;
                self.storage = Some(parse_storage(&mut cursor.from_next_segment())?);
            }
            "storage_check" => {
                expect_off(cursor)?;
                self.storage_check_off = true;
            }
            "storage_clean_interval" => {
                let is_off = cursor
                    .clone()
                    .next_arg()
                    .is_some_and(|word| word.text == "off");
                let interval = if is_off {
                    None
                } else {
                    Some(duration(cursor)?)
                };
                self.storage_clean_interval = Some(interval);
            }
            "tls_resolvers" => {
                self.resolvers = cursor.remaining_values();
                if self.resolvers.is_empty() {
                    return Err(cursor.argument_error());
                }
            }
            name => return Err(unknown_option(token, name)),
        }
        Ok(())
    }

    fn parse_log(&mut self, cursor: &mut Cursor<'_>, state: &mut State) -> Result<(), Diagnostic> {
        let name = cursor
            .next_arg()
            .map_or("default", |token| token.text.as_str());
        cursor.expect_end_of_args()?;
        if self.logs.iter().any(|log| log.name == name) {
            let message = format!("duplicate global log option for: {name}");
            return Err(cursor.error_here(message));
        }
        let log = parse_log(cursor, true, state)?;
        self.logs.push(SiteLog {
            name: name.to_owned(),
            ..log
        });
        Ok(())
    }

    /// `order <directive> first|last|before <directive>|after <directive>`
    fn parse_order(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        let token = cursor.expect_arg()?;
        let Some(name) = directive::names().find(|name| *name == token.text) else {
            let message = format!("{} is not a registered directive", token.text);
            let diagnostic = Diagnostic::error_at(token, message);
            return Err(diagnostic.with_suggestion(&token.text, directive::names()));
        };
        let position = cursor.expect_arg()?;
        let mut order = self.order.clone();
        order.retain(|known| *known != name);
        let index = match position.text.as_str() {
            "first" => 0,
            "last" => order.len(),
            word @ ("before" | "after") => {
                let other = cursor.expect_arg()?;
                let found = order.iter().position(|known| *known == other.text);
                let index = found.ok_or_else(|| {
                    Diagnostic::error_at(other, format!("directive `{}` not found", other.text))
                        .with_suggestion(&other.text, order.iter().copied())
                })?;
                if word == "after" { index + 1 } else { index }
            }
            word => {
                let message = format!("unknown positional `{word}`");
                let known = ["after", "before", "first", "last"];
                return Err(Diagnostic::error_at(position, message).with_suggestion(word, known));
            }
        };
        cursor.expect_end_of_args()?;
        order.insert(index, name);
        self.order = order;
        Ok(())
    }
}

fn unknown_option(token: &Token, name: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error_at(token, format!("unrecognized global option: {name}"));
    if directive::names().any(|directive| directive == name) {
        let help = "the block without an address holds global options; directives belong into a \
                    site's block, behind its address";
        return diagnostic.with_help(help);
    }
    diagnostic.with_suggestion(name, NAMES.iter().copied())
}

fn provider(cursor: &mut Cursor<'_>, state: &mut State) -> Result<Option<Json>, Diagnostic> {
    if cursor.next_arg().is_none() {
        return Ok(None);
    }
    let mut provider = cursor.from_next_segment();
    provider.next_token();
    parse_dns_provider(&mut provider, &mut state.diagnostics).map(Some)
}

fn expect_off(cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
    let name = cursor.value();
    let word = one_value(cursor)?;
    if word == "off" {
        return Ok(());
    }
    Err(cursor.error_here(format!("{name} must be `off`")))
}

fn port(cursor: &mut Cursor<'_>) -> Result<u16, Diagnostic> {
    let number = integer(cursor)?;
    cursor.expect_end_of_args()?;
    u16::try_from(number).map_err(|_| cursor.error_here(format!("port {number} is out of range")))
}
