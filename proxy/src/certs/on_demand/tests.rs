use std::path::Path;

use downstream::CertificateTable;
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::sidecar::readiness::Readiness;
use tonic::transport::Channel;

use super::*;
use crate::certs::cache::Cache;
use crate::compile::automatic_https::{self, Plan, policy};

/// Certificates of a proxy that allows `*.test` on demand, and whose cert-manager is away.
fn certificates(data: &Path) -> Certificates {
    let client = DeliveryClient::new(Channel::from_static("http://127.0.0.1:1").connect_lazy());
    let table = Arc::<CertificateTable>::default();
    let certificates = Certificates::new(table, data, client, Readiness::default()).unwrap();
    certificates.set_plan(&plan());
    certificates
}

fn plan() -> Plan {
    Plan {
        policies: vec![automatic_https::Policy {
            on_demand: Some(policy::OnDemand::default()),
            ..automatic_https::Policy::default()
        }],
        subjects: vec![vec!["*.test".to_owned()]],
        ..Plan::default()
    }
}

/// Keeps a certificate for `name` as an earlier run did, last used at `used_at`.
fn keep(data: &Path, name: &str, used_at: SystemTime) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    // By default it is a year that not every file system knows.
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let cache = Cache::on_demand(data);
    cache
        .store(name, &[certificate.der().to_vec()], &key.serialize_der())
        .unwrap();
    cache.note_use(name, used_at).unwrap();
}

fn declared(certificates: &Certificates) -> Vec<String> {
    let wanted = certificates.wanted.borrow();
    wanted.on_demand.keys().cloned().collect()
}

#[tokio::test]
async fn names_of_no_policy_are_refused_at_once() {
    let data = tempfile::tempdir().unwrap();
    let certificates = certificates(data.path());
    for name in ["a.example.org", "test", "127.0.0.1", "a.b.test", "*.test"] {
        assert!(certificates.obtain(name).is_none(), "{name}");
    }
    assert!(certificates.obtain("a.test").is_some());
    certificates.set_plan(&Plan::default());
    assert!(certificates.obtain("b.test").is_none());
}

#[tokio::test]
async fn clients_of_one_name_share_an_attempt_that_ends_without_cert_manager() {
    let data = tempfile::tempdir().unwrap();
    let certificates = certificates(data.path());
    let waits = [(); 3].map(|()| certificates.obtain("a.test").unwrap());
    assert_eq!(certificates.attempts.flights.lock().len(), 1);
    for wait in waits {
        wait.await;
    }
    assert!(certificates.table.find("a.test").is_none());
    assert!(certificates.attempts.flights.lock().is_empty());
    // The next one is not even tried.
    assert!(certificates.obtain("a.test").is_none());
    assert!(declared(&certificates).is_empty());
}

#[tokio::test]
async fn only_so_many_names_are_obtained_at_once() {
    let data = tempfile::tempdir().unwrap();
    let certificates = certificates(data.path());
    let begun = (0..FLIGHTS + 5).filter(|n| certificates.obtain(&format!("n{n}.test")).is_some());
    assert_eq!(begun.count(), FLIGHTS);
}

#[tokio::test]
async fn what_another_proxy_has_kept_is_served_without_cert_manager() {
    let data = tempfile::tempdir().unwrap();
    let certificates = certificates(data.path());
    keep(data.path(), "a.test", SystemTime::UNIX_EPOCH);
    certificates.obtain("a.test").unwrap().await;
    assert!(certificates.table.find("a.test").is_some());
    assert_eq!(declared(&certificates), ["a.test"]);
}

#[tokio::test]
async fn names_are_remembered_over_a_restart_while_they_are_wanted() {
    let data = tempfile::tempdir().unwrap();
    keep(data.path(), "a.test", SystemTime::now());
    keep(data.path(), "a.example.org", SystemTime::now());
    let certificates = certificates(data.path());
    assert_eq!(declared(&certificates), ["a.test"]);
    assert!(certificates.table.find("a.test").is_some());
    assert!(certificates.table.find("a.example.org").is_none());
    let declaration = declaration::declaration(&certificates.wanted.borrow()).unwrap();
    assert_eq!(declaration.subjects[0].name, "a.test");
    assert!(declaration.policies[0].on_demand.is_some());

    certificates.set_plan(&plan());
    assert_eq!(declared(&certificates), ["a.test"]);
    certificates.set_plan(&Plan::default());
    assert!(declared(&certificates).is_empty());
    assert!(certificates.table.find("a.test").is_none());
}

#[tokio::test]
async fn names_that_nobody_asks_for_are_let_go() {
    let data = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    keep(data.path(), "used.test", now - UNUSED_AFTER / 2);
    keep(data.path(), "unused.test", now - UNUSED_AFTER);
    let certificates = certificates(data.path());
    certificates.tend_on_demand(now);
    assert_eq!(declared(&certificates), ["used.test"]);
    assert!(certificates.table.find("unused.test").is_none());
    assert_eq!(certificates.on_demand_cache.names().unwrap(), ["used.test"]);
}

#[tokio::test]
async fn expired_certificates_make_room_for_new_ones() {
    let data = tempfile::tempdir().unwrap();
    keep(data.path(), "a.test", SystemTime::now());
    let certificates = certificates(data.path());
    let certificate = certificates.table.managed("a.test").unwrap();
    let end = certificate.not_after();
    certificates
        .on_demand_cache
        .note_use("a.test", end)
        .unwrap();
    certificates.tend_on_demand(end - Duration::from_secs(1));
    assert!(certificates.table.managed("a.test").is_some());
    certificates.tend_on_demand(end);
    assert!(certificates.table.managed("a.test").is_none());
    assert_eq!(declared(&certificates), ["a.test"]);
}
