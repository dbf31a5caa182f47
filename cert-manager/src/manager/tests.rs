//! The manager with issuers and a clock of the tests' own, over a real store.

mod figures;
mod limits;
mod on_demand;
mod renewal;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use proto::sidecar::dns::Resolver;
use proto::sidecar::shutdown::Shutdown;
use tempfile::TempDir;

use super::*;
use crate::authority::{Signer, Usage};
use crate::backoff::Retry;
use crate::certificate::PrivateKey;
use crate::clock::ManualClock;
use crate::issuer::{IssueError, Issued, Issuer, RenewalInfo, Request, RevocationReason};
use crate::policy::{AcmePolicy, IssuerId, IssuerPolicy, KeyType, RenewalWindow};
use crate::record::Step;
use crate::store::local::{LocalStorage, Rebuilds};

const DEADLINE: Duration = Duration::from_secs(20);

/// Authorities of which some are down.
#[derive(Debug)]
struct Fakes {
    clock: Arc<ManualClock>,
    down: Mutex<Vec<IssuerId>>,
    /// How some of them fail: the kind of problem, its words, and when to try again.
    refusals: Mutex<HashMap<IssuerId, (&'static str, &'static str, Retry)>>,
    /// What they say of renewal.
    renewal_info: Mutex<Option<RenewalInfo>>,
    questions: AtomicUsize,
    attempts: AtomicUsize,
    requests: Mutex<Vec<(IssuerId, Request)>>,
    revoked: Mutex<Vec<(String, RevocationReason)>>,
}

#[derive(Debug)]
struct Fake {
    id: IssuerId,
    fakes: Arc<Fakes>,
}

#[derive(Debug)]
struct Source(Arc<Fakes>);

impl Issuers for Source {
    fn issuer(&self, policy: &IssuerPolicy) -> Result<Arc<dyn Issuer>, IssueError> {
        Ok(Arc::new(Fake {
            id: policy.id(),
            fakes: Arc::clone(&self.0),
        }))
    }
}

#[async_trait]
impl Issuer for Fake {
    async fn issue(&self, request: &Request) -> Result<Issued, IssueError> {
        self.fakes.attempts.fetch_add(1, Ordering::SeqCst);
        let asked = (self.id.clone(), request.clone());
        self.fakes.requests.lock().push(asked);
        if let Some((kind, message, retry)) = self.fakes.refusals.lock().get(&self.id) {
            let mut error = IssueError::new(Step::Order, *message).with_retry(*retry);
            error.document = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}"}}"#);
            return Err(error);
        }
        if self.fakes.down.lock().contains(&self.id) {
            return Err(IssueError::new(Step::Order, "the authority is down")
                .with_hint("wait")
                .with_retry(Retry::Backoff));
        }
        let now = self.fakes.clock.now();
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        let root = Signer::root("fake", now, days(900)).unwrap();
        let new = || PrivateKey::generate(request.key_type).unwrap();
        let key = request.key.clone().unwrap_or_else(new);
        let leaf = root.leaf(request.name.as_str(), &key, Usage::Server, now, days(90));
        let name = request.name.clone();
        let certificate =
            Certificate::new(name, self.id.clone(), vec![leaf.unwrap()], key).unwrap();
        Ok(Issued {
            certificate,
            challenge: None,
        })
    }

    async fn stored(&self, _name: &Name) -> Result<(), StoreError> {
        Ok(())
    }

    async fn renewal_info(&self, _: &Certificate) -> Result<Option<RenewalInfo>, IssueError> {
        self.fakes.questions.fetch_add(1, Ordering::SeqCst);
        Ok(self.fakes.renewal_info.lock().clone())
    }

    async fn revoke(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
    ) -> Result<(), IssueError> {
        let serial = certificate.facts.serial.clone();
        self.fakes.revoked.lock().push((serial, reason));
        Ok(())
    }
}

struct World {
    manager: Arc<Manager>,
    clock: Arc<ManualClock>,
    fakes: Arc<Fakes>,
    shutdown: Shutdown,
    maintenance: Option<tokio::task::JoinHandle<()>>,
    _folder: Option<TempDir>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self::in_folder(folder.path()).await;
        world._folder = Some(folder);
        world
    }

    async fn in_folder(folder: &std::path::Path) -> Self {
        let storage = LocalStorage::open(folder, Rebuilds::default()).await;
        let clock = Arc::new(ManualClock::new("2026-03-01T00:00:00Z".parse().unwrap()));
        let fakes = Arc::new(Fakes {
            clock: Arc::clone(&clock),
            down: Mutex::default(),
            refusals: Mutex::default(),
            renewal_info: Mutex::default(),
            questions: AtomicUsize::default(),
            attempts: AtomicUsize::default(),
            requests: Mutex::default(),
            revoked: Mutex::default(),
        });
        let manager = Manager::load(Parts {
            storage: Arc::new(storage.unwrap()),
            issuers: Arc::new(Source(Arc::clone(&fakes))),
            clock: Arc::<ManualClock>::clone(&clock),
            challenges: ChallengeBoard::default(),
            defaults: Defaults {
                acme_ca: "https://ca.test/dir".to_owned(),
                email: None,
            },
            metrics: Metrics::default(),
            on_demand: Arc::new(OnDemand::new(Resolver::from_system().unwrap()).unwrap()),
        })
        .await
        .unwrap();
        let shutdown = Shutdown::default();
        let maintenance = tokio::spawn(Arc::clone(&manager).maintain(shutdown.clone()));
        Self {
            manager,
            clock,
            fakes,
            shutdown,
            maintenance: Some(maintenance),
            _folder: None,
        }
    }

    /// Ends the manager, so that its folder can be opened again.
    async fn end(mut self) {
        self.shutdown.token.cancel();
        self.maintenance.take().unwrap().await.unwrap();
        assert!(self.shutdown.finish(DEADLINE).await, "attempts are left");
    }

    async fn status(
        &self,
        name: &Name,
        is_wanted: impl Fn(Option<&v1::NameStatus>) -> bool,
    ) -> Option<v1::NameStatus> {
        let mut changes = self.manager.watch();
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let status = self.manager.status(name);
                if is_wanted(status.as_ref()) {
                    return status;
                }
                changes.recv().await.unwrap();
            }
        });
        let error = || panic!("{name} is {:?}", self.manager.status(name));
        waited.await.unwrap_or_else(|_| error())
    }

    async fn state(&self, name: &Name, state: v1::State) -> v1::NameStatus {
        let is_wanted =
            |status: Option<&v1::NameStatus>| status.is_some_and(|s| s.state() == state);
        self.status(name, is_wanted).await.unwrap()
    }

    fn attempts(&self) -> usize {
        self.fakes.attempts.load(Ordering::SeqCst)
    }

    /// Has the authorities of `policy` refuse from here on.
    fn refuse(
        &self,
        policy: &IssuerPolicy,
        kind: &'static str,
        message: &'static str,
        retry: Retry,
    ) {
        let mut refusals = self.fakes.refusals.lock();
        refusals.insert(policy.id(), (kind, message, retry));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.token.cancel();
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn acme(url: &str) -> IssuerPolicy {
    IssuerPolicy::Acme(Box::new(AcmePolicy::new(url, None)))
}

fn policy(issuers: &[IssuerPolicy]) -> Policy {
    Policy {
        issuers: issuers.to_vec(),
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    }
}

fn subjects(names: &[&Name], policy: &Policy) -> BTreeMap<Name, Policy> {
    let subjects = names.iter().map(|name| ((*name).clone(), policy.clone()));
    subjects.collect()
}

fn serial(status: &v1::NameStatus) -> String {
    status.certificate.as_ref().unwrap().serial.clone()
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_lifetime() {
    let world = World::new().await;
    let quiz = name("quiz.school.org");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let one = policy(&[acme("https://a.test/")]);
    session.declare(subjects(&[&quiz], &one)).await.unwrap();
    let first = serial(&world.state(&quiz, v1::State::Valid).await);
    assert_eq!(world.attempts(), 1);
    world.clock.advance(SignedDuration::from_hours(24 * 59));
    world.clock.advance(SignedDuration::from_hours(24 * 4));
    let renewed =
        |status: Option<&v1::NameStatus>| status.is_some_and(|status| serial(status) != first);
    world.status(&quiz, renewed).await;
    assert_eq!(world.attempts(), 2);
}

#[tokio::test]
async fn failures_back_off_and_the_next_issuer_is_tried() {
    let world = World::new().await;
    let (first, second) = (acme("https://a.test/"), acme("https://b.test/"));
    world.fakes.down.lock().extend([first.id(), second.id()]);
    let quiz = name("quiz.school.org");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let both = policy(&[first, second.clone()]);
    session.declare(subjects(&[&quiz], &both)).await.unwrap();
    let status = world.state(&quiz, v1::State::Failed).await;
    assert_eq!(world.attempts(), 2);
    assert_eq!(status.failures, 1);
    assert_eq!(status.last_problem.unwrap().hint, "wait");
    let wait = status.next_attempt.unwrap().seconds - world.clock.now().as_second();
    assert!((50..70).contains(&wait), "{wait}");

    world.fakes.down.lock().retain(|id| *id != second.id());
    world.clock.advance(SignedDuration::from_mins(2));
    let status = world.state(&quiz, v1::State::Valid).await;
    assert_eq!(world.attempts(), 4);
    assert_eq!(status.issuer, "https://b.test/");
    assert_eq!((status.failures, status.last_problem), (0, None));
}

#[tokio::test]
async fn a_corrected_policy_is_tried_without_delay() {
    let world = World::new().await;
    let (wrong, right) = (acme("https://a.test/"), acme("https://b.test/"));
    world.fakes.down.lock().push(wrong.id());
    let quiz = name("quiz.school.org");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    session
        .declare(subjects(&[&quiz], &policy(&[wrong])))
        .await
        .unwrap();
    world.state(&quiz, v1::State::Failed).await;
    session
        .declare(subjects(&[&quiz], &policy(&[right])))
        .await
        .unwrap();
    world.state(&quiz, v1::State::Valid).await;
}

#[tokio::test]
async fn nothing_is_begun_before_a_proxy_can_answer() {
    let world = World::new().await;
    let quiz = name("quiz.school.org");
    let one = policy(&[acme("https://a.test/")]);
    let session = ProxySession::begin(Arc::clone(&world.manager));
    world
        .fakes
        .down
        .lock()
        .extend([acme("https://a.test/").id()]);
    session.declare(subjects(&[&quiz], &one)).await.unwrap();
    world.state(&quiz, v1::State::Failed).await;
    session.end().await.unwrap();
    world.clock.advance(SignedDuration::from_hours(12));
    tokio::task::yield_now().await;
    assert_eq!(world.attempts(), 1);
    world.fakes.down.lock().clear();
    let session = ProxySession::begin(Arc::clone(&world.manager));
    session.declare(subjects(&[&quiz], &one)).await.unwrap();
    world.state(&quiz, v1::State::Valid).await;
}

#[tokio::test]
async fn names_that_nobody_declares_end_with_their_certificate() {
    let world = World::new().await;
    let (kept, typo) = (name("quiz.school.org"), name("quzi.school.org"));
    let down = acme("https://down.test/");
    world.fakes.down.lock().push(down.id());
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let mut declared = subjects(&[&kept], &policy(&[IssuerPolicy::internal()]));
    declared.extend(subjects(&[&typo], &policy(&[down])));
    session.declare(declared).await.unwrap();
    world.state(&kept, v1::State::Valid).await;
    world.state(&typo, v1::State::Failed).await;

    session.declare(BTreeMap::new()).await.unwrap();
    world.status(&typo, |status| status.is_none()).await;
    world.state(&kept, v1::State::Unused).await;
    let attempts = world.attempts();
    world.clock.advance(SignedDuration::from_hours(24 * 89));
    world.state(&kept, v1::State::Unused).await;
    world.clock.advance(SignedDuration::from_hours(24 * 2));
    world.status(&kept, |status| status.is_none()).await;
    assert_eq!(world.attempts(), attempts);
    assert!(world.manager.certificate(&kept).await.unwrap().is_none());
}

/// The key of the stored certificate.
async fn key(world: &World, name: &Name) -> Vec<u8> {
    let certificate = world.manager.certificate(name).await.unwrap().unwrap();
    certificate.key.secret_der().to_vec()
}

#[tokio::test]
async fn a_private_key_is_kept_where_the_policy_says_so() {
    let world = World::new().await;
    let (kept, fresh) = (name("a.school.org"), name("b.school.org"));
    let keeping = Policy {
        reuse_private_key: true,
        ..policy(&[acme("https://a.test/")])
    };
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let mut declared = subjects(&[&kept], &keeping);
    declared.extend(subjects(&[&fresh], &policy(&[acme("https://a.test/")])));
    session.declare(declared).await.unwrap();
    for (name, is_same) in [(&kept, true), (&fresh, false)] {
        let first = serial(&world.state(name, v1::State::Valid).await);
        let before = key(&world, name).await;
        world.manager.renew(name).await.unwrap();
        let renewed = |status: Option<&v1::NameStatus>| status.is_some_and(|s| serial(s) != first);
        world.status(name, renewed).await;
        assert_eq!(key(&world, name).await == before, is_same, "{name}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_replaced_by_one_with_a_new_key() {
    let world = World::new().await;
    let quiz = name("quiz.school.org");
    let keeping = Policy {
        reuse_private_key: true,
        ..policy(&[acme("https://a.test/")])
    };
    let session = ProxySession::begin(Arc::clone(&world.manager));
    session.declare(subjects(&[&quiz], &keeping)).await.unwrap();
    for reason in [
        RevocationReason::Superseded,
        RevocationReason::KeyCompromise,
    ] {
        let first = serial(&world.state(&quiz, v1::State::Valid).await);
        let before = key(&world, &quiz).await;
        let mut changes = world.manager.watch();
        world.manager.revoke(&quiz, reason).await.unwrap();
        let told = Change::Revoked {
            name: quiz.clone(),
            serial: first.clone(),
        };
        while changes.recv().await.unwrap() != told {}
        let renewed = |status: Option<&v1::NameStatus>| {
            let certificate = status.and_then(|status| status.certificate.as_ref());
            certificate.is_some_and(|certificate| certificate.serial != first)
        };
        world.status(&quiz, renewed).await;
        assert_ne!(key(&world, &quiz).await, before, "{reason}");
        let revoked = world.fakes.revoked.lock().last().cloned();
        assert_eq!(revoked, Some((first, reason)));
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_served_until_another_is_there_unless_its_key_is_known() {
    let world = World::new().await;
    let quiz = name("quiz.school.org");
    let one = acme("https://a.test/");
    let session = ProxySession::begin(Arc::clone(&world.manager));
    let declared = subjects(&[&quiz], &policy(std::slice::from_ref(&one)));
    session.declare(declared).await.unwrap();
    world.state(&quiz, v1::State::Valid).await;
    world.fakes.down.lock().push(one.id());
    let superseded = RevocationReason::Superseded;
    world.manager.revoke(&quiz, superseded).await.unwrap();
    world.state(&quiz, v1::State::Renewing).await;
    assert!(world.manager.certificate(&quiz).await.unwrap().is_some());
    let is_failed = |status: Option<&v1::NameStatus>| status.is_some_and(|s| s.failures > 0);
    world.status(&quiz, is_failed).await;
    let compromised = RevocationReason::KeyCompromise;
    // The attempt that failed may be about to end.
    while let Err(error) = world.manager.revoke(&quiz, compromised).await {
        assert!(matches!(error, RequestError::Busy(_)), "{error}");
        tokio::task::yield_now().await;
    }
    assert!(world.manager.certificate(&quiz).await.unwrap().is_none());
    let nothing = world.manager.revoke(&quiz, compromised).await;
    assert!(matches!(nothing, Err(RequestError::NothingStored(_))));
}
