//! `tls`: certificates of a site and settings of its connections.

mod client_auth;
mod dns;
mod issuer;
mod known;

pub(crate) use self::client_auth::parse_trust_pool;
pub(crate) use self::dns::parse_dns_provider;
pub(crate) use self::issuer::{parse_issuer, parse_preferred_chains};

use serde_json::Value as Json;

use self::issuer::parse_acme_option;
use self::known::{CIPHER_SUITES, CURVES, check_known};
use super::{Context, Value, Values, one_value};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{
    AcmeIssuer, CertificateSelection, ConnectionPolicy, InternalIssuer, Issuer, LoadFiles,
};
use crate::token::Token;

/// The directory of ZeroSSL, which is tried after Let's Encrypt where an email address is known.
const ZEROSSL_DIRECTORY: &str = "https://acme.zerossl.com/v2/DV90";

const SUBDIRECTIVES: &[&str] = &[
    "alpn",
    "ca",
    "ca_root",
    "ciphers",
    "client_auth",
    "curves",
    "dns",
    "dns_challenge_override_domain",
    "dns_ttl",
    "eab",
    "get_certificate",
    "insecure_secrets_log",
    "issuer",
    "key_type",
    "load",
    "on_demand",
    "propagation_delay",
    "propagation_timeout",
    "protocols",
    "renewal_window_ratio",
    "resolvers",
    "reuse_private_keys",
];

/// Options of the DNS challenge besides its provider.
const DNS_OPTIONS: &[&str] = &[
    "dns_challenge_override_domain",
    "dns_ttl",
    "propagation_delay",
    "propagation_timeout",
    "resolvers",
];

/// What a site says about TLS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SiteTls {
    /// Settings of connections.
    pub(crate) connection: ConnectionPolicy,
    /// Certificates in files that no site before loads.
    pub(crate) load_files: Vec<LoadFiles>,
    /// Folders with certificates.
    pub(crate) load_folders: Vec<String>,
    /// Issuers in order; empty is the default.
    pub(crate) issuers: Vec<Issuer>,
    /// Modules that give certificates during the handshake.
    pub(crate) managers: Vec<Json>,
    /// Type of keys; empty is the default.
    pub(crate) key_type: String,
    /// Obtains certificates during the first handshake.
    pub(crate) on_demand: bool,
    /// Keeps keys at renewal.
    pub(crate) reuse_private_keys: bool,
    /// Obtains a certificate although a wildcard one fits.
    pub(crate) force_automate: bool,
    /// Share of the lifetime that is left at renewal; 0 is the default.
    pub(crate) renewal_window_ratio: f64,
}

/// ```text
/// tls [internal|force_automate|<email>] | [<certificate file> <key file>] {
///     <subdirectives>
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Values {
    let before = cursor.clone();
    let arguments = cursor.remaining_args();
    let mut reader = Reader::default();
    if let Some(name) = before.token() {
        reader.tls.connection.written = name.into();
    }
    match arguments.as_slice() {
        [] => {}
        [word] => reader.argument(word)?,
        [certificate, key] => reader.files(certificate, key, context),
        _ => return Err(before.argument_error()),
    }

    let mut has_block = false;
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        has_block = true;
        if DNS_OPTIONS.contains(&token.text.as_str()) {
            reader.dns_options.push(token);
        }
        if !(reader.connection_option(token, cursor)?
            || reader.certificate_option(token, cursor, context)?
            || parse_acme_option(
                token,
                cursor,
                &mut reader.acme,
                &mut context.state.diagnostics,
            )?)
        {
            return Err(cursor.unknown_subdirective("tls", SUBDIRECTIVES.iter().copied()));
        }
    }
    if arguments.is_empty() && !has_block {
        return Err(before.argument_error());
    }
    reader.check_dns_options(context)?;
    reader
        .finish(&before, context)
        .map(|tls| vec![Value::Tls(Box::new(tls))])
}

/// What is known of a `tls` while its block is read.
#[derive(Default)]
struct Reader<'t> {
    tls: SiteTls,
    acme: Option<AcmeIssuer>,
    internal: bool,
    /// Options that only mean something with a DNS provider.
    dns_options: Vec<&'t Token>,
    has_dns: bool,
}

impl Reader<'_> {
    fn argument(&mut self, word: &Token) -> Result<(), Diagnostic> {
        match word.text.as_str() {
            "internal" => self.internal = true,
            "force_automate" => self.tls.force_automate = true,
            email if email.contains('@') => {
                self.acme = Some(AcmeIssuer {
                    email: email.to_owned(),
                    ..AcmeIssuer::default()
                });
            }
            _ => {
                let message = "single argument must either be `internal`, `force_automate`, or \
                               an email address";
                return Err(Diagnostic::error_at(word, message)
                    .with_help("certificate files come in pairs: `tls cert.pem key.pem`"));
            }
        }
        Ok(())
    }

    /// Loads a certificate once and refers to it by its label from then on.
    fn files(&mut self, certificate: &Token, key: &Token, context: &mut Context<'_>) {
        let labels = &mut context.state.certificate_labels;
        let next = format!("cert{}", labels.len());
        let label = labels.entry(certificate.text.clone()).or_insert_with(|| {
            self.tls.load_files.push(LoadFiles {
                written: certificate.into(),
                certificate: certificate.text.clone(),
                key: key.text.clone(),
                format: String::new(),
                tags: vec![next.clone()],
            });
            next
        });
        self.tls.connection.certificate_selection = Some(CertificateSelection {
            any_tag: vec![label.clone()],
            ..CertificateSelection::default()
        });
    }

    fn connection_option(
        &mut self,
        token: &Token,
        cursor: &mut Cursor<'_>,
    ) -> Result<bool, Diagnostic> {
        let connection = &mut self.tls.connection;
        match token.text.as_str() {
            "protocols" => {
                let versions = cursor.remaining_args();
                if versions.is_empty() {
                    return Err(cursor.error_here("protocols requires one or two arguments"));
                }
                for (version, field) in versions
                    .into_iter()
                    .zip([&mut connection.protocol_min, &mut connection.protocol_max])
                {
                    let message = "wrong protocol name or protocol not supported";
                    check_known(version, &["tls1.2", "tls1.3"], message)?;
                    field.clone_from(&version.text);
                }
            }
            "ciphers" => {
                for cipher in cursor.remaining_args() {
                    let message = "wrong cipher suite name or cipher suite not supported";
                    check_known(cipher, CIPHER_SUITES, message)?;
                    connection.cipher_suites.push(cipher.text.clone());
                }
            }
            "curves" => {
                for curve in cursor.remaining_args() {
                    check_known(curve, CURVES, "wrong curve name or curve not supported")?;
                    connection.curves.push(curve.text.clone());
                }
            }
            "alpn" => {
                connection.alpn = cursor.remaining_values();
                if connection.alpn.is_empty() {
                    return Err(cursor.argument_error());
                }
            }
            "client_auth" => {
                let block = &mut cursor.from_next_segment();
                connection.client_authentication = Some(client_auth::parse(block)?);
            }
            "insecure_secrets_log" => {
                connection.insecure_secrets_log = cursor.expect_arg()?.text.clone();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn certificate_option(
        &mut self,
        token: &Token,
        cursor: &mut Cursor<'_>,
        context: &mut Context<'_>,
    ) -> Result<bool, Diagnostic> {
        let tls = &mut self.tls;
        match token.text.as_str() {
            "load" => tls.load_folders.extend(cursor.remaining_values()),
            "key_type" => tls.key_type = one_value(cursor)?,
            "on_demand" => {
                context.use_feature(token, "tls on_demand");
                cursor.expect_end_of_args()?;
                tls.on_demand = true;
            }
            "reuse_private_keys" => {
                cursor.expect_end_of_args()?;
                tls.reuse_private_keys = true;
            }
            "renewal_window_ratio" => tls.renewal_window_ratio = ratio(cursor)?,
            "issuer" => {
                cursor.expect_arg()?;
                tls.issuers.push(parse_issuer(
                    &mut cursor.from_next_segment(),
                    &mut context.state.diagnostics,
                )?);
            }
            "get_certificate" => {
                context.use_feature(token, "tls get_certificate");
                cursor.expect_arg()?;
                tls.managers
                    .push(parse_manager(&mut cursor.from_next_segment())?);
            }
            "dns" => {
                self.has_dns = true;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check_dns_options(&self, context: &Context<'_>) -> Result<(), Diagnostic> {
        let challenges = self.acme.as_ref().and_then(|acme| acme.challenges.as_ref());
        let dns = challenges.and_then(|challenges| challenges.dns.as_ref());
        let has_provider = dns.is_some_and(|dns| dns.provider.is_some())
            || context.options.acme_dns.is_some()
            || (self.has_dns && context.options.dns.is_some());
        let Some(first) = self.dns_options.first() else {
            return Ok(());
        };
        if has_provider {
            return Ok(());
        }
        let names: Vec<&str> = self
            .dns_options
            .iter()
            .map(|option| option.text.as_str())
            .collect();
        let message = format!(
            "setting DNS challenge options [{}] requires a DNS provider",
            names.join(", ")
        );
        Err(Diagnostic::error_at(first, message)
            .with_help("set it with the `dns` subdirective or the `acme_dns` global option"))
    }

    fn finish(mut self, cursor: &Cursor<'_>, context: &Context<'_>) -> Result<SiteTls, Diagnostic> {
        if !self.tls.issuers.is_empty() && (self.acme.is_some() || self.internal) {
            let message = "cannot mix issuer subdirective (explicit issuers) with other \
                           issuer-specific subdirectives (implicit issuers)";
            return Err(cursor.error_here(message));
        }
        if self.acme.is_some() && self.internal {
            let message = "cannot create both ACME and internal certificate issuers";
            return Err(cursor.error_here(message));
        }
        if let Some(acme) = self.acme {
            self.tls.issuers = issuers_with(acme, &context.options.cert_issuers);
        } else if self.internal {
            self.tls.issuers = vec![Issuer::Internal(InternalIssuer::default())];
        }
        Ok(self.tls)
    }
}

/// The issuers that are tried where none is written: with an email address ZeroSSL's too.
pub(crate) fn default_issuers(email: &str) -> Vec<Issuer> {
    implicit_issuers(AcmeIssuer {
        email: email.to_owned(),
        ..AcmeIssuer::default()
    })
}

/// The issuers that a site's own ACME settings mean: the global ones of ACME with these settings,
/// or else the default ones.
fn issuers_with(acme: AcmeIssuer, global: &[Issuer]) -> Vec<Issuer> {
    let known = global.iter().filter_map(|issuer| match issuer {
        Issuer::Acme(known) => Some(Issuer::Acme(Box::new(overlay(known, &acme)))),
        Issuer::Internal(_) | Issuer::Other(_) | Issuer::ZeroSsl(_) => None,
    });
    let known: Vec<Issuer> = known.collect();
    if known.is_empty() {
        implicit_issuers(acme)
    } else {
        known
    }
}

/// `base` with what `own` says.
fn overlay(base: &AcmeIssuer, own: &AcmeIssuer) -> AcmeIssuer {
    let mut merged = base.clone();
    if !own.ca.is_empty() {
        merged.ca.clone_from(&own.ca);
    }
    if !own.email.is_empty() {
        merged.email.clone_from(&own.email);
    }
    if own.external_account.is_some() {
        merged.external_account.clone_from(&own.external_account);
    }
    let roots = own.trusted_roots_pem_files.iter().cloned();
    merged.trusted_roots_pem_files.extend(roots);
    if let Some(dns) = own.challenges.as_ref().and_then(|own| own.dns.as_ref()) {
        merged.challenges.get_or_insert_default().dns = Some(dns.clone());
    }
    merged
}

fn implicit_issuers(acme: AcmeIssuer) -> Vec<Issuer> {
    let mut issuers = vec![Issuer::Acme(Box::new(acme.clone()))];
    if acme.ca.is_empty() && !acme.email.is_empty() {
        let zerossl = AcmeIssuer {
            ca: ZEROSSL_DIRECTORY.to_owned(),
            ..acme
        };
        issuers.push(Issuer::Acme(Box::new(zerossl)));
    }
    issuers
}

/// The share of a lifetime, between 0 and 1.
pub(crate) fn ratio(cursor: &mut Cursor<'_>) -> Result<f64, Diagnostic> {
    let token = cursor.expect_arg()?;
    let ratio: Option<f64> = token.text.parse().ok();
    cursor.expect_end_of_args()?;
    ratio
        .filter(|ratio| *ratio > 0.0 && *ratio < 1.0)
        .ok_or_else(|| {
            let message = format!(
                "renewal_window_ratio must be between 0 and 1: `{}`",
                token.text
            );
            Diagnostic::error_at(token, message)
        })
}

fn parse_manager(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    cursor.next_token();
    match cursor.value() {
        "http" => Ok(serde_json::json!({ "url": one_value(cursor)?, "via": "http" })),
        "tailscale" => {
            cursor.expect_end_of_args()?;
            Ok(serde_json::json!({ "via": "tailscale" }))
        }
        name => {
            let diagnostic = cursor.error_here(format!("unknown certificate manager `{name}`"));
            Err(diagnostic.with_suggestion(name, ["http", "tailscale"]))
        }
    }
}
