//! TLS to upstreams: Caddy's options to ours.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use caddyfile::document::UpstreamTls;
use rustls::NamedGroup;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use upstream::{ClientCertificate, TlsOptions};

use super::some;
use crate::compile::Scope;

pub(super) fn options(document: &UpstreamTls, scope: &mut Scope) -> TlsOptions {
    let refused = [
        (
            !document.client_certificate_automate.is_empty(),
            "client_certificate_automate",
        ),
        (
            !matches!(document.renegotiation.as_str(), "" | "never"),
            "renegotiation",
        ),
    ];
    for (is_set, name) in refused {
        if is_set {
            scope.error(format!("`{name}` of TLS to upstreams is not supported"));
        }
    }
    let server_name = match document.server_name.as_str() {
        "" => None,
        name => Some(scope.constant(name).into()),
    };
    TlsOptions {
        server_name,
        insecure_skip_verify: document.insecure_skip_verify,
        roots: roots(document, scope),
        client_certificate: client_certificate(document, scope),
        curves: curves(&document.curves, scope),
        handshake_timeout: some(document.handshake_timeout)
            .unwrap_or_else(|| TlsOptions::default().handshake_timeout),
    }
}

fn curves(names: &[String], scope: &mut Scope) -> Vec<NamedGroup> {
    let curves = names.iter().filter_map(|name| {
        Some(match name.as_str() {
            "secp256r1" => NamedGroup::secp256r1,
            "secp384r1" => NamedGroup::secp384r1,
            "x25519" => NamedGroup::X25519,
            "x25519mlkem768" => NamedGroup::X25519MLKEM768,
            other => {
                scope.error_with_hint(
                    format!("the curve `{other}` is not supported"),
                    "use `x25519mlkem768`, `x25519`, `secp256r1` or `secp384r1`",
                );
                return None;
            }
        })
    });
    curves.collect()
}

fn roots(document: &UpstreamTls, scope: &mut Scope) -> Vec<CertificateDer<'static>> {
    let mut roots = Vec::new();
    let mut files: Vec<&str> = document
        .root_ca_pem_files
        .iter()
        .map(String::as_str)
        .collect();
    let mut inline: Vec<&str> = document.root_ca_pool.iter().map(String::as_str).collect();
    if let Some(module) = &document.ca {
        let texts = |key: &str| {
            let list = module
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            list.filter_map(Value::as_str)
        };
        match module.get("provider").and_then(Value::as_str) {
            Some("file") => files.extend(texts("pem_files")),
            Some("inline") => inline.extend(texts("trusted_ca_certs")),
            other => scope.error_with_hint(
                format!(
                    "the trust pool `{}` is not supported",
                    other.unwrap_or_default()
                ),
                "use `tls_trust_pool file FILE`",
            ),
        }
    }
    for file in files {
        let file = scope.constant(file);
        let path = scope.context.folder.join(file);
        match certificates(&path) {
            Ok(read) => roots.extend(read),
            Err(error) => scope.error(format!("reading {}: {error}", path.display())),
        }
    }
    for text in inline {
        match BASE64_STANDARD.decode(text) {
            Ok(der) => roots.push(CertificateDer::from(der)),
            Err(error) => scope.error(format!("a trusted certificate is no base64: {error}")),
        }
    }
    roots
}

fn client_certificate(document: &UpstreamTls, scope: &mut Scope) -> Option<Arc<ClientCertificate>> {
    let (chain, key) = (
        &document.client_certificate_file,
        &document.client_certificate_key_file,
    );
    if chain.is_empty() && key.is_empty() {
        return None;
    }
    let mut path = |file: &str| {
        let file = scope.constant(file);
        scope.context.folder.join(file)
    };
    let (chain, key) = (path(chain), path(key));
    let read = certificates(&chain)
        .map_err(|error| format!("reading {}: {error}", chain.display()))
        .and_then(|chain| {
            let key = PrivateKeyDer::from_pem_file(&key)
                .map_err(|error| format!("reading {}: {error}", key.display()))?;
            Ok(Arc::new(ClientCertificate { chain, key }))
        });
    match read {
        Ok(certificate) => Some(certificate),
        Err(message) => {
            scope.error(message);
            None
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect)
}
