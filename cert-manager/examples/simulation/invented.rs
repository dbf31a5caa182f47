//! Many names on invented time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cert_manager::challenge::ChallengeBoard;
use cert_manager::clock::{Clock as _, ManualClock};
use cert_manager::manager::{Delivery, Manager, Parts, ProxySession};
use cert_manager::metrics::Metrics;
use cert_manager::name::Name;
use cert_manager::on_demand::OnDemand;
use cert_manager::policy::{AcmePolicy, Defaults, IssuerPolicy, KeyType, Policy, RenewalWindow};
use cert_manager::store::Storage as _;
use cert_manager::store::local::{LocalStorage, Rebuilds};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use proto::sidecar::dns::Resolver;
use proto::sidecar::shutdown::Shutdown;

use crate::authority::{Authority, Desks};
use crate::{Failure, Folder, usage};

/// An authority that nobody else has, so that our limits for public ones do not hold.
const DIRECTORY: &str = "https://ca.simulation.invalid/directory";
/// The clock is set forward by this.
const STEP: SignedDuration = SignedDuration::from_mins(10);
/// How often progress is looked at.
const POLL: Duration = Duration::from_millis(2);

/// What to invent.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many names.
    #[arg(long, default_value_t = 100_000)]
    names: usize,
    /// How many days to live through after every name has its certificate.
    #[arg(long, default_value_t = 90)]
    days: i64,
    /// How long certificates are valid, in days.
    #[arg(long, default_value_t = 90)]
    lifetime_days: i64,
    /// The data folder; a temporary one unless named. Each certificate is flushed to the disk, so a
    /// folder in memory such as /dev/shm/simulation is quicker.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// A manager at work.
struct World {
    manager: Arc<Manager>,
    storage: Arc<LocalStorage>,
    clock: Arc<ManualClock>,
    authority: Arc<Authority>,
    shutdown: Shutdown,
    started_in: Started,
    /// Processor time when it was there.
    started_after: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Started {
    store: Duration,
    manager: Duration,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let folder = Folder::new(options.data.clone())?;
    let lifetime = SignedDuration::from_hours(24 * options.lifetime_days);
    let world = World::start(&folder.path, Timestamp::now(), lifetime).await?;
    let session = ProxySession::begin(Arc::clone(&world.manager));

    let begin = Instant::now();
    session.declare(subjects(options.names)?).await?;
    println!(
        "declared {} names in {:.1} s",
        options.names,
        begin.elapsed().as_secs_f64()
    );
    world.settle().await;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "obtained {} certificates in {seconds:.1} s ({:.0} a second), at most {} orders in flight",
        world.authority.issued(),
        count(world.authority.issued()) / seconds,
        world.authority.most_under_way()
    );
    world.live(options.days).await;
    let begin = Instant::now();
    session.end().await?;
    println!("the proxy left in {:.1} s", begin.elapsed().as_secs_f64());
    println!(
        "memory: {} MiB at the most; processor time: {:.0} s",
        usage::peak_mebibytes()?,
        usage::processor_time()?.as_secs_f64()
    );
    world.end().await?;

    println!("\nstart on that folder, in a process of its own:");
    let started = std::process::Command::new(std::env::current_exe()?)
        .arg("start")
        .arg("--data")
        .arg(&folder.path)
        .status()?;
    if started.success() {
        Ok(())
    } else {
        Err("the start failed".into())
    }
}

/// Starts on a folder that is there, and has one proxy take everything.
pub(crate) async fn start(data: &Path) -> Result<(), Failure> {
    let lifetime = SignedDuration::from_hours(24 * 90);
    let world = World::start(data, Timestamp::now(), lifetime).await?;
    let names = world.manager.list().len();
    let Started { store, manager } = world.started_in;
    println!(
        "started with {names} certificates in {:.2} s: the store {:.2} s, the manager {:.2} s",
        (store + manager).as_secs_f64(),
        store.as_secs_f64(),
        manager.as_secs_f64()
    );
    println!(
        "processor time of the start: {:.2} s",
        world.started_after.as_secs_f64()
    );
    let before = usage::peak_mebibytes()?;

    let session = ProxySession::begin(Arc::clone(&world.manager));
    let begin = Instant::now();
    session.declare(subjects(names)?).await?;
    let declared = begin.elapsed();
    let begin = Instant::now();
    let mut delivered = 0;
    loop {
        match session.next_delivery().await? {
            Some(Delivery::Certificate(_)) => delivered += 1,
            Some(Delivery::Withdrawn(_)) => {}
            Some(Delivery::Synchronized) | None => break,
        }
    }
    println!(
        "a proxy declared them in {:.2} s and was delivered {delivered}, one after the other, in \
         {:.2} s",
        declared.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    println!(
        "memory: {before} MiB after the start, {} MiB at the most",
        usage::peak_mebibytes()?
    );
    session.end().await?;
    world.end().await
}

impl World {
    async fn start(data: &Path, now: Timestamp, lifetime: SignedDuration) -> Result<Self, Failure> {
        let begin = Instant::now();
        let rebuilds = Rebuilds::default();
        let storage = Arc::new(LocalStorage::open(data, rebuilds.clone()).await?);
        let store = begin.elapsed();
        if rebuilds.count() > 0 {
            return Err("the database was found damaged".into());
        }
        let clock = Arc::new(ManualClock::new(now));
        let authority = Arc::new(Authority::new(Arc::clone(&clock), lifetime)?);
        let begin = Instant::now();
        let manager = Manager::load(Parts {
            storage: Arc::<LocalStorage>::clone(&storage),
            issuers: Arc::new(Desks(Arc::clone(&authority))),
            clock: Arc::<ManualClock>::clone(&clock),
            challenges: ChallengeBoard::default(),
            defaults: Defaults {
                acme_ca: DIRECTORY.to_owned(),
                email: None,
            },
            metrics: Metrics::default(),
            on_demand: Arc::new(OnDemand::new(Resolver::from_system()?)?),
        })
        .await?;
        let started_in = Started {
            store,
            manager: begin.elapsed(),
        };
        let started_after = usage::processor_time()?;
        let shutdown = Shutdown::default();
        tokio::spawn(Arc::clone(&manager).maintain(shutdown.clone()));
        Ok(Self {
            manager,
            storage,
            clock,
            authority,
            shutdown,
            started_in,
            started_after,
        })
    }

    /// Lives through so many days, and prints what happened in them.
    async fn live(&self, days: i64) {
        let first = self.clock.now();
        let end = first + SignedDuration::from_hours(24 * days);
        let begin = Instant::now();
        let obtained = self.authority.issued();
        let (mut hour, mut at_hour, mut busiest) = (first, obtained, 0);
        while self.clock.now() < end {
            self.clock.advance(STEP);
            self.settle().await;
            if self.clock.now() >= hour + SignedDuration::from_hours(1) {
                busiest = busiest.max(self.authority.issued() - at_hour);
                (hour, at_hour) = (self.clock.now(), self.authority.issued());
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        let hours = f64::from(u32::try_from(24 * days).unwrap_or(u32::MAX));
        let renewed = self.authority.issued() - obtained;
        println!(
            "lived {days} days in {seconds:.1} s: {:.1} hours of invented time a second",
            hours / seconds
        );
        println!(
            "renewed {renewed} certificates, at most {busiest} in one hour, at most {} orders in \
             flight",
            self.authority.most_under_way()
        );
        let expired = self
            .manager
            .name_figures()
            .into_iter()
            .filter(|figures| figures.not_after.is_none_or(|at| at <= self.clock.now()))
            .count();
        println!("names without a valid certificate at the end: {expired}");
    }

    /// Waits until all that is due is done.
    async fn settle(&self) {
        loop {
            let figures = self.manager.figures();
            let is_due = figures.next.is_some_and(|next| next <= self.clock.now());
            if figures.under_way == 0 && figures.waiting == 0 && !is_due {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends, and closes the store: a start that finds it open elsewhere takes it for damaged.
    async fn end(self) -> Result<(), Failure> {
        let Self {
            manager,
            storage,
            shutdown,
            ..
        } = self;
        shutdown.finish(Duration::from_secs(60)).await;
        storage.flush().await?;
        drop(manager);
        let mut storage = storage;
        let begin = Instant::now();
        loop {
            storage = match Arc::try_unwrap(storage) {
                Ok(_closed) => return Ok(()),
                Err(in_use) => in_use,
            };
            if begin.elapsed() > Duration::from_secs(60) {
                return Err("the store is still in use a minute after the end".into());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn subjects(count: usize) -> Result<BTreeMap<Name, Policy>, Failure> {
    let policy = Policy {
        issuers: vec![IssuerPolicy::Acme(Box::new(AcmePolicy::new(
            DIRECTORY, None,
        )))],
        key_type: KeyType::P256,
        reuse_private_key: false,
        renewal_window: RenewalWindow::default(),
        on_demand: None,
    };
    let names = (0..count).map(|index| {
        let name = Name::parse(&format!("n{index:06}.simulation.org"))?;
        Ok((name, policy.clone()))
    });
    names.collect()
}

#[expect(clippy::cast_precision_loss, reason = "for show")]
fn count(count: usize) -> f64 {
    count as f64
}
