//! Certificates for other programs: who may have which, and `fetch`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cert_manager::certificate::PrivateKey;
use proto::certs::v1;
use proto::certs::v1::admin_client::AdminClient;
use proto::certs::v1::delivery_client::DeliveryClient;
use proto::certs::v1::status_client::StatusClient;
use proto::certs::v1::subscription_client::SubscriptionClient;
use proto::certs::v1::subscription_update::Update;
use proto::sidecar::identity::Role;
use tempfile::TempDir;
use tonic::Code;

use crate::context::{DEADLINE, Place};
use crate::proxy::{Proxy, internal};

const MAIL: &str = "mail.localhost";
const DB: &str = "db.localhost";

fn place() -> Place {
    Place::with_flags([
        "--subscriber",
        "mail=mail.localhost",
        "--subscriber",
        "db=db.localhost,replica.localhost",
    ])
}

/// Runs `fetch` as a subscriber, for one name.
fn fetch(place: &Place, subscriber: &str, name: &str, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cert-manager"));
    command
        .args(["fetch", name, "--out"])
        .arg(out)
        .arg("--control")
        .arg(place.control().join(format!("subscriber-{subscriber}")))
        .args(["--cert-manager", &format!("https://{}", place.listen)]);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until `check` holds.
async fn until(what: &str, check: impl Fn() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A running `fetch --watch`; killed when dropped.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_get_their_names_and_nothing_else() {
    let place = place();
    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &[(MAIL, internal()), (DB, internal())]).await;
    proxy.certificate(MAIL, None).await;
    proxy.certificate(DB, None).await;
    let channel = || place.channel_by("subscriber-mail");
    let subscribe = async |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect();
        let request = v1::SubscribeRequest { names };
        SubscriptionClient::new(channel()).subscribe(request).await
    };
    // Without names: all that it is allowed.
    let mut updates = subscribe(&[]).await.unwrap().into_inner();
    let first = updates.message().await.unwrap().unwrap().update.unwrap();
    assert!(
        matches!(&first, Update::Certificate(found) if found.name == MAIL),
        "{first:?}"
    );
    let second = updates.message().await.unwrap().unwrap().update.unwrap();
    assert!(matches!(second, Update::Synchronized(_)), "{second:?}");
    for names in [&[DB][..], &[MAIL, DB], &["*.localhost"]] {
        let refused = subscribe(names).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{names:?}");
        assert!(
            refused.message().contains("--subscriber mail="),
            "{refused:?}"
        );
    }
    // Nothing that is for other roles.
    let denied = Code::PermissionDenied;
    let stream = tokio_stream::empty::<v1::ProxyMessage>();
    let mut delivery = DeliveryClient::new(channel());
    assert_eq!(delivery.subscribe(stream).await.unwrap_err().code(), denied);
    let challenge = v1::GetChallengeRequest::default();
    assert_eq!(
        delivery.get_challenge(challenge).await.unwrap_err().code(),
        denied
    );
    let mut admin = AdminClient::new(channel());
    let renew = v1::RenewRequest {
        name: MAIL.to_owned(),
    };
    assert_eq!(admin.renew(renew).await.unwrap_err().code(), denied);
    let diagnose = v1::DiagnoseRequest {
        name: MAIL.to_owned(),
    };
    assert_eq!(admin.diagnose(diagnose).await.unwrap_err().code(), denied);
    let mut status = StatusClient::new(channel());
    assert_eq!(
        status.list(v1::ListRequest {}).await.unwrap_err().code(),
        denied
    );
    // And nobody else subscribes.
    for role in [Role::Operator, Role::Proxy, Role::StaticServer] {
        let mut client = SubscriptionClient::new(place.channel(role));
        let refused = client.subscribe(v1::SubscribeRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), denied, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_not_named_any_more_gets_nothing() {
    let mut place = place();
    let server = place.start().await;
    server.terminate();
    place.set_flags(["--subscriber", "db=db.localhost"]);
    let _server = place.start().await;
    let mut client = SubscriptionClient::new(place.channel_by("subscriber-mail"));
    let refused = client.subscribe(v1::SubscribeRequest::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("knows no subscriber `mail`"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_writes_what_is_stored_and_says_what_is_not() {
    let place = place();
    let _server = place.start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("certs");
    let output = fetch(&place, "mail", MAIL, &out).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no certificate for mail.localhost yet"),
        "{output:?}"
    );
    assert!(
        stderr(&output).contains("no proxy declares it"),
        "{output:?}"
    );

    let proxy = Proxy::connect(&place, &[(MAIL, internal())]).await;
    let certificate = proxy.certificate(MAIL, None).await;
    let told = folder.path().join("told");
    let hook = format!("cp {}/mail.localhost.pem {}", out.display(), told.display());
    let run = || {
        fetch(&place, "mail", MAIL, &out)
            .args(["--hook", &hook])
            .output()
            .unwrap()
    };
    let output = run();
    assert!(output.status.success(), "{output:?}");
    let key = fs::read_to_string(out.join("mail.localhost.key")).unwrap();
    assert_eq!(
        PrivateKey::from_pem(&key).unwrap().secret_der(),
        certificate.private_key
    );
    let chain = fs::read_to_string(out.join("mail.localhost.crt")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(fs::read_to_string(&told).unwrap(), chain + &key);
    assert!(!stderr(&output).contains("PRIVATE KEY"), "{output:?}");
    // Nothing new, so the hook does not run.
    fs::remove_file(&told).unwrap();
    assert!(run().status.success());
    assert!(!told.exists());

    let output = fetch(&place, "mail", DB, &out).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("not allowed db.localhost"),
        "{output:?}"
    );
    let output = fetch(&place, "mail", MAIL, &out)
        .args(["--mode", "0666"])
        .output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    let output = fetch(&place, "nobody", MAIL, &out).output().unwrap();
    assert!(
        stderr(&output).contains("--subscriber ID=NAME"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_follows_renewals_and_restarts() {
    let place = place();
    let server = place.start().await;
    let out = TempDir::new().unwrap();
    let told = out.path().join("told");
    let hook = format!("echo \"$PORTICO_NAME\" >> {}; exit 3", told.display());
    // Before there is anything to fetch.
    let watcher = fetch(&place, "db", DB, out.path())
        .args(["--watch", "--hook-shell", "--hook", &hook])
        .stderr(Stdio::null())
        .spawn();
    let _watcher = Watcher(watcher.unwrap());
    let file: PathBuf = out.path().join("db.localhost.key");
    let holds = |certificate: &v1::Certificate| {
        let key = fs::read_to_string(&file)
            .ok()
            .and_then(|key| PrivateKey::from_pem(&key).ok());
        key.is_some_and(|key| key.secret_der() == certificate.private_key)
    };
    let proxy = Proxy::connect(&place, &[(DB, internal())]).await;
    let first = proxy.certificate(DB, None).await;
    until("the first certificate is not written", || holds(&first)).await;
    server.terminate();

    let _server = place.start().await;
    let proxy = Proxy::connect(&place, &[(DB, internal())]).await;
    let request = v1::RenewRequest {
        name: DB.to_owned(),
    };
    place.admin().renew(request).await.unwrap();
    let second = proxy
        .certificate(DB, Some(&crate::proxy::serial(&first)))
        .await;
    until("the second certificate is not written", || holds(&second)).await;
    // The hook failed each time, and ran again at the next change.
    let lines = || {
        fs::read_to_string(&told)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("the hook did not run twice", || lines() == 2).await;
}
