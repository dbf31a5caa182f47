//! The control plane's manners over real sockets: who may call whom, and what is served.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::Path;

use proto::sidecar::dns::Resolver;
use proto::sidecar::grpc::{TlsIncoming, channel, routes, serve_tls};
use proto::sidecar::identity::{AUTHORITY_FILE, IDENTITY_FILE, Identity, LiveIdentity, Role};
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn write(&self, role: Role, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![role.dns_name()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let identity = key.serialize_pem() + &certificate.pem();
        std::fs::write(folder.join(IDENTITY_FILE), identity).unwrap();
        std::fs::write(folder.join(AUTHORITY_FILE), self.0.pem()).unwrap();
    }

    fn identity(&self, role: Role) -> LiveIdentity {
        let folder = tempfile::tempdir().unwrap();
        self.write(role, folder.path());
        let live = LiveIdentity::default();
        live.set(Identity::load(folder.path()).unwrap());
        live
    }
}

async fn serve(identity: LiveIdentity, readiness: &Readiness) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes(readiness).unwrap();
    tokio::spawn(async move {
        serve_tls(
            TlsIncoming::new(listener, identity),
            routes,
            &Shutdown::default(),
        )
        .await
    });
    address
}

async fn check(address: SocketAddr, role: Role, identity: LiveIdentity) -> Result<i32, String> {
    let resolver = Resolver::from_system().unwrap();
    let channel = channel(&format!("https://{address}"), role, identity, resolver).unwrap();
    let request = HealthCheckRequest {
        service: String::new(),
    };
    match HealthClient::new(channel).check(request).await {
        Ok(response) => Ok(response.into_inner().status),
        Err(status) => Err(format!("{status:?}")),
    }
}

#[tokio::test]
async fn peers_of_one_authority_talk_and_health_follows_readiness() {
    let authority = Authority::new();
    let readiness = Readiness::default();
    readiness.wait_for("store", "opening");
    let address = serve(authority.identity(Role::CertManager), &readiness).await;

    let status = check(address, Role::CertManager, authority.identity(Role::Proxy)).await;
    assert_eq!(status, Ok(2), "NOT_SERVING");
    readiness.set_ready("store");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while check(address, Role::CertManager, authority.identity(Role::Proxy)).await != Ok(1) {
        assert!(tokio::time::Instant::now() < deadline, "never SERVING");
    }
}

#[tokio::test]
async fn server_of_another_role_is_refused() {
    let authority = Authority::new();
    let address = serve(
        authority.identity(Role::StaticServer),
        &Readiness::default(),
    )
    .await;
    check(address, Role::CertManager, authority.identity(Role::Proxy))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn client_of_another_authority_is_refused() {
    let address = serve(
        Authority::new().identity(Role::CertManager),
        &Readiness::default(),
    )
    .await;
    let stranger = Authority::new().identity(Role::Proxy);
    check(address, Role::CertManager, stranger)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn identity_appears_and_rotates_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let live = LiveIdentity::follow(folder.path().to_owned());
    assert!(live.get().is_none());
    let mut previous = None;
    for authority in [Authority::new(), Authority::new()] {
        authority.write(Role::Proxy, folder.path());
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let current = live.get();
            if current.is_some() && current != previous {
                previous = current;
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the identity was not taken up"
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[test]
fn role_is_read_from_the_certificate() {
    let authority = Authority::new();
    for role in Role::ALL {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![role.dns_name()]).unwrap();
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        assert_eq!(Role::of_certificate(certificate.der()), Some(role));
    }
    let key = KeyPair::generate().unwrap();
    let two = vec![Role::Proxy.dns_name(), Role::Operator.dns_name()];
    let certificate = CertificateParams::new(two)
        .unwrap()
        .signed_by(&key, &authority.0)
        .unwrap();
    assert_eq!(Role::of_certificate(certificate.der()), None);
}
