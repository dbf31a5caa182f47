//! Certificates and challenges for the proxies.
//!
//! A stream has two halves that do not wait for each other: one takes declarations and
//! acknowledgements, the other brings the proxy up to the present state whenever it is woken. The
//! second sends differences of state, not a queue of events, so a slow proxy costs no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::certs::v1;
use proto::certs::v1::delivery_server::Delivery;
use proto::certs::v1::manager_message::Message as Answer;
use proto::certs::v1::proxy_message::Message;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::grpc::require_role;
use proto::sidecar::identity::Role;
use proto::sidecar::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Active, parse_name, store_failed};
use crate::certificate::Certificate;
use crate::challenge::{self, Challenge, ChallengeId};
use crate::manager::{self, Manager, ProxySession};
use crate::name::Name;
use crate::policy::Policy;
use crate::ticket_keys::{TicketKey, TicketKeys};

/// Messages that wait for a slow proxy.
const QUEUE: usize = 16;

/// A proxy declares its names within this time of opening the stream.
const DECLARATION_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct DeliveryService {
    active: Active,
    ticket_keys: TicketKeys,
    shutdown: Shutdown,
}

impl DeliveryService {
    pub(super) fn new(active: Active, ticket_keys: TicketKeys, shutdown: Shutdown) -> Self {
        Self {
            active,
            ticket_keys,
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl Delivery for DeliveryService {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<v1::ManagerMessage, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::ProxyMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        require_role(&request, &[Role::Proxy])?;
        let manager = self.active.manager()?;
        let (answers, stream) = mpsc::channel(QUEUE);
        let token = self.shutdown.token.clone();
        let ticket_keys = self.ticket_keys.clone();
        self.shutdown.tasks.spawn(async move {
            let session = ProxySession::begin(Arc::clone(&manager));
            let connection = Connection {
                manager: &manager,
                session: &session,
                ticket_keys: &ticket_keys,
                answers: &answers,
            };
            tokio::select! {
                result = connection.run(request.into_inner()) => {
                    if let Err(status) = result {
                        // Fails when the proxy is gone.
                        let _ = answers.send(Err(status)).await;
                    }
                }
                () = answers.closed() => {}
                () = token.cancelled() => {
                    let _ = answers.try_send(Err(Status::unavailable("cert-manager is ending")));
                }
            }
            if let Err(error) = session.end().await {
                tracing::error!(error = %Chain(&error), "a proxy's leave cannot be kept");
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn get_challenge(
        &self,
        request: Request<v1::GetChallengeRequest>,
    ) -> Result<Response<v1::GetChallengeResponse>, Status> {
        require_role(&request, &[Role::Proxy])?;
        let manager = self.active.manager()?;
        let key_authorization = manager
            .challenges()
            .find(&request.get_ref().token)
            .ok_or_else(|| Status::not_found("no such challenge is open"))?;
        Ok(Response::new(v1::GetChallengeResponse {
            key_authorization,
        }))
    }

    async fn obtain(
        &self,
        request: Request<v1::ObtainRequest>,
    ) -> Result<Response<v1::ObtainResponse>, Status> {
        require_role(&request, &[Role::Proxy])?;
        let manager = self.active.manager()?;
        let request = request.into_inner();
        let name = parse_name(&request.name)?;
        let policy = request
            .policy
            .ok_or_else(|| Status::invalid_argument("the request has no policy"))?;
        let policy = manager
            .policy(&policy, &name)
            .map_err(|message| Status::invalid_argument(format!("{name}: {message}")))?;
        match manager.obtain_on_demand(&name, policy).await {
            Ok(certificate) => Ok(Response::new(v1::ObtainResponse {
                certificate: Some(certificate_to_wire(&certificate)),
            })),
            Err(error) => {
                tracing::info!(%name, %error, "no certificate for a client that asks for it");
                Err(error.into())
            }
        }
    }
}

struct Connection<'a> {
    manager: &'a Manager,
    session: &'a ProxySession,
    ticket_keys: &'a TicketKeys,
    answers: &'a mpsc::Sender<Result<v1::ManagerMessage, Status>>,
}

/// The proxy does not listen any more.
struct Gone;

impl Connection<'_> {
    async fn run(&self, mut messages: Streaming<v1::ProxyMessage>) -> Result<(), Status> {
        let first = tokio::time::timeout(DECLARATION_TIMEOUT, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the stream must begin with a declaration"))??;
        match first.and_then(|message| message.message) {
            Some(Message::Declaration(declaration)) => self.declare(declaration).await?,
            _ => {
                return Err(Status::invalid_argument(
                    "the stream must begin with a declaration",
                ));
            }
        }
        tokio::select! {
            result = self.receive(messages) => result,
            result = self.send_changes() => result,
        }
    }

    async fn receive(&self, mut messages: Streaming<v1::ProxyMessage>) -> Result<(), Status> {
        while let Some(message) = messages.message().await? {
            match message.message {
                Some(Message::Declaration(declaration)) => self.declare(declaration).await?,
                Some(Message::ChallengeAcknowledged(acknowledged)) => {
                    // An id that is no number was never ours.
                    if let Ok(id) = acknowledged.id.parse() {
                        self.session.acknowledge(ChallengeId(id));
                    }
                }
                // From a newer proxy.
                None => {}
            }
        }
        Ok(())
    }

    async fn declare(&self, declaration: v1::Declaration) -> Result<(), Status> {
        let subjects = self.subjects(&declaration)?;
        self.session.label(&declaration.proxy);
        tracing::info!(
            proxy = declaration.proxy,
            names = subjects.len(),
            "a proxy declares its names"
        );
        self.session
            .declare(subjects)
            .await
            .map_err(|error| store_failed(&error))
    }

    fn subjects(&self, declaration: &v1::Declaration) -> Result<BTreeMap<Name, Policy>, Status> {
        let mut subjects = BTreeMap::new();
        for subject in &declaration.subjects {
            let name = match Name::parse(&subject.name) {
                Ok(name) => name,
                Err(error) => {
                    // The other names must not suffer for it.
                    let proxy = &declaration.proxy;
                    tracing::warn!(proxy, %error, "a declared name is passed over");
                    continue;
                }
            };
            let policy = usize::try_from(subject.policy)
                .ok()
                .and_then(|index| declaration.policies.get(index))
                .ok_or_else(|| {
                    Status::invalid_argument(format!(
                        "{name} refers to policy {}, but there are {}",
                        subject.policy,
                        declaration.policies.len()
                    ))
                })?;
            let policy = self
                .manager
                .policy(policy, &name)
                .map_err(|message| Status::invalid_argument(format!("{name}: {message}")))?;
            subjects.insert(name, policy);
        }
        Ok(subjects)
    }

    async fn send_changes(&self) -> Result<(), Status> {
        let mut open = BTreeSet::new();
        let mut ticket_keys = self.ticket_keys.subscribe();
        ticket_keys.mark_changed();
        loop {
            if let Ok(true) = ticket_keys.has_changed() {
                let keys = Arc::clone(&ticket_keys.borrow_and_update());
                if self.send(ticket_keys_to_wire(&keys)).await.is_err() {
                    return Ok(());
                }
            }
            if self.catch_up(&mut open).await?.is_err() {
                return Ok(());
            }
            tokio::select! {
                () = self.session.woken() => {}
                // The sender lives in `self`, so this never fails.
                Ok(()) = ticket_keys.changed() => ticket_keys.mark_changed(),
            }
        }
    }

    /// Sends all that the proxy does not have yet. `open` are the challenges that it knows.
    async fn catch_up(&self, open: &mut BTreeSet<ChallengeId>) -> Result<Result<(), Gone>, Status> {
        loop {
            // Challenges first: an authority waits for them.
            if self.send_challenges(open).await.is_err() {
                return Ok(Err(Gone));
            }
            let delivery = self
                .session
                .next_delivery()
                .await
                .map_err(|error| store_failed(&error))?;
            let answer = match delivery {
                Some(manager::Delivery::Certificate(certificate)) => {
                    Answer::Certificate(certificate_to_wire(&certificate))
                }
                Some(manager::Delivery::Withdrawn(name)) => {
                    Answer::CertificateWithdrawn(v1::CertificateWithdrawn {
                        name: name.to_string(),
                    })
                }
                Some(manager::Delivery::Synchronized) => Answer::Synchronized(v1::Synchronized {}),
                None => return Ok(Ok(())),
            };
            if self.send(answer).await.is_err() {
                return Ok(Err(Gone));
            }
        }
    }

    async fn send_challenges(&self, known: &mut BTreeSet<ChallengeId>) -> Result<(), Gone> {
        let open = self.manager.challenges().open();
        let ids: BTreeSet<_> = open.iter().map(|challenge| challenge.id).collect();
        for id in known.difference(&ids) {
            self.send(Answer::ChallengeWithdrawn(v1::ChallengeWithdrawn {
                id: id.0.to_string(),
            }))
            .await?;
        }
        for challenge in open.into_iter().filter(|open| !known.contains(&open.id)) {
            self.send(Answer::Challenge(to_wire(challenge))).await?;
        }
        *known = ids;
        Ok(())
    }

    async fn send(&self, answer: Answer) -> Result<(), Gone> {
        let message = v1::ManagerMessage {
            message: Some(answer),
        };
        self.answers.send(Ok(message)).await.map_err(|_| Gone)
    }
}

fn certificate_to_wire(certificate: &Certificate) -> v1::Certificate {
    v1::Certificate {
        name: certificate.name.to_string(),
        chain: certificate.chain.iter().map(|der| der.to_vec()).collect(),
        private_key: certificate.key.secret_der().to_vec(),
        not_after: Some(manager::timestamp(certificate.facts.not_after)),
    }
}

fn ticket_keys_to_wire(keys: &[TicketKey]) -> Answer {
    let keys = keys.iter().map(|key| v1::TicketKey {
        name: key.name().to_vec(),
        secret: key.secret().to_vec(),
    });
    Answer::TicketKeys(v1::TicketKeys {
        keys: keys.collect(),
    })
}

fn to_wire(challenge: Challenge) -> v1::Challenge {
    let answer = match challenge.answer {
        challenge::Answer::Http {
            token,
            key_authorization,
        } => v1::challenge::Answer::Http(v1::HttpAnswer {
            token,
            key_authorization,
        }),
        challenge::Answer::TlsAlpn(answer) => v1::challenge::Answer::TlsAlpn(v1::TlsAlpnAnswer {
            private_key: answer.key.secret_der().to_vec(),
            certificate: answer.certificate.to_vec(),
            server_name: answer.server_name,
        }),
    };
    v1::Challenge {
        id: challenge.id.0.to_string(),
        name: challenge.name.to_string(),
        answer: Some(answer),
    }
}
