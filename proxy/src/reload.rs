//! Putting a configuration in force, at start and again while running: all of it or nothing.

mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use caddyfile::token::Sources;
use downstream::{ListenError, Prepared, Server};
use proto::sidecar::error_chain::Chain;
use tokio::sync::Mutex;

use crate::app::listeners::{challenge_listeners, listeners};
use crate::certs::Certificates;
use crate::compile::Config;
use crate::compile::automatic_https::Plan;
use crate::config_file::{ConfigFile, Inputs, LoadError, Loaded, Report};
use crate::edge::Shared;
use crate::log_level::LogLevel;
use crate::metrics::Metrics;
use crate::reverse_proxy::Checker;

pub use watch::watch;

/// Reads the configuration again and puts it in force.
pub struct Reloader {
    file: ConfigFile,
    server: Arc<Server>,
    shared: Arc<Shared>,
    certificates: Certificates,
    followers: Followers,
    state: ArcSwap<State>,
    /// One at a time.
    turn: Mutex<()>,
}

/// What else goes by the configuration that is in force.
pub struct Followers {
    /// Counts reloads.
    pub metrics: Metrics,
    /// Looks after the health of upstreams.
    pub checker: Checker,
    /// The level that the program logs at.
    pub log_level: LogLevel,
}

/// What is known of the running configuration.
#[derive(Clone, Debug)]
pub struct State {
    /// When it came into force.
    pub configured_at: SystemTime,
    /// What the last attempt read, successful or not.
    pub inputs: Inputs,
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the new configuration is in force.
    pub is_applied: bool,
    /// Errors and warnings.
    pub report: Report,
}

impl Reloader {
    /// Knows how to reload `file`, of which `config` has been made and is about to be put in force.
    pub fn new(
        file: ConfigFile,
        server: Arc<Server>,
        shared: Arc<Shared>,
        certificates: Certificates,
        followers: Followers,
        inputs: Inputs,
    ) -> Self {
        let state = State {
            configured_at: SystemTime::now(),
            inputs,
        };
        Self {
            file,
            server,
            shared,
            certificates,
            followers,
            state: ArcSwap::from_pointee(state),
            turn: Mutex::new(()),
        }
    }

    /// Reads the configuration file and puts it in force, or leaves everything as it is.
    pub async fn reload(&self, cause: &str) -> Outcome {
        let _turn = self.turn.lock().await;
        if self.file == ConfigFile::StandardInput {
            let message = "the configuration came from standard input, which cannot be read again";
            return Outcome {
                is_applied: false,
                report: Report::error(message),
            };
        }
        let file = self.file.clone();
        let compiled = tokio::task::spawn_blocking(move || file.load().and_then(Loaded::compile));
        let compiled = compiled.await.unwrap_or_else(|error| {
            Err(LoadError {
                report: Report::error(&format!("reading the configuration failed: {error}")),
                inputs: Box::default(),
            })
        });
        let outcome = match compiled {
            Ok((config, inputs, warnings)) => {
                let applied = self.apply(config).await;
                self.note(inputs, applied.is_ok());
                match applied {
                    Ok(()) => Outcome {
                        is_applied: true,
                        report: warnings,
                    },
                    Err(report) => Outcome {
                        is_applied: false,
                        report,
                    },
                }
            }
            Err(LoadError { report, inputs }) => {
                self.note(*inputs, false);
                Outcome {
                    is_applied: false,
                    report,
                }
            }
        };
        self.followers.metrics.count_reload(outcome.is_applied);
        if outcome.is_applied {
            tracing::info!(cause, file = %self.file, "reloaded the configuration");
            if !outcome.report.is_empty() {
                tracing::warn!("{}", outcome.report.plain.trim_end());
            }
        } else {
            tracing::error!(
                cause,
                file = %self.file,
                "the configuration was not reloaded, the running one stays:\n{}",
                outcome.report.plain.trim_end()
            );
        }
        outcome
    }

    /// Opens the listeners of the configuration that the workers already have.
    ///
    /// # Errors
    /// When one cannot be had.
    pub async fn start(&self) -> Result<(), Report> {
        let prepared = self.prepare(&self.shared.config.load())?;
        self.server
            .commit(prepared)
            .await
            .map_err(|error| refused(&error))?;
        self.followers.checker.apply(&self.shared.config.load());
        Ok(())
    }

    fn prepare(&self, config: &Config) -> Result<Prepared, Report> {
        let listeners = listeners(config, &self.certificates.tls_sources())
            .map_err(|errors| Report::compile_errors(&errors, &Sources::default()))?;
        let challenges = challenge_listeners(config);
        if !challenges.is_empty() {
            let is_extra = |error: &ListenError| {
                challenges
                    .iter()
                    .any(|listener| listener.address == error.address)
            };
            let all = listeners.iter().chain(&challenges).cloned().collect();
            match self.server.prepare(all) {
                Err(error) if is_extra(&error) => tracing::warn!(
                    error = %Chain(&error),
                    "ACME challenges cannot be answered here: something else has the HTTP port"
                ),
                prepared => return prepared.map_err(|error| refused(&error)),
            }
        }
        self.server
            .prepare(listeners)
            .map_err(|error| refused(&error))
    }

    /// Puts `config` in force, or changes nothing.
    async fn apply(&self, config: Config) -> Result<(), Report> {
        let prepared = self.prepare(&config)?;
        let plan = config.certificates.clone();
        // Certificates and routes first: a listener that is new then finds both at once.
        self.plan(&plan, Certificates::restore).await?;
        let before = self.shared.config.swap(Arc::new(config));
        if let Err(error) = self.server.commit(prepared).await {
            self.shared.config.store(before);
            return Err(refused(&error));
        }
        let config = self.shared.config.load_full();
        self.followers.checker.apply(&config);
        self.followers.log_level.follow(&config);
        self.plan(&plan, Certificates::set_plan).await
    }

    /// Runs a step of the certificates, which reads files.
    async fn plan(&self, plan: &Plan, step: fn(&Certificates, &Plan)) -> Result<(), Report> {
        let (certificates, plan) = (self.certificates.clone(), plan.clone());
        tokio::task::spawn_blocking(move || step(&certificates, &plan))
            .await
            .map_err(|error| Report::error(&format!("restoring certificates failed: {error}")))
    }

    /// What is known of the running configuration.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Where the configuration comes from.
    pub fn file(&self) -> &ConfigFile {
        &self.file
    }

    fn note(&self, inputs: Inputs, is_applied: bool) {
        let before = self.state();
        // What could not be read at all says nothing of where to look for a change.
        let inputs = if inputs.files.is_empty() {
            before.inputs.clone()
        } else {
            inputs
        };
        let configured_at = if is_applied {
            SystemTime::now()
        } else {
            before.configured_at
        };
        self.state.store(Arc::new(State {
            configured_at,
            inputs,
        }));
    }
}

fn refused(error: &ListenError) -> Report {
    Report::error(&Chain(error).to_string())
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").finish_non_exhaustive()
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
