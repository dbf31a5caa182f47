//! An ACME issuer in the test's own process.

use std::sync::Arc;
use std::time::Duration;

use cert_manager::certificate::Certificate;
use cert_manager::challenge::{ChallengeBoard, ProxyId};
use cert_manager::clock::SystemClock;
use cert_manager::issuer::acme::{AccountLocks, AcmeIssuer, Environment, ZeroSsl};
use cert_manager::issuer::{IssueError, Issuer as _, Request};
use cert_manager::name::Name;
use cert_manager::policy::{AcmePolicy, KeyType};
use cert_manager::store::local::{LocalStorage, Rebuilds};
use cert_manager::store::{Account, Order, Storage};
use proto::sidecar::dns::Resolver;
use tempfile::TempDir;

use crate::fake_ca::FakeCa;

/// What an issuer works with.
#[derive(Debug)]
pub(crate) struct Client {
    _folder: TempDir,
    pub(crate) environment: Environment,
    pub(crate) policy: AcmePolicy,
}

impl Client {
    /// A client of `ca`, with a proxy that acknowledges every challenge.
    pub(crate) async fn new(ca: &FakeCa) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(folder.path(), Rebuilds::default()).await;
        let challenges = ChallengeBoard::default();
        acknowledge(challenges.clone());
        let environment = Environment {
            storage: Arc::new(storage.unwrap()),
            challenges,
            clock: Arc::new(SystemClock),
            resolver: Resolver::from_system().unwrap(),
            extra_roots: Vec::new(),
            dns_exec: None,
            patience: Duration::from_secs(20),
            accounts: AccountLocks::default(),
            zero_ssl: ZeroSsl::default(),
        };
        Self {
            _folder: folder,
            environment,
            policy: AcmePolicy {
                trusted_roots_pem: std::fs::read_to_string(ca.root()).unwrap(),
                ..AcmePolicy::new(ca.directory_url(), Some("me@school.org".to_owned()))
            },
        }
    }

    /// The issuer of the present policy.
    pub(crate) fn issuer(&self) -> AcmeIssuer {
        AcmeIssuer::new(self.environment.clone(), self.policy.clone()).unwrap()
    }

    /// Obtains a certificate for `name` by the present policy, and does not store it.
    pub(crate) async fn issue(&self, name: &str) -> Result<Certificate, IssueError> {
        let issued = self.issuer().issue(&request(name)).await?;
        Ok(issued.certificate)
    }

    /// Obtains a certificate and stores it, as the manager does.
    pub(crate) async fn obtain(&self, request: &Request) -> Result<Certificate, IssueError> {
        let issuer = self.issuer();
        let certificate = issuer.issue(request).await?.certificate;
        let storage = &self.environment.storage;
        storage.put_certificate(&certificate).await.unwrap();
        issuer.stored(&request.name).await.unwrap();
        Ok(certificate)
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.environment.storage
    }

    /// The one account that is stored.
    pub(crate) async fn account(&self) -> Account {
        let mut accounts = self.storage().accounts().await.unwrap();
        assert_eq!(accounts.len(), 1);
        accounts.swap_remove(0)
    }

    /// The open order of `name` that is stored.
    pub(crate) async fn order(&self, name: &str) -> Option<Order> {
        let id = self.policy_id();
        self.storage().order(&id, &parse(name)).await.unwrap()
    }

    fn policy_id(&self) -> cert_manager::policy::IssuerId {
        cert_manager::policy::IssuerId::Acme(self.policy.directory_url.clone())
    }
}

/// Asks for a first certificate.
pub(crate) fn request(name: &str) -> Request {
    Request {
        name: parse(name),
        key_type: KeyType::P256,
        replaces: None,
        key: None,
        rehearse: false,
        challenge: None,
    }
}

pub(crate) fn parse(name: &str) -> Name {
    Name::parse(name).unwrap()
}

fn acknowledge(board: ChallengeBoard) {
    let wake = Arc::new(tokio::sync::Notify::new());
    board.connect(ProxyId(1), Arc::clone(&wake));
    tokio::spawn(async move {
        loop {
            wake.notified().await;
            for challenge in board.open() {
                board.acknowledge(ProxyId(1), challenge.id);
            }
        }
    });
}
