//! How a server's listeners speak TLS.

use std::sync::Arc;

use caddyfile::document::{ConnectionPolicy, Written};
use downstream::{TlsOptions, TlsSettings};
use rustls::{CipherSuite, NamedGroup};

use super::{TlsSources, client_authentication, speaks};
use crate::compile::{CompileError, Server};

/// The TLS of a server, if it speaks it.
///
/// Policies differ by the names that they are for. All of their certificates are found by name, so
/// a choice among certificates by label changes nothing.
pub(super) fn settings(
    server: &Server,
    sources: &TlsSources,
) -> Result<Option<TlsSettings>, Vec<CompileError>> {
    let policies = &server.settings.tls_connection_policies;
    if policies.is_empty() {
        return Ok(None);
    }
    let mut general = TlsOptions::new(Arc::clone(&sources.certificates));
    general.on_demand.clone_from(&sources.on_demand);
    general.tickets.clone_from(&sources.tickets);
    general.http1 = speaks(&server.settings, "h1");
    general.http2 = speaks(&server.settings, "h2");
    for policy in policies {
        if !policy.default_sni.is_empty() {
            general.default_server_name = Some(policy.default_sni.to_lowercase().into());
        }
        if !policy.fallback_sni.is_empty() {
            general.fallback_server_name = Some(policy.fallback_sni.to_lowercase().into());
        }
    }
    let mut compiler = Compiler {
        server: &server.name,
        general,
        errors: Vec::new(),
    };
    let everyone = policies.iter().position(|policy| names(policy).is_empty());
    // Caddy: what follows a policy for everyone is for nobody.
    let named = &policies[..everyone.unwrap_or(policies.len())];
    let default = ConnectionPolicy::default();
    let (first, rest) = match (everyone, named) {
        (Some(index), _) => (index, &policies[index]),
        (None, [policy, others @ ..]) if others.iter().all(|other| is_alike(other, policy)) => {
            (0, policy)
        }
        (None, _) => (0, &default),
    };
    if everyone.is_some() {
        compiler.check(first, rest);
    }
    let base = compiler.compile(first, rest);
    let mut settings = base.clone();
    let is_uniform = named.iter().all(|policy| is_alike(policy, rest));
    for (index, policy) in named.iter().enumerate() {
        compiler.check(index, policy);
        // One that is like the rest still takes its names from a wildcard's policy behind it.
        let own = if is_alike(policy, rest) {
            base.clone()
        } else {
            compiler.compile(index, policy)
        };
        if !is_uniform {
            settings = settings
                .zip(own)
                .map(|(settings, own)| settings.with_policy(&names(policy), &own));
        }
    }
    if compiler.errors.is_empty() {
        Ok(settings)
    } else {
        Err(compiler.errors)
    }
}

/// Compiles the policies of one server.
struct Compiler<'a> {
    server: &'a str,
    /// What is the same for all of them.
    general: TlsOptions,
    errors: Vec<CompileError>,
}

impl Compiler<'_> {
    fn path(&self, index: usize) -> String {
        let server = self.server;
        format!("apps.http.servers.{server}.tls_connection_policies[{index}]")
    }

    fn compile(&mut self, index: usize, policy: &ConnectionPolicy) -> Option<TlsSettings> {
        let path = self.path(index);
        let settings = options(policy, &self.general, &path).and_then(|options| {
            TlsSettings::new(options).map_err(|error| {
                let message = format!("TLS cannot be set up: {error}");
                vec![CompileError::new(&path, message)]
            })
        });
        match settings {
            Ok(settings) => Some(settings),
            Err(errors) => {
                self.refuse(policy, errors);
                None
            }
        }
    }

    /// Refuses what a policy asks for and is not done.
    fn check(&mut self, index: usize, policy: &ConnectionPolicy) {
        let errors = unsupported(policy, &self.path(index));
        self.refuse(policy, errors);
    }

    fn refuse(&mut self, policy: &ConnectionPolicy, errors: Vec<CompileError>) {
        let errors = errors.into_iter();
        self.errors
            .extend(errors.map(|error| error.with_origin(policy.written.0)));
    }
}

/// The names that a policy is for; none is all.
fn names(policy: &ConnectionPolicy) -> Vec<Box<str>> {
    let matcher = policy.r#match.iter();
    matcher
        .flat_map(|matcher| &matcher.sni)
        .map(|name| name.as_str().into())
        .collect()
}

/// Whether connections of two policies are set up in the same way, but for their certificates.
fn is_alike(one: &ConnectionPolicy, other: &ConnectionPolicy) -> bool {
    let set_up = |policy: &ConnectionPolicy| ConnectionPolicy {
        written: Written::default(),
        r#match: None,
        certificate_selection: None,
        default_sni: String::new(),
        fallback_sni: String::new(),
        ..policy.clone()
    };
    set_up(one) == set_up(other)
}

/// The options of one policy.
fn options(
    policy: &ConnectionPolicy,
    general: &TlsOptions,
    path: &str,
) -> Result<TlsOptions, Vec<CompileError>> {
    let mut errors = Vec::new();
    let mut options = general.clone();
    match versions(policy) {
        Some(versions) => (options.tls12, options.tls13) = versions,
        None => errors.push(
            CompileError::new(path, "these TLS versions cannot be spoken")
                .with_hint("use `tls1.2` or `tls1.3`, the lower one first"),
        ),
    }
    if !policy.alpn.is_empty() {
        options.http1 &= policy.alpn.iter().any(|alpn| alpn == "http/1.1");
        options.http2 &= policy.alpn.iter().any(|alpn| alpn == "h2");
    }
    match chosen(&policy.cipher_suites, cipher_suite) {
        Ok(suites) => options.cipher_suites = suites,
        Err(names) => errors.push(
            CompileError::new(
                format_args!("{path}.cipher_suites"),
                format!("no cipher suite among `{names}` is spoken"),
            )
            .with_hint("the AES-GCM and CHACHA20-POLY1305 suites of ECDHE are"),
        ),
    }
    match chosen(&policy.curves, curve) {
        Ok(curves) => options.curves = curves,
        Err(names) => errors.push(
            CompileError::new(
                format_args!("{path}.curves"),
                format!("no curve among `{names}` is spoken"),
            )
            .with_hint("`x25519mlkem768`, `x25519`, `secp256r1` and `secp384r1` are"),
        ),
    }
    if let Some(document) = &policy.client_authentication {
        let path = format!("{path}.client_authentication");
        match client_authentication::compile(document, &path) {
            Ok(wanted) => options.client_authentication = Some(wanted),
            Err(mut found) => errors.append(&mut found),
        }
    }
    if errors.is_empty() {
        Ok(options)
    } else {
        Err(errors)
    }
}

/// What is spoken of a list, which keeps its order; the list itself if nothing is.
fn chosen<T>(names: &[String], known: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let found: Vec<T> = names.iter().filter_map(|name| known(name)).collect();
    if found.is_empty() && !names.is_empty() {
        return Err(names.join(", "));
    }
    Ok(found)
}

/// A suite by its IANA name. Those of TLS 1.3 are spoken whether named or not, as in Go.
fn cipher_suite(name: &str) -> Option<CipherSuite> {
    use CipherSuite as Suite;

    Some(match name {
        "TLS_AES_128_GCM_SHA256" => Suite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => Suite::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => Suite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    })
}

fn curve(name: &str) -> Option<NamedGroup> {
    Some(match name {
        "x25519mlkem768" => NamedGroup::X25519MLKEM768,
        "x25519" => NamedGroup::X25519,
        "secp256r1" => NamedGroup::secp256r1,
        "secp384r1" => NamedGroup::secp384r1,
        _ => return None,
    })
}

/// What a policy asks for and is not done.
fn unsupported(policy: &ConnectionPolicy, path: &str) -> Vec<CompileError> {
    let matcher = policy.r#match.as_ref();
    let selection = policy.certificate_selection.as_ref();
    let fields = [
        ("drop", policy.drop),
        (
            "insecure_secrets_log",
            !policy.insecure_secrets_log.is_empty(),
        ),
        (
            "match.sni_regexp",
            matcher.is_some_and(|matcher| matcher.sni_regexp.is_some()),
        ),
        (
            "match.remote_ip",
            matcher.is_some_and(|matcher| matcher.remote_ip.is_some()),
        ),
        (
            "match.local_ip",
            matcher.is_some_and(|matcher| matcher.local_ip.is_some()),
        ),
        (
            "certificate_selection",
            selection.is_some_and(|selection| {
                !selection.serial_number.is_empty()
                    || !selection.subject_organization.is_empty()
                    || !selection.public_key_algorithm.is_empty()
            }),
        ),
    ];
    let used = fields.into_iter().filter(|(_, is_used)| *is_used);
    used.map(|(field, _)| {
        let name = field.rsplit('.').next().unwrap_or(field);
        CompileError::new(
            format_args!("{path}.{field}"),
            format!("`{name}` is not supported"),
        )
    })
    .collect()
}

/// Whether TLS 1.2 and whether TLS 1.3 are spoken; `None` when the policy leaves neither.
fn versions(policy: &ConnectionPolicy) -> Option<(bool, bool)> {
    let version = |name: &str, default| match name {
        "" => Some(default),
        "tls1.2" => Some(2),
        "tls1.3" => Some(3),
        _ => None,
    };
    let (min, max) = (
        version(&policy.protocol_min, 2)?,
        version(&policy.protocol_max, 3)?,
    );
    (min <= max).then_some((min == 2, max == 3))
}
