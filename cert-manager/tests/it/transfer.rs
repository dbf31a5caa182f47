//! Certificates from elsewhere.

use std::path::Path;
use std::process::Output;

use cert_manager::authority::Signer;
use jiff::{SignedDuration, Timestamp};
use proto::certs::v1;
use rcgen::{CertificateParams, Issuer, KeyPair};

use crate::context::Place;
use crate::proxy::{Proxy, acme, internal, serial};

/// Nobody answers there.
const NOWHERE: &str = "https://127.0.0.1:9/dir";

/// An authority of the tests' own.
struct Elsewhere {
    issuer: Issuer<'static, KeyPair>,
}

impl Elsewhere {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self {
            issuer: Issuer::new(params, KeyPair::generate().unwrap()),
        }
    }

    /// A pair that begins and ends so many hours from now.
    fn pair(&self, names: &[&str], begin: i64, end: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let moment = |hours: i64| {
            let time = Timestamp::now() + SignedDuration::from_hours(hours);
            time::OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap()
        };
        params.not_before = moment(begin);
        params.not_after = moment(end);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn write(folder: &Path, name: &str, (certificate, key): (&str, &str)) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.crt")), certificate).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

fn report(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn pairs_are_taken_one_by_one_and_used_when_they_are_declared() {
    let place = Place::new();
    let server = place.start().await;
    let elsewhere = Elsewhere::new();
    let folder = place.path("pairs");
    let (good, key) = elsewhere.pair(&["a.school.org", "www.a.school.org"], -48, 24 * 60);
    write(&folder, "good", (&good, &key));
    let (other, _) = elsewhere.pair(&["b.school.org"], -48, 24 * 60);
    write(&folder, "mismatch", (&other, &key));
    let (ended, ended_key) = elsewhere.pair(&["c.school.org"], -48, -1);
    write(&folder, "ended", (&ended, &ended_key));
    write(&folder, "nonsense", ("nonsense", &key));
    std::fs::write(folder.join("lone.crt"), &good).unwrap();

    let output = place.run(&["import", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = report(&output);
    for line in [
        "imported  a.school.org (good.crt)",
        "imported  www.a.school.org (good.crt)",
        "refused   b.school.org (mismatch.crt): the certificate does not belong",
        "refused   c.school.org (ended.crt): it ended on",
        "refused   nonsense.crt (nonsense.crt): no certificate",
        "refused   lone.crt (lone.crt): there is no key for it: lone.key",
        "2 imported, 0 kept as stored, 4 refused",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("4 items could not be imported"), "{error}");

    // Declared only now, by a policy of another issuer: used, and nothing is ordered.
    let subjects = [
        ("a.school.org", acme(NOWHERE)),
        ("www.a.school.org", acme(NOWHERE)),
    ];
    let proxy = Proxy::connect(&place, &subjects).await;
    for (name, _) in &subjects {
        proxy.certificate(name, None).await;
        let status = place.status_of(name, |_| true).await;
        assert_eq!(status.state(), v1::State::Valid);
        assert_eq!(status.failures, 0);
        assert_eq!(status.issuer, "imported");
        let (renew_at, not_after) = (
            status.renew_at.unwrap().seconds,
            status.certificate.unwrap().not_after.unwrap().seconds,
        );
        let left = not_after - renew_at;
        // A third of its lifetime, or somewhat less: renewals are spread.
        assert!((24 * 15..=24 * 21).contains(&(left / 3600)), "{left}");
    }
    server.terminate();

    // Also after a restart from the files alone.
    std::fs::remove_dir_all(place.data().join("db")).unwrap();
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &subjects[..1]).await;
    proxy.certificate("a.school.org", None).await;
}

#[tokio::test]
async fn nothing_newer_is_replaced_and_something_newer_is_delivered() {
    let place = Place::new();
    let _server = place.start().await;
    let elsewhere = Elsewhere::new();
    let name = "a.school.org";
    let import = |folder: &str, begin: i64| {
        let (certificate, key) = elsewhere.pair(&[name], begin, 24 * 60);
        let folder = place.path(folder);
        write(&folder, name, (&certificate, &key));
        let output = place.run(&["import", folder.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        report(&output)
    };
    assert!(import("first", -48).contains("imported  a.school.org"));
    let proxy = Proxy::connect(&place, &[(name, acme(NOWHERE))]).await;
    let first = serial(&proxy.certificate(name, None).await);
    let older = import("older", -72);
    assert!(older.contains("it is older than the stored one"), "{older}");
    let folder = place.path("first");
    let again = report(&place.run(&["import", folder.to_str().unwrap()]));
    assert!(again.contains("it is stored already"), "{again}");
    assert!(import("newer", -24).contains("imported  a.school.org"));
    proxy.certificate(name, Some(&first)).await;
}

#[tokio::test]
async fn an_authority_in_use_is_replaced_only_when_that_is_asked_for() {
    let place = Place::new();
    let server = place.start().await;
    let subjects = [("a.localhost", internal())];
    let proxy = Proxy::connect(&place, &subjects).await;
    let first = serial(&proxy.certificate("a.localhost", None).await);

    let now = Timestamp::now();
    let root = Signer::root("theirs", now, SignedDuration::from_hours(24 * 3650)).unwrap();
    let folder = place.path("caddy-data");
    let authority = folder.join("caddy/pki/authorities/local");
    std::fs::create_dir_all(&authority).unwrap();
    std::fs::write(authority.join("root.crt"), &root.certificate_pem).unwrap();
    std::fs::write(authority.join("root.key"), root.key.to_pem().as_bytes()).unwrap();
    let folder = folder.to_str().unwrap();

    let kept = report(&place.run(&["import", folder]));
    assert!(kept.contains("1 certificates in use"), "{kept}");
    assert_ne!(place.internal_root(), root.certificate_pem);
    let taken = report(&place.run(&["import", folder, "--replace-authority"]));
    assert!(taken.contains("imported  internal authority"), "{taken}");
    assert_eq!(place.internal_root(), root.certificate_pem);

    let request = v1::RenewRequest {
        name: "a.localhost".to_owned(),
    };
    place.admin().renew(request).await.unwrap();
    let renewed = proxy.certificate("a.localhost", Some(&first)).await;
    let root = root.certificate().unwrap();
    assert_is_below(&renewed, &root);
    let (log, _, _) = server.terminate();
    assert!(log.contains("another authority takes the place"), "{log}");

    // And it stays.
    let _server = place.start().await;
    let subjects = [("a.localhost", internal()), ("b.localhost", internal())];
    let proxy = Proxy::connect(&place, &subjects).await;
    let next = proxy.certificate("b.localhost", None).await;
    assert_is_below(&next, &root);
}

/// Checks that a chain of two is signed by `root`.
fn assert_is_below(certificate: &v1::Certificate, root: &rustls_pki_types::CertificateDer<'_>) {
    let (_, root) = x509_parser::parse_x509_certificate(root).unwrap();
    let (_, issuer) = x509_parser::parse_x509_certificate(&certificate.chain[1]).unwrap();
    assert_eq!(issuer.issuer(), root.subject());
    assert_eq!(root.subject().to_string(), "CN=theirs");
}

#[tokio::test]
async fn only_the_operator_imports_and_exports() {
    let place = Place::new();
    let _server = place.start().await;
    for role in [
        proto::sidecar::identity::Role::Proxy,
        proto::sidecar::identity::Role::StaticServer,
    ] {
        let channel = place.channel(role);
        let mut admin = v1::admin_client::AdminClient::new(channel);
        let refused = admin.export(v1::ExportRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
        let requests = tokio_stream::iter([v1::ImportRequest::default()]);
        let refused = admin.import(requests).await;
        assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    }
}

#[tokio::test]
async fn what_is_exported_can_be_imported_elsewhere() {
    let (place, other) = (Place::new(), Place::new());
    let server = place.start().await;
    let subjects = [("a.localhost", internal()), ("b.localhost", internal())];
    let proxy = Proxy::connect(&place, &subjects).await;
    let before = serial(&proxy.certificate("a.localhost", None).await);
    proxy.certificate("b.localhost", None).await;
    let folder = place.path("export");
    let output = place.run(&["export", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let root = place.internal_root();
    server.terminate();

    let _server = other.start().await;
    let output = other.run(&["import", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(other.internal_root(), root);
    let proxy = Proxy::connect(&other, &subjects).await;
    let after = serial(&proxy.certificate("a.localhost", None).await);
    assert_eq!(after, before);
}
