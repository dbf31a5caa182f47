//! Asking one upstream once.

use std::io;
use std::net::SocketAddr;

use http::header::HOST;
use proto::sidecar::dns::Resolver;
use proto::sidecar::error_chain::Chain;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use upstream::{Address, Versions};
use url::Url;

use super::{Expected, Settings};

/// Asks one upstream, each time over a new connection, so that what answers is what is there now.
pub(super) struct Probe {
    client: reqwest::Client,
    url: Url,
    /// What the `Host` field is to say, where that is not what the URL says.
    host: Option<String>,
    shown: String,
}

/// Resolves every name to the address of the upstream, as Caddy dials the upstream whatever the
/// URL of the check, or of a redirect, says.
struct Always {
    host: Box<str>,
    port: u16,
    resolver: Resolver,
}

impl Probe {
    /// Prepares to ask as `settings` say.
    pub(super) fn new(settings: &Settings, resolver: Resolver) -> Result<Self, String> {
        let target = settings.target.settings();
        let scheme = match target.tls {
            Some(_) => "https",
            None => "http",
        };
        let authority = match &settings.dial {
            Address::Unix(_) => "localhost".to_owned(),
            host => host.to_string(),
        };
        let shown = format!("{scheme}://{authority}{}", settings.uri);
        let mut url = Url::parse(&shown).map_err(|error| format!("`{shown}`: {error}"))?;
        let mut host = None;
        if let Some(name) = target.tls.as_ref().and_then(|tls| tls.server_name.as_ref()) {
            // The URL is where the client takes the name from that certificates are checked for.
            url.set_host(Some(name))
                .map_err(|error| format!("`{name}`: {error}"))?;
            host = Some(authority);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("Portico/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .timeout(settings.timeout)
            .pool_max_idle_per_host(0)
            .redirect(match settings.follows_redirects {
                true => Policy::limited(10),
                false => Policy::none(),
            });
        builder = match &settings.dial {
            Address::Unix(path) => builder.unix_socket(path.clone()),
            Address::Host { host, port } => builder.dns_resolver(Always {
                host: host.clone(),
                port: *port,
                resolver,
            }),
        };
        if target.versions == Versions::Http2 && target.tls.is_none() {
            builder = builder.http2_prior_knowledge();
        }
        // Plain upstreams need none, but the client would look for its own otherwise.
        let tls = settings.target.tls_client_config();
        let tls = tls.map_err(|error| Chain(&error).to_string())?;
        builder = builder.tls_backend_preconfigured((*tls).clone());
        let client = builder.build().map_err(|error| Chain(&error).to_string())?;
        Ok(Self {
            client,
            url,
            host,
            shown,
        })
    }

    /// Asks once.
    ///
    /// # Errors
    /// Says what was wrong with the answer.
    pub(super) async fn ask(&self, settings: &Settings) -> Result<(), String> {
        let mut request = self
            .client
            .request(settings.method.clone(), self.url.clone());
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        for (name, value) in &settings.headers {
            request = request.header(name, value);
        }
        if !settings.body.is_empty() {
            request = request.body(settings.body.to_string());
        }
        let wrong = |what: String| format!("{} {}: {what}", settings.method, self.shown);
        let response = request.send().await;
        let response = response.map_err(|error| wrong(describe(error, settings)))?;
        let status = response.status();
        if !settings.expected.takes(status.as_u16()) {
            return Err(wrong(format!("{status} instead of {}", settings.expected)));
        }
        let Some(pattern) = &settings.expected.body else {
            return Ok(());
        };
        let body = read(response, settings).await.map_err(wrong)?;
        if pattern.is_match(&body) {
            Ok(())
        } else {
            Err(wrong(format!("the body does not match `{pattern}`")))
        }
    }
}

async fn read(mut response: reqwest::Response, settings: &Settings) -> Result<Vec<u8>, String> {
    let limit = settings.expected.max_size;
    let mut body = Vec::new();
    while body.len() < limit {
        let piece = response.chunk().await;
        let Some(piece) = piece.map_err(|error| describe(error, settings))? else {
            break;
        };
        body.extend_from_slice(&piece);
    }
    body.truncate(limit);
    Ok(body)
}

fn describe(error: reqwest::Error, settings: &Settings) -> String {
    if error.is_timeout() {
        return format!("no answer within {:?}", settings.timeout);
    }
    Chain(&error.without_url()).to_string()
}

impl Expected {
    fn takes(&self, status: u16) -> bool {
        match self.status {
            0 => status / 100 == 2,
            class @ 1..=9 => status / 100 == class,
            exact => status == exact,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            0 => f.write_str("2xx"),
            class @ 1..=9 => write!(f, "{class}xx"),
            exact => exact.fmt(f),
        }
    }
}

impl Resolve for Always {
    fn resolve(&self, _: Name) -> Resolving {
        let (host, port) = (self.host.clone(), self.port);
        let resolver = self.resolver.clone();
        Box::pin(async move {
            let addresses = resolver.resolve(&host).await?;
            if addresses.is_empty() {
                let error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(error.into());
            }
            let addresses = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, port));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}
