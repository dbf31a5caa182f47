//! The stream to cert-manager.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::certs::v1::{
    ChallengeAcknowledged, ManagerMessage, ProxyMessage, manager_message, proxy_message,
};
use proto::sidecar::identity::LiveIdentity;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::Certificates;
use super::Wanted;
use super::challenges::OpenChallenge;
use super::declaration::declaration;
use crate::edge::Shared;

/// How long opening the stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for more names that clients bring before all are declared anew.
const DECLARE_DELAY: Duration = Duration::from_secs(1);
/// How often the identity's files are asked for while there are none.
const IDENTITY_POLL: Duration = Duration::from_millis(250);
/// How often a reason that stays the same is said again.
const SAY_AGAIN: Duration = Duration::from_secs(300);
/// Messages that wait to be sent; each answers one that was received.
const OUTBOX: usize = 64;

/// Owns the stream: opens it, keeps the declaration on the other side current, and takes in what
/// arrives.
pub(super) struct Delivery {
    certificates: Certificates,
    client: DeliveryClient<Channel>,
    identity: LiveIdentity,
    shared: Arc<Shared>,
    wanted: watch::Receiver<Wanted>,
    /// By challenge id, what is answered.
    challenges: HashMap<String, OpenChallenge>,
    said: Option<(String, Instant)>,
}

impl Delivery {
    pub(super) fn new(
        certificates: Certificates,
        identity: LiveIdentity,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            client: certificates.client.clone(),
            wanted: certificates.wanted.subscribe(),
            certificates,
            identity,
            shared,
            challenges: HashMap::new(),
            said: None,
        }
    }

    /// Opens the stream again and again. Never ends.
    pub(super) async fn run(mut self) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(15))
            .with_jitter()
            .without_max_times();
        let mut delays = backoff.build();
        loop {
            while self.identity.get().is_none() {
                tokio::time::sleep(IDENTITY_POLL).await;
            }
            let outcome = self.follow().await;
            if self.certificates.is_connected() {
                delays = backoff.build();
            }
            self.certificates.is_connected.send_replace(false);
            self.certificates.report();
            self.say(&match outcome {
                Ok(()) => "it ended the stream".to_owned(),
                Err(status) => describe(&status),
            });
            tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(15))).await;
        }
    }

    /// Follows one stream to its end.
    async fn follow(&mut self) -> Result<(), Status> {
        let (outbox, sent) = mpsc::channel(OUTBOX);
        let first = self.declare().await?;
        outbox.send(first).await.map_err(|_| ended())?;
        let opening = self.client.subscribe(ReceiverStream::new(sent));
        let mut stream = tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .map_err(|_| Status::unavailable("it did not answer"))??
            .into_inner();
        tracing::info!("connected to cert-manager");
        self.said = None;
        self.certificates.is_connected.send_replace(true);
        self.certificates.report();
        let mut open_ids = Vec::new();
        let mut declared = Arc::clone(&self.wanted.borrow().plan);
        let mut declare_at: Option<tokio::time::Instant> = None;
        loop {
            tokio::select! {
                message = stream.message() => match message? {
                    Some(message) => self.take(message, &outbox, &mut open_ids).await?,
                    None => return Ok(()),
                },
                // The sender lives in `self.certificates`, so this never fails.
                Ok(()) = self.wanted.changed() => {
                    let now = tokio::time::Instant::now();
                    if Arc::ptr_eq(&declared, &self.wanted.borrow_and_update().plan) {
                        declare_at.get_or_insert(now + DECLARE_DELAY);
                    } else {
                        declare_at = Some(now);
                    }
                }
                () = reached(declare_at) => {
                    declare_at = None;
                    let next = self.declare().await?;
                    declared = Arc::clone(&self.wanted.borrow().plan);
                    outbox.send(next).await.map_err(|_| ended())?;
                }
            }
        }
    }

    async fn declare(&mut self) -> Result<ProxyMessage, Status> {
        let wanted = self.wanted.borrow_and_update().clone();
        let declaration = tokio::task::spawn_blocking(move || declaration(&wanted))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(Status::failed_precondition)?;
        Ok(ProxyMessage {
            message: Some(proxy_message::Message::Declaration(declaration)),
        })
    }

    async fn take(
        &mut self,
        message: ManagerMessage,
        outbox: &mpsc::Sender<ProxyMessage>,
        open_ids: &mut Vec<String>,
    ) -> Result<(), Status> {
        use manager_message::Message;
        match message.message {
            Some(Message::Certificate(received)) => {
                self.certificates
                    .install(received.name, received.chain, received.private_key)
                    .await;
            }
            Some(Message::TicketKeys(received)) => {
                let tickets = Arc::clone(&self.certificates.tickets);
                let taken = tokio::task::spawn_blocking(move || {
                    tickets.take(&received.keys, SystemTime::now());
                });
                taken
                    .await
                    .map_err(|error| Status::internal(error.to_string()))?;
            }
            Some(Message::CertificateWithdrawn(withdrawn)) => {
                self.certificates.withdraw(withdrawn.name).await;
            }
            Some(Message::Challenge(challenge)) => {
                let answering = &self.shared.challenges;
                let table = self.certificates.table();
                let Some(open) = OpenChallenge::begin(&challenge, answering, table) else {
                    // Not acknowledged, so that the manager does not count on this proxy.
                    return Ok(());
                };
                // From here on every worker answers it, so it can be acknowledged.
                self.challenges.insert(challenge.id.clone(), open);
                open_ids.push(challenge.id.clone());
                let acknowledged = ChallengeAcknowledged { id: challenge.id };
                let message = proxy_message::Message::ChallengeAcknowledged(acknowledged);
                outbox
                    .send(ProxyMessage {
                        message: Some(message),
                    })
                    .await
                    .map_err(|_| ended())?;
            }
            Some(Message::ChallengeWithdrawn(withdrawn)) => {
                if let Some(open) = self.challenges.remove(&withdrawn.id) {
                    open.end(&self.shared.challenges, self.certificates.table());
                }
            }
            Some(Message::Synchronized(_)) => {
                // Challenges of an earlier stream that were not sent again are over.
                let over: Vec<String> = self
                    .challenges
                    .keys()
                    .filter(|id| !open_ids.contains(id))
                    .cloned()
                    .collect();
                for open in over.iter().filter_map(|id| self.challenges.remove(id)) {
                    open.end(&self.shared.challenges, self.certificates.table());
                }
                self.certificates.is_synchronized.send_replace(true);
                self.certificates.report();
            }
            None => {
                tracing::debug!("cert-manager sent a message of a kind not known here")
            }
        }
        Ok(())
    }

    /// Logs why there is no stream, without repeating itself.
    fn say(&mut self, reason: &str) {
        let is_news = self
            .said
            .as_ref()
            .is_none_or(|(said, at)| said != reason || at.elapsed() >= SAY_AGAIN);
        if is_news {
            tracing::warn!(
                reason,
                "no connection to cert-manager: serving the certificates at hand and trying again \
                 (is it running? `docker compose logs cert-manager`)"
            );
            self.said = Some((reason.to_owned(), Instant::now()));
        }
    }
}

/// Returns at `moment`, or never. Cancel safe.
async fn reached(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn ended() -> Status {
    Status::unavailable("it ended the stream")
}

/// A status in words. What lies at the bottom of a transport error says all that there is to say.
fn describe(status: &Status) -> String {
    let mut bottom = status.source();
    while let Some(deeper) = bottom.and_then(|error| error.source()) {
        bottom = Some(deeper);
    }
    match bottom {
        Some(cause) => cause.to_string(),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    }
}
