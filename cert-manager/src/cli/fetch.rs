//! `fetch`: certificates as files, for mail servers, brokers and databases.
//!
//! ```text
//! identity --> subscription --> checked --> written, durably --> hook
//!     ^            | lost
//!     +--- wait ---+      (with --watch)
//! ```

mod files;
mod hook;
mod owner;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proto::certs::v1;
use proto::certs::v1::subscription_client::SubscriptionClient;
use proto::certs::v1::subscription_update::Update;
use proto::sidecar::dns::Resolver;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::grpc::channel;
use proto::sidecar::identity::{IDENTITY_FILE, Identity, LiveIdentity, Role};
use proto::sidecar::shutdown::Shutdown;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tonic::Code;
use tonic::transport::Channel;

use crate::certificate::{Certificate, PrivateKey};
use crate::name::Name;
use crate::policy::IssuerId;

use files::Target;
use hook::Hook;
use owner::Owner;

/// The wait after a loss of the connection, which doubles while it lasts.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that lasted this long was a good one.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);
/// How often an identity that is not there yet is looked for.
const IDENTITY_INTERVAL: Duration = Duration::from_secs(1);

/// Flags of `fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The names, as `serve --subscriber` allows them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Folder to write NAME.crt, NAME.key and NAME.pem to
    #[arg(long, env = "PORTICO_OUT", value_name = "DIR")]
    pub out: PathBuf,
    /// Go on, and write each newer certificate as it is obtained
    #[arg(long, env = "PORTICO_WATCH")]
    pub watch: bool,
    /// Program to run after a certificate was written, with its arguments; no shell reads it
    #[arg(long, env = "PORTICO_HOOK", value_name = "CMD")]
    pub hook: Option<String>,
    /// Have `sh -c` run the hook
    #[arg(long, env = "PORTICO_HOOK_SHELL", requires = "hook")]
    pub hook_shell: bool,
    /// Seconds that the hook may take
    #[arg(
        long,
        env = "PORTICO_HOOK_TIMEOUT",
        default_value_t = 60,
        value_name = "SECONDS"
    )]
    pub hook_timeout: u64,
    /// Owner of the files, by name or number
    #[arg(long, env = "PORTICO_OWNER", value_name = "USER[:GROUP]")]
    pub owner: Option<String>,
    /// Mode of the files, in octal
    #[arg(
        long,
        env = "PORTICO_MODE",
        default_value = "0640",
        value_name = "MODE"
    )]
    pub mode: String,
    /// Where cert-manager is
    #[arg(
        long,
        env = "PORTICO_CERT_MANAGER",
        default_value = "https://cert-manager:7070",
        value_name = "URL"
    )]
    pub cert_manager: String,
}

/// What `fetch` was told, checked.
#[derive(Debug)]
pub struct Job {
    names: Vec<Name>,
    target: Target,
    hook: Option<Hook>,
    watch: bool,
    control: PathBuf,
    url: String,
}

/// Why a subscription ended.
enum End {
    /// It is of no use to try again.
    Refused(String),
    /// It may work later.
    Lost(String),
}

impl Job {
    /// Checks the flags of `fetch`; `control` holds the subscriber's identity.
    ///
    /// # Errors
    /// What is wrong, in words for an operator.
    pub fn new(args: FetchArgs, control: PathBuf) -> Result<Self, String> {
        let names = args.names.iter().map(|name| Name::parse(name));
        let hook = args.hook.filter(|hook| !hook.trim().is_empty());
        let timeout = Duration::from_secs(args.hook_timeout);
        let owner = args.owner.filter(|owner| !owner.is_empty());
        Ok(Self {
            names: names
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
            target: Target {
                folder: args.out,
                mode: files::parse_mode(&args.mode)?,
                owner: owner.map(|owner| Owner::parse(&owner)).transpose()?,
            },
            hook: hook
                .map(|hook| Hook::new(&hook, args.hook_shell, timeout))
                .transpose()?,
            watch: args.watch,
            control,
            url: args.cert_manager,
        })
    }

    /// Writes what is stored; with `--watch` goes on until shutdown.
    ///
    /// # Errors
    /// Why something could not be written, in words for an operator.
    pub async fn run(&self, shutdown: &Shutdown) -> Result<(), String> {
        tokio::select! {
            () = shutdown.token.cancelled() => Ok(()),
            result = self.work() => result,
        }
    }

    async fn work(&self) -> Result<(), String> {
        let mut client = SubscriptionClient::new(self.channel().await?);
        if !self.watch {
            return match self.subscription(&mut client).await {
                Ok(()) => Ok(()),
                Err(End::Refused(why) | End::Lost(why)) => Err(why),
            };
        }
        let mut wait = FIRST_WAIT;
        loop {
            let begin = tokio::time::Instant::now();
            let why = match self.subscription(&mut client).await {
                Ok(()) => "the subscription ended".to_owned(),
                Err(End::Refused(why)) => return Err(why),
                Err(End::Lost(why)) => why,
            };
            if begin.elapsed() > GOOD_CONNECTION {
                wait = FIRST_WAIT;
            }
            tracing::warn!(why, again_in = ?wait, "no connection to cert-manager; what is written stays");
            tokio::time::sleep(wait.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One call, to its end; without `--watch`, until everything that is stored was written.
    async fn subscription(&self, client: &mut SubscriptionClient<Channel>) -> Result<(), End> {
        let request = v1::SubscribeRequest {
            names: self.names.iter().map(ToString::to_string).collect(),
        };
        let failed = |status: tonic::Status| end(&self.url, &status);
        let mut updates = client
            .subscribe(request)
            .await
            .map_err(failed)?
            .into_inner();
        let mut missing = BTreeMap::new();
        let mut failures = Vec::new();
        while let Some(update) = updates.message().await.map_err(failed)? {
            match update.update {
                Some(Update::Certificate(certificate)) => {
                    missing.remove(&certificate.name);
                    match self.take(certificate).await {
                        Ok(()) => {}
                        Err(error) if self.watch => tracing::error!("{error}"),
                        Err(error) => failures.push(error),
                    }
                }
                Some(Update::CertificatePending(pending)) => {
                    tracing::warn!(
                        name = pending.name,
                        why = pending.reason,
                        "no certificate yet"
                    );
                    missing.insert(pending.name, pending.reason);
                }
                Some(Update::CertificateWithdrawn(withdrawn)) => tracing::warn!(
                    name = withdrawn.name,
                    "cert-manager has dropped the certificate; the files stay"
                ),
                Some(Update::Synchronized(_)) if !self.watch => {
                    failures.extend(missing.iter().map(|(name, why)| {
                        format!("there is no certificate for {name} yet: {why}")
                    }));
                    return if failures.is_empty() {
                        Ok(())
                    } else {
                        Err(End::Refused(failures.join("; ")))
                    };
                }
                // From a newer manager, or with nothing left to do.
                Some(Update::Synchronized(_)) | None => {}
            }
        }
        Err(End::Lost("cert-manager ended the subscription".to_owned()))
    }

    /// Checks a certificate, writes it, and runs the hook if that changed anything.
    async fn take(&self, wire: v1::Certificate) -> Result<(), String> {
        let certificate = checked(wire)?;
        let name = certificate.name.clone();
        let not_after = certificate.facts.not_after;
        let target = self.target.clone();
        let written = tokio::task::spawn_blocking(move || target.write(&certificate))
            .await
            .map_err(|error| error.to_string())??;
        if !written.is_change {
            tracing::info!(%name, "the files are current");
            return Ok(());
        }
        tracing::info!(%name, %not_after, folder = %self.target.folder.display(), "certificate written");
        match &self.hook {
            None => Ok(()),
            Some(hook) => hook.run(&name, &written).await.map_err(|error| {
                format!(
                    "the hook failed after the certificate of {name} was written: {error}; it runs \
                         again when the certificate changes"
                )
            }),
        }
    }

    async fn channel(&self) -> Result<Channel, String> {
        let identity = if self.watch {
            let mut said = false;
            loop {
                match identity_folder(&self.control) {
                    Ok(folder) => break LiveIdentity::follow(folder),
                    Err(reason) if !said => {
                        tracing::info!(
                            reason,
                            "waiting for the identity, which cert-manager writes"
                        );
                        said = true;
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(IDENTITY_INTERVAL).await;
            }
        } else {
            let folder = identity_folder(&self.control)?;
            let identity = Identity::load(&folder).map_err(|error| {
                format!(
                    "no identity in {} (--control): {}",
                    folder.display(),
                    Chain(&error)
                )
            })?;
            let live = LiveIdentity::default();
            live.set(identity);
            live
        };
        let resolver = Resolver::from_system().map_err(|error| error.to_string())?;
        channel(&self.url, Role::CertManager, identity, resolver)
            .map_err(|error| format!("{} (--cert-manager)", Chain(&error)))
    }
}

/// The folder of a subscriber's identity: `control` itself, as it is mounted alone, or the only one
/// of a subscriber in it.
fn identity_folder(control: &Path) -> Result<PathBuf, String> {
    if control.join(IDENTITY_FILE).exists() {
        return Ok(control.to_owned());
    }
    let prefix = format!("{}-", Role::Subscriber);
    let entries = std::fs::read_dir(control).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    let control = control.display();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), _) => Err(format!(
            "there are several subscribers in {control}: name the folder of one (--control)"
        )),
        (None, _) => Err(format!(
            "no subscriber's identity in {control} (--control): cert-manager writes one with `serve \
             --subscriber ID=NAME`"
        )),
    }
}

/// A certificate that belongs to its key and is for its name, whoever issued it.
fn checked(wire: v1::Certificate) -> Result<Certificate, String> {
    let wrong = |error: String| format!("cert-manager sent a certificate that is refused: {error}");
    let name = Name::parse(&wire.name).map_err(|error| wrong(error.to_string()))?;
    let key = zeroize::Zeroizing::new(wire.private_key);
    let key = PrivateKey::from_der(&PrivatePkcs8KeyDer::from(key.as_slice()));
    let chain = wire.chain.into_iter().map(CertificateDer::from).collect();
    Certificate::new(name, IssuerId::Internal, chain, key).map_err(|error| wrong(error.to_string()))
}

fn end(url: &str, status: &tonic::Status) -> End {
    match status.code() {
        Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented => {
            End::Refused(status.message().to_owned())
        }
        _ => {
            let mut text = format!("cannot reach cert-manager at {url} (--cert-manager)");
            let source = std::error::Error::source(status);
            match source {
                Some(source) => text = format!("{text}: {}", Chain(source)),
                None => text = format!("{text}: {}", status.message()),
            }
            End::Lost(text)
        }
    }
}
