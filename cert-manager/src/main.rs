//! The program `cert-manager`.

use std::process::ExitCode;
use std::time::Duration;

use cert_manager::cli::{Cli, Command, doctor, fetch, operator, status, transfer};
use cert_manager::config::Config;
use clap::Parser as _;
use proto::sidecar::cli::Exit;
use proto::sidecar::shutdown::Shutdown;
use proto::sidecar::{admin, logs};

/// How long work on the disk is given at the end.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            let _ = error.print();
            return exit.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli));
            // Work on a disk that hangs must not keep the program from ending.
            runtime.shutdown_timeout(BLOCKING_GRACE);
            result
        }
        Err(error) => Err((Exit::Failed, format!("cannot start: {error}"))),
    };
    match result {
        Ok(()) => Exit::Done.into(),
        Err((exit, message)) => {
            report(&message);
            exit.into()
        }
    }
}

async fn run(cli: Cli) -> Result<(), (Exit, String)> {
    let failed = |message: String| (Exit::Failed, message);
    let usage = |message: String| (Exit::Usage, message);
    match cli.command {
        Command::Serve(args) => {
            logs::start(cli.common.log_format, &cli.common.log_level).map_err(usage)?;
            let config = Config::load(*args, cli.common.control).map_err(usage)?;
            let shutdown = Shutdown::on_signals().map_err(|error| failed(error.to_string()))?;
            cert_manager::app::run(config, shutdown)
                .await
                .map_err(failed)
        }
        Command::Status(args) => status::run(&args, &mut std::io::stdout())
            .await
            .map_err(failed),
        Command::Doctor(args) => doctor::run(&cli.common.control, &args, &mut std::io::stdout())
            .await
            .map_err(failed),
        Command::Fetch(args) => {
            logs::start(cli.common.log_format, &cli.common.log_level).map_err(usage)?;
            let job = fetch::Job::new(args, cli.common.control).map_err(usage)?;
            let shutdown = Shutdown::on_signals().map_err(|error| failed(error.to_string()))?;
            job.run(&shutdown).await.map_err(failed)
        }
        Command::Renew(args) => operator::renew(&cli.common.control, &args)
            .await
            .map_err(failed),
        Command::Forget(args) => operator::forget(&cli.common.control, &args)
            .await
            .map_err(failed),
        Command::Export(args) => {
            transfer::export(&cli.common.control, &args, &mut std::io::stdout())
                .await
                .map_err(failed)
        }
        Command::Import(args) => {
            transfer::import(&cli.common.control, &args, &mut std::io::stdout())
                .await
                .map_err(failed)
        }
        Command::Revoke(args) => operator::revoke(&cli.common.control, &args)
            .await
            .map_err(failed),
        Command::RolloverAccount(args) => {
            let control = &cli.common.control;
            operator::rollover_account(control, &args, &mut std::io::stdout())
                .await
                .map_err(failed)
        }
        Command::Health(args) => admin::health(&args.admin).await.map_err(failed),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place that tells a person why the program ends"
)]
fn report(message: &str) {
    eprintln!("cert-manager: {message}");
}
