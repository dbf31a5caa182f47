//! Many names at Pebble, Let's Encrypt's test authority.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use cert_manager::challenge::ChallengeBoard;
use cert_manager::clock::{Clock, SystemClock};
use cert_manager::issuer::internal::InternalAuthority;
use cert_manager::issuer::preflight::{Dns, Mode, Ports, Preflight};
use cert_manager::issuer::{Authorities, acme};
use cert_manager::manager::{Manager, Parts, ProxySession};
use cert_manager::metrics::Metrics;
use cert_manager::name::Name;
use cert_manager::on_demand::OnDemand;
use cert_manager::policy::{AcmePolicy, Defaults, IssuerPolicy, KeyType, Policy, RenewalWindow};
use cert_manager::store::Storage;
use cert_manager::store::local::{LocalStorage, Rebuilds};
use clap::Args;
use proto::certs::v1;
use proto::sidecar::dns::Resolver;
use proto::sidecar::shutdown::Shutdown;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::{TcpListener, TcpStream};

use crate::{Failure, Folder, usage};

/// How often progress is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long the programs have to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to obtain.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many names.
    #[arg(long, default_value_t = 2000)]
    names: usize,
    /// The data folder; a temporary one unless named.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// A running Pebble and its DNS server; ended when dropped.
struct Pebble {
    directory: String,
    root: CertificateDer<'static>,
    children: Vec<Child>,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let folder = Folder::new(options.data)?;
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let pebble = Pebble::start(&folder.path, http.local_addr()?.port()).await?;
    let challenges = ChallengeBoard::default();
    let manager = manager(&folder.path, &pebble, challenges.clone()).await?;
    let shutdown = Shutdown::default();
    tokio::spawn(Arc::clone(&manager).maintain(shutdown.clone()));
    tokio::spawn(answer(http, challenges));

    let session = ProxySession::begin(Arc::clone(&manager));
    let begin = Instant::now();
    session.declare(subjects(options.names, &pebble)?).await?;
    let most = follow(&manager, &session, options.names).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let rate = f64::from(u32::try_from(options.names)?) / seconds;
    println!(
        "obtained {} certificates from Pebble in {seconds:.1} s: {rate:.1} orders a second, at \
         most {most} in flight",
        options.names
    );
    let failed: u64 = manager.name_figures().iter().map(|name| name.failed).sum();
    println!(
        "processor time: {:.1} s",
        usage::processor_time()?.as_secs_f64()
    );
    println!("attempts that failed and were repeated: {failed}");
    println!("memory: {} MiB at the most", usage::peak_mebibytes()?);
    shutdown.finish(PATIENCE).await;
    session.end().await?;
    Ok(())
}

/// Acknowledges challenges as a proxy would until every name has its certificate. Returns how many
/// orders were in flight at the most.
async fn follow(manager: &Manager, session: &ProxySession, names: usize) -> Result<usize, Failure> {
    let mut most = 0;
    let mut last_look = Instant::now();
    loop {
        // Fails when nothing happened for a while.
        let _ = tokio::time::timeout(POLL, session.woken()).await;
        for challenge in manager.challenges().open() {
            session.acknowledge(challenge.id);
        }
        while session.next_delivery().await?.is_some() {}
        most = most.max(manager.figures().under_way);
        if last_look.elapsed() > Duration::from_secs(1) {
            last_look = Instant::now();
            let figures = manager.name_figures();
            let valid = figures.iter().filter(|name| name.state == v1::State::Valid);
            if valid.count() == names {
                return Ok(most);
            }
        }
    }
}

/// Answers Pebble's requests for challenges.
async fn answer(listener: TcpListener, challenges: ChallengeBoard) -> std::io::Result<()> {
    let find = async |State(challenges): State<ChallengeBoard>,
                      axum::extract::Path(token): axum::extract::Path<String>| {
        challenges.find(&token).ok_or(StatusCode::NOT_FOUND)
    };
    let routes = axum::Router::new()
        .route("/.well-known/acme-challenge/{token}", get(find))
        .with_state(challenges);
    axum::serve(listener, routes).await
}

async fn manager(
    data: &Path,
    pebble: &Pebble,
    challenges: ChallengeBoard,
) -> Result<Arc<Manager>, Failure> {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(data, Rebuilds::default()).await?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let internal = InternalAuthority::load(Arc::clone(&storage), Arc::clone(&clock)).await?;
    let environment = acme::Environment {
        storage: Arc::clone(&storage),
        challenges: challenges.clone(),
        clock: Arc::clone(&clock),
        resolver: Resolver::from_system()?,
        extra_roots: vec![pebble.root.clone()],
        dns_exec: None,
        patience: acme::PATIENCE,
        accounts: acme::AccountLocks::default(),
        zero_ssl: acme::ZeroSsl::default(),
    };
    let preflight = Arc::new(Preflight::new(
        Dns::new(&[])?,
        challenges.clone(),
        Ports::default(),
        Mode::Off,
    ));
    Ok(Manager::load(Parts {
        storage,
        issuers: Arc::new(Authorities::new(Arc::new(internal), environment, preflight)),
        clock,
        challenges,
        defaults: Defaults {
            acme_ca: pebble.directory.clone(),
            email: None,
        },
        metrics: Metrics::default(),
        on_demand: Arc::new(OnDemand::new(Resolver::from_system()?)?),
    })
    .await?)
}

fn subjects(count: usize, pebble: &Pebble) -> Result<BTreeMap<Name, Policy>, Failure> {
    let acme = AcmePolicy::new(&pebble.directory, None);
    let policy = Policy {
        issuers: vec![IssuerPolicy::Acme(Box::new(acme))],
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    };
    let names = (0..count).map(|index| {
        let name = Name::parse(&format!("n{index:05}.simulation.org"))?;
        Ok((name, policy.clone()))
    });
    names.collect()
}

impl Pebble {
    async fn start(folder: &Path, http_port: u16) -> Result<Self, Failure> {
        let (listen, management, dns, dns_management) = (
            ports::free_address()?,
            ports::free_address()?,
            ports::free_address()?,
            ports::free_address()?,
        );
        let key = rcgen::KeyPair::generate()?;
        let certificate =
            rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
        std::fs::write(folder.join("pebble.pem"), certificate.pem())?;
        std::fs::write(folder.join("pebble.key"), key.serialize_pem())?;
        let config = serde_json::json!({ "pebble": {
            "listenAddress": listen.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": folder.join("pebble.pem"),
            "privateKey": folder.join("pebble.key"),
            "httpPort": http_port,
            "tlsPort": ports::free_address()?.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        std::fs::write(folder.join("pebble.json"), config.to_string())?;
        let mut pebble = Self {
            directory: format!("https://{listen}/dir"),
            root: CertificateDer::from_pem_slice(certificate.pem().as_bytes())?,
            children: Vec::new(),
        };
        let mut command = Command::new("pebble-challtestsrv");
        command
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .args(["-dns01", &dns.to_string()])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-management", &dns_management.to_string()]);
        pebble.spawn(command, dns_management).await?;
        let mut command = Command::new("pebble");
        command
            .arg("-config")
            .arg(folder.join("pebble.json"))
            .args(["-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1");
        pebble.spawn(command, listen).await?;
        Ok(pebble)
    }

    async fn spawn(&mut self, mut command: Command, listens: SocketAddr) -> Result<(), Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children
            .push(child.map_err(|error| format!("cannot start {program}: {error}"))?);
        let begin = Instant::now();
        while TcpStream::connect(listens).await.is_err() {
            if begin.elapsed() > PATIENCE {
                return Err(format!("{program} does not listen on {listens}").into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
