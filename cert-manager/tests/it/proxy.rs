//! A proxy of the tests: declares names, acknowledges and answers challenges, keeps what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use proto::certs::v1;
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::certs::v1::manager_message::Message;
use proto::certs::v1::proxy_message;
use proto::sidecar::identity::Role;
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::context::{self, DEADLINE, Place};

/// What a proxy has been sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) certificates: BTreeMap<String, v1::Certificate>,
    /// The open HTTP-01 challenges by token.
    pub(crate) challenges: BTreeMap<String, v1::Challenge>,
    /// How many challenges there have been.
    pub(crate) challenges_seen: usize,
    pub(crate) synchronized: usize,
    /// The keys of session tickets.
    pub(crate) ticket_keys: Vec<v1::TicketKey>,
    /// The stream has ended.
    pub(crate) ended: bool,
}

/// A connected proxy; disconnected when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    messages: mpsc::Sender<v1::ProxyMessage>,
    received: watch::Receiver<Received>,
    reader: tokio::task::JoinHandle<()>,
    /// Where the program's logs are.
    logs: PathBuf,
}

impl Proxy {
    /// Connects and declares `subjects` with their issuers.
    pub(crate) async fn connect(place: &Place, subjects: &[(&str, v1::issuer::Kind)]) -> Self {
        let proxy = Self::open(place, subjects, true).await;
        proxy.wait(|received| received.synchronized > 0).await;
        proxy
    }

    /// As [`Proxy::connect`], without waiting until everything has come.
    pub(crate) async fn connect_unsynchronized(
        place: &Place,
        subjects: &[(&str, v1::issuer::Kind)],
    ) -> Self {
        Self::open(place, subjects, true).await
    }

    /// As [`Proxy::connect`], for a proxy that never acknowledges a challenge.
    pub(crate) async fn connect_mute(place: &Place, subjects: &[(&str, v1::issuer::Kind)]) -> Self {
        let proxy = Self::open(place, subjects, false).await;
        proxy.wait(|received| received.synchronized > 0).await;
        proxy
    }

    /// As [`Proxy::connect`] and [`Proxy::answer_http`], for an authority that may ask before the
    /// former returns.
    pub(crate) async fn connect_answering(
        place: &Place,
        subjects: &[(&str, v1::issuer::Kind)],
        address: SocketAddr,
    ) -> Self {
        let (state, received) = watch::channel(Received::default());
        serve_http(received.clone(), address).await;
        let proxy = Self::subscribe(place, subjects, true, state, received).await;
        proxy.wait(|received| received.synchronized > 0).await;
        proxy
    }

    async fn open(
        place: &Place,
        subjects: &[(&str, v1::issuer::Kind)],
        acknowledges: bool,
    ) -> Self {
        let (state, received) = watch::channel(Received::default());
        Self::subscribe(place, subjects, acknowledges, state, received).await
    }

    async fn subscribe(
        place: &Place,
        subjects: &[(&str, v1::issuer::Kind)],
        acknowledges: bool,
        state: watch::Sender<Received>,
        received: watch::Receiver<Received>,
    ) -> Self {
        let (messages, outgoing) = mpsc::channel(64);
        messages.send(declaration(subjects)).await.unwrap();
        let mut client = DeliveryClient::new(place.channel(Role::Proxy));
        let answer = client.subscribe(ReceiverStream::new(outgoing)).await;
        let mut incoming = answer.unwrap().into_inner();
        let acknowledge = messages.clone();
        let reader = tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                let message = message.message.unwrap();
                if let (Message::Challenge(challenge), true) = (&message, acknowledges) {
                    // Kept before it is acknowledged, as a proxy must.
                    state.send_modify(|state| state.take(message.clone()));
                    let id = challenge.id.clone();
                    let acknowledged = v1::ChallengeAcknowledged { id };
                    let message = proxy_message::Message::ChallengeAcknowledged(acknowledged);
                    let message = Some(message);
                    acknowledge
                        .send(v1::ProxyMessage { message })
                        .await
                        .unwrap();
                } else {
                    state.send_modify(|state| state.take(message));
                }
            }
            state.send_modify(|state| state.ended = true);
        });
        Self {
            messages,
            received,
            reader,
            logs: place.logs(),
        }
    }

    /// Declares anew.
    pub(crate) async fn declare(&self, subjects: &[(&str, v1::issuer::Kind)]) {
        self.messages.send(declaration(subjects)).await.unwrap();
    }

    /// Waits until what was received is as wanted.
    pub(crate) async fn wait(&self, is_wanted: impl Fn(&Received) -> bool) -> Received {
        let mut received = self.received.clone();
        let waited = received.wait_for(|state| is_wanted(state));
        match tokio::time::timeout(DEADLINE, waited).await {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!(
                "not in time; have {:?}\n{}",
                *self.received.borrow(),
                context::last_log(&self.logs)
            ),
        }
    }

    /// Waits for the certificate of `name`, another one than `than`.
    pub(crate) async fn certificate(&self, name: &str, than: Option<&str>) -> v1::Certificate {
        let is_wanted = |received: &Received| {
            let certificate = received.certificates.get(name);
            certificate.is_some_and(|found| than.is_none_or(|than| serial(found) != than))
        };
        let mut received = self.wait(is_wanted).await;
        received.certificates.remove(name).unwrap()
    }

    /// Answers HTTP-01 requests at `address` for as long as the test runs.
    pub(crate) async fn answer_http(&self, address: SocketAddr) {
        serve_http(self.received.clone(), address).await;
    }
}

/// Answers an authority's HTTP-01 requests with the challenges that were received.
async fn serve_http(received: watch::Receiver<Received>, address: SocketAddr) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let router = axum::Router::new()
        .route("/.well-known/acme-challenge/{token}", get(answer))
        .with_state(Arc::new(received));
    tokio::spawn(async move { axum::serve(listener, router).await });
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Received {
    fn take(&mut self, message: Message) {
        match message {
            Message::Certificate(certificate) => {
                self.certificates
                    .insert(certificate.name.clone(), certificate);
            }
            Message::Challenge(challenge) => {
                self.challenges_seen += 1;
                if let Some(v1::challenge::Answer::Http(answer)) = &challenge.answer {
                    self.challenges.insert(answer.token.clone(), challenge);
                }
            }
            Message::ChallengeWithdrawn(withdrawn) => {
                self.challenges
                    .retain(|_, challenge| challenge.id != withdrawn.id);
            }
            Message::CertificateWithdrawn(withdrawn) => {
                self.certificates.remove(&withdrawn.name);
            }
            Message::Synchronized(_) => self.synchronized += 1,
            Message::TicketKeys(keys) => self.ticket_keys = keys.keys,
        }
    }
}

async fn answer(
    Path(token): Path<String>,
    State(received): State<Arc<watch::Receiver<Received>>>,
) -> (StatusCode, String) {
    let received = received.borrow();
    let challenge = received.challenges.get(&token);
    match challenge.and_then(|challenge| challenge.answer.as_ref()) {
        Some(v1::challenge::Answer::Http(answer)) => {
            (StatusCode::OK, answer.key_authorization.clone())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

/// Issued by the internal authority.
pub(crate) fn internal() -> v1::issuer::Kind {
    v1::issuer::Kind::Internal(v1::InternalIssuer::default())
}

/// Issued by the ACME authority at `directory_url`; empty means the default one.
pub(crate) fn acme(directory_url: &str) -> v1::issuer::Kind {
    v1::issuer::Kind::Acme(v1::AcmeIssuer {
        directory_url: directory_url.to_owned(),
        ..v1::AcmeIssuer::default()
    })
}

/// The serial number of the leaf.
pub(crate) fn serial(certificate: &v1::Certificate) -> String {
    let leaf = CertificateDer::from(certificate.chain[0].clone());
    let issuer = cert_manager::policy::IssuerId::Internal;
    cert_manager::certificate::Facts::of_leaf(&leaf, issuer)
        .unwrap()
        .serial
}

fn declaration(subjects: &[(&str, v1::issuer::Kind)]) -> v1::ProxyMessage {
    let policies = subjects.iter().map(|(_, kind)| v1::Policy {
        issuers: vec![v1::Issuer {
            kind: Some(kind.clone()),
        }],
        ..v1::Policy::default()
    });
    let declaration = v1::Declaration {
        proxy: "test".to_owned(),
        policies: policies.collect(),
        subjects: (0..)
            .zip(subjects)
            .map(|(policy, (name, _))| v1::Subject {
                name: (*name).to_owned(),
                policy,
            })
            .collect(),
    };
    v1::ProxyMessage {
        message: Some(proxy_message::Message::Declaration(declaration)),
    }
}
