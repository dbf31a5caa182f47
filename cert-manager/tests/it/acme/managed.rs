//! The manager with an authority, on a clock that is set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cert_manager::clock::{Clock, ManualClock};
use cert_manager::issuer::Authorities;
use cert_manager::issuer::acme::Environment;
use cert_manager::issuer::internal::InternalAuthority;
use cert_manager::issuer::preflight::{Dns, Mode, Ports, Preflight};
use cert_manager::manager::{Manager, Parts, ProxySession};
use cert_manager::metrics::Metrics;
use cert_manager::name::Name;
use cert_manager::on_demand::OnDemand;
use cert_manager::policy::{Defaults, IssuerPolicy, KeyType, Policy, RenewalWindow};
use jiff::{SignedDuration, Timestamp};
use proto::certs::v1;
use proto::sidecar::shutdown::Shutdown;

use super::client::{Client, parse};
use crate::context::DEADLINE;
use crate::fake_ca::FakeCa;

/// A manager in the test's own process, with a proxy that declares one name.
struct Managed {
    manager: Arc<Manager>,
    clock: Arc<ManualClock>,
    shutdown: Shutdown,
    name: Name,
    _session: ProxySession,
    _client: Client,
}

impl Managed {
    async fn start(ca: &FakeCa) -> Self {
        let client = Client::new(ca).await;
        let clock = Arc::new(ManualClock::new(Timestamp::now()));
        let as_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let environment = Environment {
            clock: Arc::clone(&as_clock),
            ..client.environment.clone()
        };
        let storage = Arc::clone(&environment.storage);
        let challenges = environment.challenges.clone();
        let resolver = environment.resolver.clone();
        let internal = InternalAuthority::load(Arc::clone(&storage), Arc::clone(&as_clock)).await;
        let preflight = Preflight::new(
            Dns::new(&[]).unwrap(),
            challenges.clone(),
            Ports::default(),
            Mode::Off,
        );
        let issuers = Authorities::new(
            Arc::new(internal.unwrap()),
            environment,
            Arc::new(preflight),
        );
        let manager = Manager::load(Parts {
            storage,
            issuers: Arc::new(issuers),
            clock: as_clock,
            challenges,
            defaults: Defaults {
                acme_ca: ca.directory_url(),
                email: None,
            },
            metrics: Metrics::default(),
            on_demand: Arc::new(OnDemand::new(resolver).unwrap()),
        })
        .await
        .unwrap();
        let shutdown = Shutdown::default();
        tokio::spawn(Arc::clone(&manager).maintain(shutdown.clone()));
        let name = parse("quiz.school.org");
        let policy = Policy {
            issuers: vec![IssuerPolicy::Acme(Box::new(client.policy.clone()))],
            key_type: KeyType::P256,
            reuse_private_key: false,
            renewal_window: RenewalWindow::default(),
            on_demand: None,
        };
        let session = ProxySession::begin(Arc::clone(&manager));
        let subjects = BTreeMap::from([(name.clone(), policy)]);
        session.declare(subjects).await.unwrap();
        Self {
            manager,
            clock,
            shutdown,
            name,
            _session: session,
            _client: client,
        }
    }

    async fn status(&self, is_wanted: impl Fn(&v1::NameStatus) -> bool) -> v1::NameStatus {
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let status = self.manager.status(&self.name);
                if let Some(status) = status.filter(&is_wanted) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let error = || panic!("{:?}", self.manager.status(&self.name));
        waited.await.unwrap_or_else(|_| error())
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.shutdown.token.cancel();
    }
}

fn serial(status: &v1::NameStatus) -> String {
    let certificate = status.certificate.as_ref();
    certificate
        .map(|facts| facts.serial.clone())
        .unwrap_or_default()
}

fn wait_hours(managed: &Managed, hours: i64) {
    managed.clock.advance(SignedDuration::from_hours(hours));
}

#[tokio::test]
async fn a_certificate_that_the_authority_recalls_is_replaced_at_once() {
    let ca = FakeCa::start().await;
    let managed = Managed::start(&ca).await;
    let first = managed
        .status(|status| status.state() == v1::State::Valid)
        .await;
    ca.script(|script| {
        let window = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        script.renewal_window = Some((window.0.to_owned(), window.1.to_owned()));
    });
    // Used for six hours, it is no mistake about a new certificate.
    wait_hours(&managed, 7);
    let renewed = managed
        .status(|status| serial(status) != serial(&first))
        .await;
    assert_eq!(renewed.failures, 0);
    let asked = ca.seen("new-order");
    assert_eq!(asked.len(), 2);
    assert!(asked[0]["replaces"].is_null());
    assert!(asked[1]["replaces"].is_string(), "{}", asked[1]);
    assert!(!ca.seen("renewal-info").is_empty());
}

#[tokio::test]
async fn an_authority_that_is_down_is_asked_again_and_its_window_stays_known() {
    let ca = FakeCa::start().await;
    let begin = Timestamp::now() + SignedDuration::from_hours(24 * 5);
    let end = begin + SignedDuration::from_hours(24);
    ca.script(|script| {
        script.renewal_window = Some((format!("{begin:.0}"), format!("{end:.0}")));
        script.renewal_retry_after = Some("3600".to_owned());
    });
    let managed = Managed::start(&ca).await;
    managed
        .status(|status| status.state() == v1::State::Valid)
        .await;
    wait_hours(&managed, 1);
    let told = managed
        .status(|status| status.renewal_window.is_some())
        .await;
    assert_eq!(told.renewal_source(), v1::RenewalSource::Ari);
    let window = told.renewal_window.unwrap();

    let html = crate::fake_ca::Fault::Html(503, Some(7200));
    ca.fail("renewal-info", html, 1);
    wait_hours(&managed, 2);
    let asks = |status: &v1::NameStatus| status.renewal_window.as_ref()?.ask_again_at;
    let later = managed
        .status(|status| asks(status) != window.ask_again_at)
        .await;
    let kept = later.renewal_window.unwrap();
    assert_eq!((kept.start, kept.end), (window.start, window.end));
    assert_eq!(later.renew_at, told.renew_at);
    let pause = kept.ask_again_at.unwrap().seconds - managed.clock.now().as_second();
    assert!((7200..=7920).contains(&pause), "{pause}");
}
