//! Handshakes for names whose certificate is obtained while the client waits.

use std::sync::Arc;
use std::time::Duration;

use downstream::{CertificateTable, Obtaining, OnDemand};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{self, Client, Running, wait_until};

/// Notes what it is asked for, and is done when it is told to.
#[derive(Debug, Default)]
struct Patient {
    asked: Mutex<Vec<String>>,
    is_done: watch::Sender<bool>,
}

impl OnDemand for Patient {
    fn obtain(&self, name: &str) -> Option<Obtaining> {
        self.asked.lock().push(name.to_owned());
        if name == "never.test" {
            return None;
        }
        let mut done = self.is_done.subscribe();
        Some(Box::pin(async move {
            let _ = done.wait_for(|is_done| *is_done).await;
        }))
    }
}

impl Patient {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn start(names: &[&str]) -> (Arc<Patient>, Running) {
    let patient = Arc::<Patient>::default();
    let given: Arc<dyn OnDemand> = Arc::<Patient>::clone(&patient);
    let running = Running::tls_with(1, names, |options| options.on_demand = Some(given)).await;
    (patient, running)
}

/// A client whose handshake for `name` is under way.
fn begin(
    running: &Running,
    name: &'static str,
) -> tokio::task::JoinHandle<std::io::Result<String>> {
    let address = running.address;
    tokio::spawn(async move {
        let tcp = TcpStream::connect(address).await?;
        let connector = tokio_rustls::TlsConnector::from(support::client_config(&["http/1.1"]));
        let stream = connector.connect(name.try_into().unwrap(), tcp).await?;
        let names = support::names_of(&stream).join(",");
        Client::over(stream, false).await.get("/").await;
        Ok(names)
    })
}

fn insert(certificates: &CertificateTable, name: &str) {
    certificates.insert([(name.into(), support::self_signed(name))]);
}

#[tokio::test]
async fn handshake_waits_for_its_certificate_while_others_go_on() {
    let (patient, running) = start(&["known.test", "*.known.test"]).await;
    let waiting = begin(&running, "new.test");
    wait_until(|| patient.asked() == ["new.test"]).await;
    for name in ["known.test", "a.known.test"] {
        running.handshake(Some(name), &[]).await.unwrap();
    }
    assert!(!waiting.is_finished());
    insert(&running.certificates, "new.test");
    patient.is_done.send_replace(true);
    assert_eq!(waiting.await.unwrap().unwrap(), "new.test");
    assert_eq!(patient.asked(), ["new.test"]);
}

#[tokio::test]
async fn handshake_fails_when_there_is_no_certificate_to_be_had() {
    let (patient, running) = start(&[]).await;
    begin(&running, "never.test").await.unwrap().unwrap_err();
    patient.is_done.send_replace(true);
    begin(&running, "failed.test").await.unwrap().unwrap_err();
    assert_eq!(patient.asked(), ["never.test", "failed.test"]);
    wait_until(|| running.server.figures().handshakes_failed == 2).await;
}

#[tokio::test]
async fn a_client_that_goes_is_not_waited_for() {
    let (patient, running) = start(&[]).await;
    let waiting = begin(&running, "new.test");
    wait_until(|| patient.asked() == ["new.test"]).await;
    assert_eq!(running.server.figures().connections, 1);
    waiting.abort();
    wait_until(|| running.server.figures().connections == 0).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_certificates() {
    let (patient, running) = start(&[]).await;
    let waiting = begin(&running, "new.test");
    wait_until(|| patient.asked() == ["new.test"]).await;
    let drained = running.server.drain(Duration::from_secs(3600));
    let dropped = tokio::time::timeout(Duration::from_secs(20), drained).await;
    assert_eq!(dropped.expect("the drain ends"), 0);
    waiting.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn validation_and_clients_without_a_name_never_wait() {
    let (patient, running) = start(&[]).await;
    let validation = running.handshake(Some("new.test"), &["acme-tls/1"]).await;
    validation.unwrap_err();
    running.handshake(None, &[]).await.unwrap_err();
    assert!(patient.asked().is_empty());
}

#[tokio::test]
async fn plain_http_is_told_so_here_too() {
    let (_, running) = start(&[]).await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 "), "{answer:?}");
}

#[tokio::test]
async fn the_use_of_a_certificate_is_noted() {
    let running = Running::tls(1, &["a.test"]).await;
    let certificate = running.certificates.find("a.test").unwrap();
    assert!(!certificate.take_use());
    running.handshake(Some("a.test"), &[]).await.unwrap();
    assert!(certificate.take_use());
    assert!(!certificate.take_use());
}
