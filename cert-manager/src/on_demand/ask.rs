//! The question to the operator's app whether a name may be certified.

use std::sync::Arc;
use std::time::Duration;

use proto::sidecar::dns::Resolver;
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::issuer::acme::Lookup;
use crate::name::Name;

/// How long an answer may take in all. Caddy: the same.
const TIMEOUT: Duration = Duration::from_secs(10);

const AGENT: &str = concat!("portico-cert-manager/", env!("CARGO_PKG_VERSION"));

/// Why a name is not allowed.
#[derive(Debug)]
pub(super) enum AskError {
    /// The answer, which is no.
    Denied(String),
    /// Why there is none.
    Unanswered(String),
}

/// A client that follows no redirect, for a redirect is no permission. Caddy: the same.
pub(super) fn client(resolver: Resolver) -> Result<reqwest::Client, String> {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let tls = rustls::ClientConfig::builder_with_provider(proto::sidecar::identity::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Lookup(resolver)))
        .redirect(Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .user_agent(AGENT)
        .build()
        .map_err(|error| error.to_string())
}

/// GETs `url` with the query `domain=NAME` beside what it has. 2xx allows; 5xx is the app's trouble
/// and no answer.
pub(super) async fn ask(client: &reqwest::Client, url: &str, name: &Name) -> Result<(), AskError> {
    let mut url =
        Url::parse(url).map_err(|error| AskError::Unanswered(format!("it is no URL: {error}")))?;
    url.query_pairs_mut().append_pair("domain", name.as_str());
    let sent = client.get(url).send().await;
    let status = sent
        .map_err(|error| AskError::Unanswered(bottom(&error)))?
        .status();
    if status.is_success() {
        Ok(())
    } else if status.is_server_error() {
        Err(AskError::Unanswered(format!("it answered {status}")))
    } else {
        Err(AskError::Denied(format!("it answered {status}")))
    }
}

/// A URL as it may be shown: its query and user may hold secrets.
pub(super) fn without_query(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| "the `ask` URL".to_owned(),
        |url| format!("{}{}", url.origin().ascii_serialization(), url.path()),
    )
}

/// What lies at the bottom of an error. Those above it would show the URL.
fn bottom(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} seconds", TIMEOUT.as_secs());
    }
    let mut bottom: &dyn std::error::Error = error;
    while let Some(deeper) = bottom.source() {
        bottom = deeper;
    }
    bottom.to_string()
}
