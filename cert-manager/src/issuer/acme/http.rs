//! The HTTPS transport for ACME: with timeouts, our own resolver and roots, and a memory of what
//! instant-acme does not hand on of an error answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AsHeaderName, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use jiff::Timestamp;
use parking_lot::Mutex;
use proto::sidecar::dns::Resolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls_pki_types::CertificateDer;

use super::link;
use crate::record::Step;

/// How long a connection may take, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take in all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read; chains and directories are a few kibibytes.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Certificate chains (RFC 8555 section 9.1).
const CHAIN_TYPE: &str = "application/pem-certificate-chain";

const AGENT: &str = concat!(
    "portico-cert-manager/",
    env!("CARGO_PKG_VERSION"),
    " instant-acme"
);

/// An HTTPS client that trusts the public roots and `roots`.
pub(crate) fn client(
    roots: &[CertificateDer<'static>],
    resolver: Resolver,
) -> Result<reqwest::Client, String> {
    let mut store = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for root in roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let tls = rustls::ClientConfig::builder_with_provider(proto::sidecar::identity::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Lookup(resolver)))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())
}

/// The transport of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    memory: Arc<Mutex<Memory>>,
}

/// What is remembered of an attempt.
#[derive(Debug, Default)]
struct Memory {
    refusal: Option<Refusal>,
    /// The directory by its URL: instant-acme asks for it whenever it builds an account.
    directory: Option<(String, Bytes)>,
    alternates: Vec<String>,
    step: Option<Step>,
}

/// The last error answer of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// `Retry-After`, from when the answer came.
    pub(super) retry_after: Option<Duration>,
    /// The problem document as it came.
    pub(super) document: String,
    /// Whether there is nothing at the URL.
    pub(super) is_missing: bool,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Transport {
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            memory: Arc::default(),
        }
    }

    /// The last error answer since the last call, if no other answer followed it.
    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        self.memory.lock().refusal.take()
    }

    /// The chains that were offered beside the last one that was fetched (RFC 8555 section 7.4.2).
    pub(super) fn alternates(&self) -> Vec<String> {
        self.memory.lock().alternates.clone()
    }

    /// What is being done from now on.
    pub(super) fn begin(&self, step: Step) {
        self.memory.lock().step = Some(step);
    }

    /// What is being done.
    pub(super) fn step(&self) -> Step {
        self.memory.lock().step.unwrap_or(Step::Account)
    }

    /// Fetches the directory, at most once in an attempt.
    pub(super) async fn directory(&self, url: &str) -> Result<Bytes, Error> {
        if let Some((known, body)) = &self.memory.lock().directory
            && known == url
        {
            return Ok(body.clone());
        }
        let answer = self.get(url).await?;
        self.memory.lock().directory = Some((url.to_owned(), answer.body.clone()));
        Ok(answer.body)
    }

    /// A GET whose error answers are errors.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, Error> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new())
            .await?
            .into_success()
    }

    /// Sends a request. An error answer is returned as it came if it has a problem document.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let request = self.client.request(method, url).headers(headers).body(body);
        let answer = request.send().await.map_err(failed)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = read(answer).await?;
        let answer = Answer {
            status,
            headers,
            body,
        };
        self.note(url, &answer)?;
        Ok(answer)
    }

    /// Keeps what instant-acme does not hand on. An error answer that is no problem document would
    /// be reported as malformed JSON by it, so it becomes an error here that says what was answered.
    fn note(&self, url: &str, answer: &Answer) -> Result<(), Error> {
        let mut memory = self.memory.lock();
        if !(answer.status.is_client_error() || answer.status.is_server_error()) {
            memory.refusal = None;
            if content_type(&answer.headers).starts_with(CHAIN_TYPE) {
                memory.alternates = link::targets(url, &answer.headers, "alternate");
            }
            return Ok(());
        }
        let document: Option<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(&answer.body).ok();
        let is_problem = document.is_some();
        memory.refusal = Some(Refusal {
            retry_after: answer.retry_after(),
            is_missing: matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE),
            document: document
                .map(|document| serde_json::Value::from(document).to_string())
                .unwrap_or_default(),
        });
        if is_problem {
            return Ok(());
        }
        let (status, kind) = (answer.status, content_type(&answer.headers));
        Err(Error::Other(
            format!("{url} answered {status} with {kind} in place of a problem document").into(),
        ))
    }
}

impl Answer {
    /// `Retry-After` as a delay (RFC 9110 section 10.2.3).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER).and_then(retry_after)
    }

    /// The text of a header.
    pub(super) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The answer, or the problem that it is.
    pub(super) fn into_success(self) -> Result<Self, Error> {
        if self.status.is_client_error() || self.status.is_server_error() {
            return Err(Error::Api(serde_json::from_slice(&self.body)?));
        }
        Ok(self)
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string();
            if parts.method == Method::GET {
                // The directory is all that instant-acme is let to get.
                let body = this.directory(&url).await?;
                return Ok(BytesResponse::from(http::Response::new(Full::new(body))));
            }
            let Ok(body) = body.collect().await;
            let answer = this
                .send(parts.method, &url, parts.headers, body.to_bytes())
                .await?;
            let mut response = http::Response::new(Full::new(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(BytesResponse::from(response))
        })
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .unwrap_or("nothing")
}

async fn read(mut answer: reqwest::Response) -> Result<Bytes, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(Error::Other(
                format!("the answer is longer than {LONGEST_ANSWER} bytes").into(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

fn failed(error: reqwest::Error) -> Error {
    Error::Other(Box::new(error))
}

/// `Retry-After` as a delay (RFC 9110 section 10.2.3).
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(moment.duration_since(Timestamp::now())).ok()
}

/// Resolves for reqwest, which would otherwise use the system's library.
#[derive(Debug)]
pub(crate) struct Lookup(pub(crate) Resolver);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let addresses = resolver
                .resolve(name.as_str())
                .await
                .map_err(|error: io::Error| Box::new(error) as Box<_>)?;
            let addresses: Addrs = Box::new(
                addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, 0)),
            );
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let parse = |text: &'static str| retry_after(&HeaderValue::from_static(text));
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse("soon"), None);
        let date = (Timestamp::now() + Duration::from_secs(600)).to_zoned(jiff::tz::TimeZone::UTC);
        let text = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let left = retry_after(&HeaderValue::from_str(&text).unwrap()).unwrap();
        assert!((590..=600).contains(&left.as_secs()), "{left:?}");
    }
}
