//! Certificates for other programs, each for the names that it is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use proto::certs::v1;
use proto::certs::v1::subscription_server::Subscription;
use proto::certs::v1::subscription_update::Update;
use proto::certs::v1::{SubscribeRequest, SubscriptionUpdate};
use proto::sidecar::grpc::{Peer, require_role};
use proto::sidecar::identity::{Role, SubscriberId};
use proto::sidecar::shutdown::Shutdown;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Active, parse_name, store_failed};
use crate::manager::{self, Change, Manager};
use crate::name::Name;

/// Updates that wait for a slow subscriber.
const QUEUE: usize = 16;

/// The names that each subscriber is allowed.
pub type Subscribers = BTreeMap<SubscriberId, BTreeSet<Name>>;

#[derive(Debug)]
pub(super) struct SubscriptionService {
    active: Active,
    subscribers: Arc<Subscribers>,
    shutdown: Shutdown,
}

impl SubscriptionService {
    pub(super) fn new(active: Active, subscribers: Arc<Subscribers>, shutdown: Shutdown) -> Self {
        Self {
            active,
            subscribers,
            shutdown,
        }
    }

    /// The names that the caller asks for and is allowed.
    fn names(&self, request: &Request<SubscribeRequest>) -> Result<BTreeSet<Name>, Status> {
        require_role(request, &[Role::Subscriber])?;
        let peer = request.extensions().get::<Peer>();
        let id = peer
            .and_then(|peer| peer.subscriber.as_ref())
            .ok_or_else(|| Status::permission_denied("the client certificate has no id"))?;
        let allowed = self.subscribers.get(id).ok_or_else(|| {
            Status::permission_denied(format!(
                "cert-manager knows no subscriber `{id}` (any more); `serve --subscriber` names them"
            ))
        })?;
        let asked = &request.get_ref().names;
        if asked.is_empty() {
            return Ok(allowed.clone());
        }
        let asked = asked.iter().map(|name| {
            let name = parse_name(name)?;
            if allowed.contains(&name) {
                return Ok(name);
            }
            tracing::warn!(subscriber = %id, %name, "a subscriber asks for a name it is not allowed");
            Err(Status::permission_denied(format!(
                "the subscriber `{id}` is not allowed {name}; add it to `serve --subscriber {id}=…`"
            )))
        });
        asked.collect()
    }
}

#[tonic::async_trait]
impl Subscription for SubscriptionService {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscriptionUpdate, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let names = self.names(&request)?;
        let manager = self.active.manager()?;
        let (updates, stream) = mpsc::channel(QUEUE);
        let token = self.shutdown.token.clone();
        self.shutdown.tasks.spawn(async move {
            let mut feed = Feed {
                manager: &manager,
                names,
                sent: BTreeMap::new(),
                updates: &updates,
            };
            tokio::select! {
                result = feed.run() => {
                    if let Err(End::Failed(status)) = result {
                        // Fails when the subscriber is gone.
                        let _ = updates.send(Err(status)).await;
                    }
                }
                () = updates.closed() => {}
                () = token.cancelled() => {
                    let _ = updates.try_send(Err(Status::unavailable("cert-manager is ending")));
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Brings one subscriber up to what is stored, again and again.
struct Feed<'a> {
    manager: &'a Manager,
    names: BTreeSet<Name>,
    /// The fingerprints that were sent; `None` for a name that has no certificate.
    sent: BTreeMap<Name, Option<String>>,
    updates: &'a mpsc::Sender<Result<SubscriptionUpdate, Status>>,
}

enum End {
    Gone,
    Failed(Status),
}

impl Feed<'_> {
    async fn run(&mut self) -> Result<(), End> {
        let mut is_synchronized = false;
        loop {
            // Before the store is read, so that no change falls between.
            let mut changes = self.manager.watch();
            for name in self.names.clone() {
                self.bring_up(&name).await?;
            }
            if !is_synchronized {
                self.send(Update::Synchronized(v1::Synchronized {})).await?;
                is_synchronized = true;
            }
            loop {
                match changes.recv().await {
                    Ok(Change::Status(name) | Change::Forgotten(name)) => {
                        if self.names.contains(&name) {
                            self.bring_up(&name).await?;
                        }
                    }
                    // A newer one follows, or its withdrawal.
                    Ok(Change::Revoked { .. }) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }

    /// Sends what is stored of a name, if that was not sent yet.
    async fn bring_up(&mut self, name: &Name) -> Result<(), End> {
        let status = self.manager.status(name);
        let stored = status
            .as_ref()
            .and_then(|status| status.certificate.as_ref())
            .map(|summary| summary.fingerprint_sha256.clone());
        if self.sent.get(name) == Some(&stored) {
            return Ok(());
        }
        let certificate = match &stored {
            None => None,
            Some(_) => self
                .manager
                .certificate(name)
                .await
                .map_err(|error| End::Failed(store_failed(&error)))?,
        };
        let update = match certificate {
            Some(certificate) => {
                let fingerprint = certificate.facts.fingerprint_sha256.clone();
                self.sent.insert(name.clone(), Some(fingerprint));
                Update::Certificate(v1::Certificate {
                    name: certificate.name.to_string(),
                    chain: certificate.chain.iter().map(|der| der.to_vec()).collect(),
                    private_key: certificate.key.secret_der().to_vec(),
                    not_after: Some(manager::timestamp(certificate.facts.not_after)),
                })
            }
            None => {
                let before = self.sent.insert(name.clone(), None);
                match before.flatten() {
                    Some(_) => Update::CertificateWithdrawn(v1::CertificateWithdrawn {
                        name: name.to_string(),
                    }),
                    None => Update::CertificatePending(v1::CertificatePending {
                        name: name.to_string(),
                        reason: reason(status.as_ref()),
                    }),
                }
            }
        };
        self.send(update).await
    }

    async fn send(&self, update: Update) -> Result<(), End> {
        let update = SubscriptionUpdate {
            update: Some(update),
        };
        self.updates.send(Ok(update)).await.map_err(|_| End::Gone)
    }
}

/// Why a name has no certificate.
fn reason(status: Option<&v1::NameStatus>) -> String {
    match status {
        None => {
            "no proxy declares it: is it in the Caddyfile, and is the proxy running?".to_owned()
        }
        Some(status) => match &status.last_problem {
            Some(problem) => problem.message.clone(),
            None => "it is being obtained".to_owned(),
        },
    }
}
