//! A cert-manager of the test's own: it says what it is told to, and keeps what it hears.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use proto::certs::v1::delivery_server::{Delivery, DeliveryServer};
use proto::certs::v1::{
    Certificate, Challenge, ChallengeWithdrawn, Declaration, GetChallengeRequest,
    GetChallengeResponse, HttpAnswer, ManagerMessage, ObtainRequest, ObtainResponse, ProxyMessage,
    Synchronized, TicketKey, TicketKeys, challenge, manager_message, proxy_message,
};
use proto::sidecar::grpc::{TlsIncoming, require_role, routes, serve_tls};
use proto::sidecar::identity::{AUTHORITY_FILE, IDENTITY_FILE, Identity, LiveIdentity, Role};
use proto::sidecar::readiness::Readiness;
use proto::sidecar::shutdown::Shutdown;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// The authority of the control plane.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes the identity of `role` into `folder`.
    pub(crate) fn write(&self, role: Role, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![role.dns_name()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(AUTHORITY_FILE), self.0.pem()).unwrap();
        std::fs::write(
            folder.join(IDENTITY_FILE),
            key.serialize_pem() + &certificate.pem(),
        )
        .unwrap();
    }
}

/// A running cert-manager.
pub(crate) struct Manager {
    pub(crate) address: SocketAddr,
    heard: std_mpsc::Receiver<ProxyMessage>,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    say: Option<mpsc::Sender<Result<ManagerMessage, Status>>>,
    /// By token, answers that are only given when asked.
    answers: Vec<(String, String)>,
    /// Names that may be obtained.
    allowed: Vec<String>,
    /// What was asked for, allowed or not.
    asked: Vec<ObtainRequest>,
    /// Certificates are not given out while this is true.
    is_held: watch::Sender<bool>,
}

impl Manager {
    /// Starts on a free port.
    pub(crate) fn start(authority: &Authority) -> Self {
        Self::start_at(authority, ports::free_address().unwrap())
    }

    pub(crate) fn start_at(authority: &Authority, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        authority.write(Role::CertManager, folder.path());
        let identity = LiveIdentity::default();
        identity.set(Identity::load(folder.path()).unwrap());
        let (hear, heard) = std_mpsc::channel();
        let state = Arc::<Mutex<State>>::default();
        let service = Service {
            hear,
            state: Arc::clone(&state),
        };
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            let routes = routes(&Readiness::default())
                .unwrap()
                .add_service(DeliveryServer::new(service));
            tokio::spawn(async move {
                serve_tls(
                    TlsIncoming::new(listener, identity),
                    routes,
                    &Shutdown::default(),
                )
                .await
            });
            address
        });
        Self {
            address,
            heard,
            state,
            _runtime: runtime,
        }
    }

    /// The next declaration; messages before it are dropped.
    pub(crate) fn declaration(&self) -> Declaration {
        loop {
            let message = self.heard.recv_timeout(Duration::from_secs(20)).unwrap();
            if let Some(proxy_message::Message::Declaration(declaration)) = message.message {
                return declaration;
            }
        }
    }

    /// The id of the next acknowledged challenge.
    pub(crate) fn acknowledgement(&self) -> String {
        loop {
            let message = self.heard.recv_timeout(Duration::from_secs(20)).unwrap();
            if let Some(proxy_message::Message::ChallengeAcknowledged(acknowledged)) =
                message.message
            {
                return acknowledged.id;
            }
        }
    }

    pub(crate) fn send(&self, message: manager_message::Message) {
        let say = self.state.lock().say.clone().unwrap();
        say.blocking_send(Ok(ManagerMessage {
            message: Some(message),
        }))
        .unwrap();
    }

    pub(crate) fn synchronized(&self) {
        self.send(manager_message::Message::Synchronized(Synchronized {}));
    }

    /// Sends a new certificate for `name` and returns its leaf.
    pub(crate) fn certificate(&self, name: &str) -> Vec<u8> {
        self.certificate_for(name, name)
    }

    /// Sends, under `name`, a certificate that is for `subject`.
    pub(crate) fn certificate_for(&self, name: &str, subject: &str) -> Vec<u8> {
        let certificate = self_signed(name, subject);
        let leaf = certificate.chain[0].clone();
        self.send(manager_message::Message::Certificate(certificate));
        leaf
    }

    /// Sends keys of session tickets, each of one octet.
    pub(crate) fn ticket_keys(&self, octets: &[u8]) {
        let keys = octets.iter().map(|octet| TicketKey {
            name: vec![*octet; 16],
            secret: vec![*octet; 32],
        });
        self.send(manager_message::Message::TicketKeys(TicketKeys {
            keys: keys.collect(),
        }));
    }

    /// Gives a certificate for `name` to who asks.
    pub(crate) fn allow(&self, name: &str) {
        self.state.lock().allowed.push(name.to_owned());
    }

    /// Lets those who ask for certificates wait, or not any more.
    pub(crate) fn hold(&self, is_held: bool) {
        self.state.lock().is_held.send_replace(is_held);
    }

    /// What was asked for during handshakes.
    pub(crate) fn asked(&self) -> Vec<ObtainRequest> {
        self.state.lock().asked.clone()
    }

    pub(crate) fn challenge(&self, token: &str) {
        self.send(manager_message::Message::Challenge(Challenge {
            id: format!("id-{token}"),
            name: "a.test".to_owned(),
            answer: Some(challenge::Answer::Http(HttpAnswer {
                token: token.to_owned(),
                key_authorization: format!("{token}.thumbprint"),
            })),
        }));
    }

    pub(crate) fn withdraw_challenge(&self, token: &str) {
        let id = format!("id-{token}");
        self.send(manager_message::Message::ChallengeWithdrawn(
            ChallengeWithdrawn { id },
        ));
    }

    /// Answers for `token`, but only when asked.
    pub(crate) fn know(&self, token: &str, answer: &str) {
        self.state
            .lock()
            .answers
            .push((token.to_owned(), answer.to_owned()));
    }
}

fn self_signed(name: &str, subject: &str) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![subject.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    Certificate {
        name: name.to_owned(),
        chain: vec![certificate.der().to_vec()],
        private_key: key.serialize_der(),
        not_after: None,
    }
}

struct Service {
    hear: std_mpsc::Sender<ProxyMessage>,
    state: Arc<Mutex<State>>,
}

#[tonic::async_trait]
impl Delivery for Service {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<ManagerMessage, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<ProxyMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        require_role(&request, &[Role::Proxy])?;
        let (say, said) = mpsc::channel(64);
        self.state.lock().say = Some(say);
        let hear = self.hear.clone();
        let mut stream = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                // The test may have heard enough.
                let _ = hear.send(message);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn get_challenge(
        &self,
        request: Request<GetChallengeRequest>,
    ) -> Result<Response<GetChallengeResponse>, Status> {
        require_role(&request, &[Role::Proxy])?;
        let token = request.into_inner().token;
        let state = self.state.lock();
        let answer = state.answers.iter().find(|(known, _)| *known == token);
        match answer {
            Some((_, answer)) => Ok(Response::new(GetChallengeResponse {
                key_authorization: answer.clone(),
            })),
            None => Err(Status::not_found("no such challenge is open")),
        }
    }

    async fn obtain(
        &self,
        request: Request<ObtainRequest>,
    ) -> Result<Response<ObtainResponse>, Status> {
        require_role(&request, &[Role::Proxy])?;
        let request = request.into_inner();
        let name = request.name.clone();
        let mut is_held = {
            let mut state = self.state.lock();
            state.asked.push(request);
            if !state.allowed.contains(&name) {
                return Err(Status::permission_denied("it is not allowed"));
            }
            state.is_held.subscribe()
        };
        let _ = is_held.wait_for(|is_held| !is_held).await;
        Ok(Response::new(ObtainResponse {
            certificate: Some(self_signed(&name, &name)),
        }))
    }
}
