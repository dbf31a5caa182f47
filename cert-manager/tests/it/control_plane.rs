//! Delivery, Status and Admin with the internal authority.

use std::sync::Arc;
use std::time::Duration;

use proto::certs::v1;
use proto::certs::v1::admin_client::AdminClient;
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::certs::v1::status_client::StatusClient;
use proto::certs::v1::watch_response::Event;
use proto::sidecar::identity::{Role, provider};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tonic::Code;

use crate::context::{Place, free_address};
use crate::proxy::{Proxy, acme, internal, serial};

/// Checks a chain as a browser does that trusts the internal root.
fn verify(certificate: &v1::Certificate, root: &str, name: &str) {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .unwrap();
    let chain: Vec<_> = certificate
        .chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let name = ServerName::try_from(name).unwrap();
    let verified = rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &*verifier,
        &chain[0],
        &chain[1..],
        &name,
        &[],
        UnixTime::now(),
    );
    verified.unwrap();
    // The key is one that rustls serves with, and belongs to the leaf.
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificate.private_key.clone()));
    let key = provider().key_provider.load_private_key(key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain, key);
    certified.keys_match().unwrap();
}

#[tokio::test]
async fn internal_certificates_are_delivered_and_verify() {
    let place = Place::new();
    let _server = place.start().await;
    let names = [
        "localhost",
        "app.localhost",
        // TLS clients accept wildcards below two labels and more.
        "*.app.localhost",
        "127.0.0.1",
        "::1",
    ];
    let subjects = names.map(|name| (name, internal()));
    let proxy = Proxy::connect(&place, &subjects).await;
    for name in names {
        let certificate = proxy.certificate(name, None).await;
        let served_as = name.replace('*', "any");
        verify(&certificate, &place.internal_root(), &served_as);
        assert_eq!(certificate.chain.len(), 2);
        let status = place.status_of(name, |_| true).await;
        assert_eq!(status.state(), v1::State::Valid);
        assert_eq!(status.issuer, "internal");
        assert_eq!(status.declared_by, 1);
        assert_eq!(status.renewal_source(), v1::RenewalSource::Lifetime);
        let summary = status.certificate.unwrap();
        assert_eq!(summary.serial, serial(&certificate));
        assert_eq!(summary.subject_alternative_names, [name]);
        let lifetime = summary.not_after.unwrap().seconds - summary.not_before.unwrap().seconds;
        assert!((12 * 3600..13 * 3600).contains(&lifetime), "{lifetime}");
    }
}

#[tokio::test]
async fn a_restart_issues_nothing_new() {
    let place = Place::new();
    let server = place.start().await;
    let subjects = [("app.localhost", internal())];
    let proxy = Proxy::connect(&place, &subjects).await;
    let before = serial(&proxy.certificate("app.localhost", None).await);
    let root = place.internal_root();
    let (log, took, code) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(proxy.wait(|received| received.ended).await.ended);

    let server = place.start().await;
    // Known and valid before any proxy is back.
    let status = place.status_of("app.localhost", |_| true).await;
    assert_eq!(status.state(), v1::State::Valid);
    let proxy = Proxy::connect(&place, &subjects).await;
    // All that is stored comes before the synchronization, which `connect` waits for.
    let received = proxy.wait(|_| true).await;
    assert_eq!(serial(&received.certificates["app.localhost"]), before);
    assert_eq!(place.internal_root(), root);
    drop(server);
}

#[tokio::test]
async fn operators_renew_and_forget() {
    let place = Place::new();
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &[("app.localhost", internal())]).await;
    let first = serial(&proxy.certificate("app.localhost", None).await);

    let output = place.run(&["renew", "app.localhost"]);
    assert!(output.status.success(), "{output:?}");
    let second = proxy.certificate("app.localhost", Some(&first)).await;
    let output = place.run(&["forget", "app.localhost"]);
    assert!(output.status.success(), "{output:?}");
    // Still declared, so it begins anew.
    let third = proxy
        .certificate("app.localhost", Some(&serial(&second)))
        .await;
    assert_ne!(serial(&third), first);

    proxy.declare(&[("other.localhost", internal())]).await;
    let unused = |status: &v1::NameStatus| status.state() == v1::State::Unused;
    place.status_of("app.localhost", unused).await;
    let output = place.run(&["renew", "app.localhost"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no proxy declares"));
    place
        .admin()
        .forget(v1::ForgetRequest {
            name: "app.localhost".to_owned(),
        })
        .await
        .unwrap();
    let gone = place
        .status()
        .get(v1::GetRequest {
            name: "app.localhost".to_owned(),
        })
        .await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    let output = place.run(&["forget", "app.localhost"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is stored"));
}

#[tokio::test]
async fn watchers_see_the_present_and_each_change() {
    let place = Place::new();
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &[("a.localhost", internal())]).await;
    proxy.certificate("a.localhost", None).await;
    let mut client = place.status();
    let answer = client.watch(v1::WatchRequest::default()).await;
    let mut events = answer.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(first, Event::Status(status) if status.name == "a.localhost"));
    proxy.declare(&[("b.localhost", internal())]).await;
    let mut dropped = false;
    let mut issued = false;
    while !(dropped && issued) {
        match events.message().await.unwrap().unwrap().event.unwrap() {
            Event::Status(status) if status.name == "a.localhost" => {
                dropped |= status.state() == v1::State::Unused;
            }
            Event::Status(status) => issued |= status.state() == v1::State::Valid,
            Event::Forgotten(name) => panic!("{name} is forgotten"),
        }
    }
}

#[tokio::test]
async fn each_service_is_for_its_roles_alone() {
    let place = Place::new();
    let _server = place.start().await;
    let denied = Code::PermissionDenied;
    for role in [Role::Operator, Role::StaticServer] {
        let mut delivery = DeliveryClient::new(place.channel(role));
        let stream = tokio_stream::empty::<v1::ProxyMessage>();
        assert_eq!(delivery.subscribe(stream).await.unwrap_err().code(), denied);
        let request = v1::GetChallengeRequest::default();
        assert_eq!(
            delivery.get_challenge(request).await.unwrap_err().code(),
            denied
        );
    }
    for role in [Role::Proxy, Role::StaticServer] {
        let mut admin = AdminClient::new(place.channel(role));
        let request = v1::RenewRequest {
            name: "a.localhost".to_owned(),
        };
        assert_eq!(admin.renew(request).await.unwrap_err().code(), denied);
    }
    for (role, allowed) in [
        (Role::Operator, true),
        (Role::Proxy, true),
        (Role::StaticServer, false),
    ] {
        let mut status = StatusClient::new(place.channel(role));
        let answer = status.list(v1::ListRequest {}).await;
        assert_eq!(answer.is_ok(), allowed, "{role}");
    }
}

#[tokio::test]
async fn the_plaintext_listener_has_status_alone() {
    let place = Place::new();
    let _server = place.start().await;
    let address = proto::sidecar::cli::AdminAddress::Tcp(place.status_listen);
    let channel = proto::sidecar::grpc::admin_channel(&address).unwrap();
    let names = StatusClient::new(channel.clone())
        .list(v1::ListRequest {})
        .await;
    assert!(names.unwrap().into_inner().names.is_empty());
    let request = v1::RenewRequest {
        name: "a.localhost".to_owned(),
    };
    let answer = AdminClient::new(channel.clone()).renew(request).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    let request = v1::GetChallengeRequest::default();
    let answer = DeliveryClient::new(channel).get_challenge(request).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_second_program_stands_by_and_takes_over() {
    let place = Place::new();
    let first = place.start().await;
    let (listen, status, admin) = (free_address(), free_address(), free_address());
    let second = place.spawn(listen, status, admin);
    let reason = loop {
        match second.health().await {
            Err(reason) if reason.contains("standby") => break reason,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok(()) => panic!("both are active"),
        }
    };
    assert!(
        reason.contains("another cert-manager uses the data folder"),
        "{reason}"
    );
    first.kill();
    second.ready().await;
}

#[tokio::test]
async fn names_that_cannot_be_certified_are_refused_with_a_hint() {
    let place = Place::new();
    let _server = place.start().await;
    let public = acme("https://acme-v02.api.letsencrypt.org/directory");
    let subjects = [
        ("quiz.your-domain.com", public.clone()),
        ("nas.local", public),
    ];
    let _proxy = Proxy::connect(&place, &subjects).await;
    let failed = |status: &v1::NameStatus| status.state() == v1::State::Failed;
    let placeholder = place.status_of("quiz.your-domain.com", failed).await;
    let problem = placeholder.last_problem.unwrap();
    assert_eq!(problem.step, "preflight");
    assert!(problem.hint.contains("your own domain"), "{problem:?}");
    let private = place.status_of("nas.local", failed).await;
    let problem = private.last_problem.unwrap();
    assert!(problem.hint.contains("tls internal"), "{problem:?}");

    let output = place.run(&["status"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with(" NAME"), "{table}");
    assert!(
        table.contains("failed") && table.contains("nas.local"),
        "{table}"
    );
    let output = place.run(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["name"], "nas.local");
    assert_eq!(json[0]["state"], "failed");
    assert_eq!(json[0]["last_problem"]["step"], "preflight");
}

#[tokio::test]
async fn declarations_of_two_proxies_add_up() {
    let place = Place::new();
    let _server = place.start().await;
    let first = Proxy::connect(&place, &[("a.localhost", internal())]).await;
    let second = Proxy::connect(&place, &[("a.localhost", internal())]).await;
    first.certificate("a.localhost", None).await;
    second.certificate("a.localhost", None).await;
    place
        .status_of("a.localhost", |status| status.declared_by == 2)
        .await;
    second.declare(&[]).await;
    let status = place
        .status_of("a.localhost", |status| status.declared_by == 1)
        .await;
    assert_eq!(status.state(), v1::State::Valid);
    drop(first);
    // A proxy that goes away may come back, so the name is not dropped.
    let status = place
        .status_of("a.localhost", |status| status.declared_by == 0)
        .await;
    assert_eq!(status.state(), v1::State::Valid);
}

#[test]
fn usage_errors_exit_with_2() {
    let place = Place::new();
    let output = place.run(&["serve", "--store", "etcd://etcd:2379"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("not supported yet"), "{text}");
    assert_eq!(place.run(&["serve", "--nonsense"]).status.code(), Some(2));
    // Nothing runs there.
    assert_eq!(place.run(&["health"]).status.code(), Some(1));
    assert_eq!(place.run(&["status"]).status.code(), Some(1));
}
