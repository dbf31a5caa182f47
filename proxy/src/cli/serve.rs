//! `proxy serve`.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use proto::sidecar::cli::{CommonArgs, Exit};

use super::{ServeArgs, complain};
use crate::app::{Options, RunError, run};
use crate::config_file::ConfigFile;
use crate::log_level::LogLevel;

pub(super) fn serve(common: CommonArgs, args: ServeArgs) -> Exit {
    let file = ConfigFile::from_argument(&args.config);
    // Everything that can be wrong is looked at before any port opens.
    let loaded = match file.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error.report.coloured);
            return Exit::Usage;
        }
    };
    let (config, inputs, warnings) = match loaded.compile() {
        Ok(compiled) => compiled,
        Err(error) => {
            complain(&error.report.coloured);
            return Exit::Usage;
        }
    };
    let level = match LogLevel::start(&common, &config) {
        Ok(level) => level,
        Err(message) => {
            complain(&format!("error: {message}\n"));
            return Exit::Usage;
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("a part of the proxy panicked, which is a mistake in it: {panic}");
    }));
    if !warnings.is_empty() {
        tracing::warn!("{}", warnings.plain.trim_end());
    }
    let options = Options {
        config: file,
        data: args.data,
        control: common.control,
        cert_manager: args.cert_manager,
        static_server: args.static_server,
        static_events: args.static_events,
        static_handoff: args.static_handoff,
        workers: args
            .workers
            .unwrap_or_else(|| available_parallelism().unwrap_or(NonZeroUsize::MIN)),
        watch: args.watch,
        admin: args.admin.admin,
        log_level: level,
    };
    // The control plane alone; requests have the workers' own runtimes.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: cannot start: {error}\n"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(run(options, config, inputs)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!("{}", error.to_string().trim_end());
            match error {
                RunError::Config(_) => Exit::Usage,
                RunError::System(_) => Exit::Failed,
            }
        }
    }
}
