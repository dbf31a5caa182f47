//! HTTP-01 and TLS-ALPN-01 challenges that are open, and the proxies that answer them.
//!
//! A challenge is published to every connected proxy and acknowledged by each before the authority
//! is told, so that whichever proxy the authority reaches can answer. The board holds the present
//! state; sessions bring their proxy up to it when they are woken, so nothing is lost on the way.

mod tls_alpn;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::name::Name;

pub use tls_alpn::TlsAlpnAnswer;

/// How long proxies have to acknowledge a challenge.
pub const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A way to prove control of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChallengeType {
    /// A TXT record (RFC 8555 section 8.4).
    #[serde(rename = "dns-01")]
    Dns,
    /// A file at port 80 (RFC 8555 section 8.3).
    #[serde(rename = "http-01")]
    Http,
    /// A certificate at port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
}

/// A challenge that proxies answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Unique within this run.
    pub id: ChallengeId,
    /// The name being validated.
    pub name: Name,
    /// What is answered.
    pub answer: Answer,
}

/// What a proxy answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a request over port 80.
    Http {
        /// The last path segment under `/.well-known/acme-challenge/`.
        token: String,
        /// The body to answer with.
        key_authorization: String,
    },
    /// To a handshake at port 443.
    TlsAlpn(TlsAlpnAnswer),
}

/// Identifies a challenge within a run of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChallengeId(pub u64);

/// Identifies a connected proxy within a run of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(pub u64);

/// Whether a connected proxy says that it answers a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// What the proxy calls itself.
    pub proxy: String,
    /// It does.
    pub is_given: bool,
}

/// Why a challenge cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// There is nobody to answer.
    #[error("no proxy is connected that could answer the challenge")]
    NoProxy,
    /// Proxies are connected, but none of them answers.
    #[error("none of {connected} connected proxies acknowledged the challenge within {within:?}")]
    NotAcknowledged {
        /// How many are connected.
        connected: usize,
        /// How long they were given.
        within: Duration,
    },
}

/// The open challenges and the connected proxies. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ChallengeBoard {
    state: Arc<Mutex<State>>,
    acknowledged: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    open: BTreeMap<ChallengeId, Open>,
    proxies: BTreeMap<ProxyId, Arc<Notify>>,
    labels: BTreeMap<ProxyId, String>,
}

#[derive(Debug)]
struct Open {
    challenge: Challenge,
    acknowledged_by: BTreeSet<ProxyId>,
}

impl ChallengeBoard {
    /// A proxy is connected; `wake` is notified when the open challenges change.
    pub fn connect(&self, proxy: ProxyId, wake: Arc<Notify>) {
        wake.notify_one();
        self.state.lock().proxies.insert(proxy, wake);
    }

    /// A proxy is gone; nobody waits for it any more.
    pub fn disconnect(&self, proxy: ProxyId) {
        let mut state = self.state.lock();
        state.proxies.remove(&proxy);
        state.labels.remove(&proxy);
        for open in state.open.values_mut() {
            open.acknowledged_by.remove(&proxy);
        }
        drop(state);
        self.acknowledged.send_replace(());
    }

    /// What a proxy calls itself, for reports.
    pub fn label(&self, proxy: ProxyId, label: String) {
        self.state.lock().labels.insert(proxy, label);
    }

    /// Whether any proxy is connected.
    pub fn has_proxies(&self) -> bool {
        !self.state.lock().proxies.is_empty()
    }

    /// Opens an HTTP-01 challenge, which is withdrawn when the returned value is dropped.
    pub fn publish(&self, name: Name, token: String, key_authorization: String) -> Published {
        self.open_challenge(
            name,
            Answer::Http {
                token,
                key_authorization,
            },
        )
    }

    /// Opens a TLS-ALPN-01 challenge, which is withdrawn when the returned value is dropped.
    pub fn publish_tls_alpn(&self, name: Name, answer: TlsAlpnAnswer) -> Published {
        self.open_challenge(name, Answer::TlsAlpn(answer))
    }

    fn open_challenge(&self, name: Name, answer: Answer) -> Published {
        let mut state = self.state.lock();
        state.next_id += 1;
        let id = ChallengeId(state.next_id);
        let challenge = Challenge { id, name, answer };
        let open = Open {
            challenge,
            acknowledged_by: BTreeSet::new(),
        };
        state.open.insert(id, open);
        state.wake_proxies();
        Published {
            id,
            board: self.clone(),
        }
    }

    /// A proxy now answers a challenge. One that is not open any more is none of its business.
    pub fn acknowledge(&self, proxy: ProxyId, id: ChallengeId) {
        if let Some(open) = self.state.lock().open.get_mut(&id) {
            open.acknowledged_by.insert(proxy);
        }
        self.acknowledged.send_replace(());
    }

    /// The open challenges.
    pub fn open(&self) -> Vec<Challenge> {
        let state = self.state.lock();
        state.open.values().map(|o| o.challenge.clone()).collect()
    }

    /// The key authorization of the open HTTP-01 challenge with `token`.
    pub fn find(&self, token: &str) -> Option<String> {
        let state = self.state.lock();
        state
            .open
            .values()
            .find_map(|open| match &open.challenge.answer {
                Answer::Http {
                    token: known,
                    key_authorization,
                } if known == token => Some(key_authorization.clone()),
                Answer::Http { .. } | Answer::TlsAlpn(_) => None,
            })
    }
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "dns-01",
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
        })
    }
}

/// An open challenge; withdrawn when dropped.
#[derive(Debug)]
pub struct Published {
    id: ChallengeId,
    board: ChallengeBoard,
}

impl Published {
    /// Waits until every connected proxy has acknowledged, also one that connects meanwhile. When
    /// `timeout` passes, one of them is enough: the others may be hanging.
    ///
    /// # Errors
    /// When none has acknowledged by then.
    pub async fn acknowledged(&self, timeout: Duration) -> Result<(), ChallengeError> {
        let mut changes = self.board.acknowledged.subscribe();
        // Fails only when the sender is gone, which `self` keeps alive.
        let all = changes.wait_for(|()| {
            let (acknowledged, connected) = self.count();
            connected > 0 && acknowledged == connected
        });
        if tokio::time::timeout(timeout, all).await.is_ok() {
            return Ok(());
        }
        match self.count() {
            (_, 0) => Err(ChallengeError::NoProxy),
            (0, connected) => Err(ChallengeError::NotAcknowledged {
                connected,
                within: timeout,
            }),
            (acknowledged, connected) => {
                tracing::warn!(
                    acknowledged,
                    connected,
                    "not every proxy acknowledged the challenge in time; going on without the rest"
                );
                Ok(())
            }
        }
    }

    /// Each connected proxy, and whether it has acknowledged.
    pub fn acknowledgements(&self) -> Vec<Acknowledgement> {
        let state = self.board.state.lock();
        let open = state.open.get(&self.id);
        let proxies = state.proxies.keys();
        proxies
            .map(|proxy| Acknowledgement {
                proxy: state.labels.get(proxy).cloned().unwrap_or_default(),
                is_given: open.is_some_and(|open| open.acknowledged_by.contains(proxy)),
            })
            .collect()
    }

    fn count(&self) -> (usize, usize) {
        let state = self.board.state.lock();
        let acknowledged = state
            .open
            .get(&self.id)
            .map_or(0, |open| open.acknowledged_by.len());
        (acknowledged, state.proxies.len())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let mut state = self.board.state.lock();
        state.open.remove(&self.id);
        state.wake_proxies();
    }
}

impl State {
    fn wake_proxies(&self) {
        for wake in self.proxies.values() {
            wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn publish(board: &ChallengeBoard) -> Published {
        let name = Name::parse("a.school.org").unwrap();
        board.publish(name, "token".to_owned(), "token.thumbprint".to_owned())
    }

    #[tokio::test]
    async fn every_connected_proxy_must_acknowledge() {
        let board = ChallengeBoard::default();
        board.connect(ProxyId(1), Arc::default());
        board.connect(ProxyId(2), Arc::default());
        let published = publish(&board);
        let id = board.open()[0].id;
        let mut waiting = std::pin::pin!(published.acknowledged(ACKNOWLEDGE_TIMEOUT));
        board.acknowledge(ProxyId(1), id);
        assert!(tokio::time::timeout(SOON, waiting.as_mut()).await.is_err());
        board.acknowledge(ProxyId(2), id);
        assert_eq!(waiting.await, Ok(()));
    }

    #[tokio::test]
    async fn a_proxy_that_goes_away_is_not_waited_for() {
        let board = ChallengeBoard::default();
        board.connect(ProxyId(1), Arc::default());
        board.connect(ProxyId(2), Arc::default());
        let published = publish(&board);
        board.acknowledge(ProxyId(1), board.open()[0].id);
        board.disconnect(ProxyId(2));
        assert_eq!(published.acknowledged(Duration::ZERO).await, Ok(()));
    }

    #[tokio::test]
    async fn somebody_must_acknowledge_in_time() {
        let board = ChallengeBoard::default();
        let published = publish(&board);
        let waited = published.acknowledged(SOON).await;
        assert_eq!(waited, Err(ChallengeError::NoProxy));
        board.connect(ProxyId(1), Arc::default());
        board.connect(ProxyId(2), Arc::default());
        let waited = published.acknowledged(SOON).await;
        let expected = ChallengeError::NotAcknowledged {
            connected: 2,
            within: SOON,
        };
        assert_eq!(waited, Err(expected));
        board.acknowledge(ProxyId(2), board.open()[0].id);
        assert_eq!(published.acknowledged(SOON).await, Ok(()));
    }

    #[test]
    fn a_dropped_challenge_is_withdrawn() {
        let board = ChallengeBoard::default();
        let published = publish(&board);
        assert_eq!(board.find("token").as_deref(), Some("token.thumbprint"));
        drop(published);
        assert_eq!(board.find("token"), None);
        assert!(board.open().is_empty());
    }
}
