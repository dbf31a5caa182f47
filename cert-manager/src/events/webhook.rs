//! Posts each event to a URL.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use proto::sidecar::error_chain::Chain;
use tokio::sync::mpsc;

use super::Event;
use crate::backoff::JITTER;
use crate::policy::Secret;

/// The environment variable of the token that is sent.
pub const TOKEN_VARIABLE: &str = "PORTICO_EVENT_WEBHOOK_TOKEN";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The wait before the first repetition, which doubles from then on.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often an event is sent at most: for about half an hour.
const TRIES: u32 = 14;

/// Where events are posted to.
#[derive(Clone)]
pub struct Endpoint {
    url: reqwest::Url,
    token: Option<Secret>,
}

/// Posts each event, one after the other, and again when that fails.
#[derive(Debug)]
pub struct WebhookSink {
    endpoint: Endpoint,
    client: reqwest::Client,
}

/// Why an event was not taken.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Sending it again is of no use.
    Final(String),
    /// It may be taken later.
    Passing(String),
}

impl Endpoint {
    /// An HTTP or HTTPS URL, with a bearer token or none.
    ///
    /// # Errors
    /// When the URL is none of these, in words.
    pub fn parse(text: &str, token: Option<Secret>) -> Result<Self, String> {
        let url = reqwest::Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or("it must begin with https:// or http:// and have a host")?;
        Ok(Self { url, token })
    }
}

impl WebhookSink {
    /// Posts to `endpoint` by `client`.
    pub fn new(endpoint: Endpoint, client: reqwest::Client) -> Self {
        Self { endpoint, client }
    }

    pub(super) async fn run(self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            if let Err(error) = self.deliver(&event).await {
                tracing::error!(
                    webhook = %self,
                    event = event.event.as_str(),
                    name = event.name,
                    error,
                    "a webhook was not told of an event (--event-webhook)"
                );
            }
        }
    }

    async fn deliver(&self, event: &Event) -> Result<(), String> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            match self.post(event).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Passing(error)) if attempt >= TRIES => return Err(error),
                Err(Refusal::Passing(error)) => {
                    tracing::debug!(webhook = %self, error, ?wait, "an event is sent again");
                }
            }
            tokio::time::sleep(wait.mul_f64(1.0 + JITTER * rand::random::<f64>())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(())
    }

    async fn post(&self, event: &Event) -> Result<(), Refusal> {
        let mut request = self
            .client
            .post(self.endpoint.url.clone())
            .timeout(TIMEOUT)
            .json(event);
        if let Some(token) = &self.endpoint.token {
            request = request.bearer_auth(token.reveal());
        }
        let answer = request.send().await;
        // The URL may hold a secret of its own, so errors are told without it.
        let answer =
            answer.map_err(|error| Refusal::Passing(Chain(&error.without_url()).to_string()))?;
        match judge(answer.status()) {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }
}

fn judge(status: StatusCode) -> Option<Refusal> {
    let text = || format!("it answered {status}");
    match status {
        status if status.is_success() => None,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Some(Refusal::Passing(text()))
        }
        status if status.is_server_error() => Some(Refusal::Passing(text())),
        _ => Some(Refusal::Final(text())),
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.url.host_str())
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// Only scheme, host and port: many services put a secret into the path.
impl fmt::Display for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint.url.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_endpoint_are_never_printed() {
        let token = Some(Secret::new("hunter2"));
        let endpoint =
            Endpoint::parse("https://u:pw@hooks.test:8443/T0/sesame?k=v", token).unwrap();
        let debug = format!("{endpoint:?}");
        let client = reqwest_client();
        let shown = WebhookSink::new(endpoint, client).to_string();
        assert_eq!(shown, "https://hooks.test:8443");
        for secret in ["hunter2", "sesame", "pw", "k=v"] {
            assert!(!debug.contains(secret), "{debug}");
        }
        assert!(Endpoint::parse("ftp://hooks.test/", None).is_err());
        assert!(Endpoint::parse("hooks", None).is_err());
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        let passes = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(status).map(|refusal| matches!(refusal, Refusal::Passing(_)))
        };
        assert_eq!(passes(204), None);
        assert_eq!(passes(503), Some(true));
        assert_eq!(passes(429), Some(true));
        assert_eq!(passes(401), Some(false));
        assert_eq!(passes(302), Some(false));
    }

    fn reqwest_client() -> reqwest::Client {
        let resolver = proto::sidecar::dns::Resolver::from_system().unwrap();
        crate::issuer::acme::http::client(&[], resolver).unwrap()
    }
}
