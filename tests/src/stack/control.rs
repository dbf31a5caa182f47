//! Acting on running programs by their own commands, and asking them over gRPC.

use std::process::Output;

use anyhow::{Context as _, bail};
use proto::certs::v1::status_client::StatusClient;
use proto::certs::v1::{GetRequest, ListRequest, NameStatus, State};
use tonic::transport::Channel;

use super::Stack;
use crate::{process, wait};

impl Stack {
    /// Runs one of the programs' commands, such as `proxy reload`, with the addresses of this stack.
    ///
    /// # Errors
    /// When it cannot be run or does not end; its exit status is the caller's to judge.
    pub async fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = tokio::process::Command::new(process::binary(program)?);
        command
            .args(args)
            .env_clear()
            .envs(self.program_environment(program)?)
            .kill_on_drop(true);
        tokio::time::timeout(wait::DEADLINE, command.output())
            .await
            .with_context(|| format!("{program} {args:?} does not end"))?
            .with_context(|| format!("running {program} {args:?}"))
    }

    /// What cert-manager's `Status` service says of a name.
    ///
    /// # Errors
    /// When it cannot be asked, or knows nothing.
    pub async fn status(&self, name: &str) -> anyhow::Result<NameStatus> {
        let request = GetRequest {
            name: name.to_owned(),
        };
        let response = self
            .status_client()
            .await?
            .get(request)
            .await
            .context("asking cert-manager")?;
        response
            .into_inner()
            .status
            .context("an answer without a status")
    }

    /// What cert-manager's `Status` service says of every name.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn statuses(&self) -> anyhow::Result<Vec<NameStatus>> {
        let mut client = self.status_client().await?;
        let response = client
            .list(ListRequest {})
            .await
            .context("asking cert-manager")?;
        Ok(response.into_inner().names)
    }

    /// Waits until a name is in `state`.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn reached(&self, name: &str, state: State) -> anyhow::Result<NameStatus> {
        wait::until(&format!("{name} is {state:?}"), async || {
            let status = self.status(name).await?;
            if status.state() != state {
                bail!("it is {status:?}");
            }
            Ok(status)
        })
        .await
    }

    /// The serial number of the certificate that is stored for a name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn stored_serial(&self, name: &str) -> anyhow::Result<String> {
        let status = self.status(name).await?;
        Ok(status
            .certificate
            .context("no certificate is stored")?
            .serial)
    }

    async fn status_client(&self) -> anyhow::Result<StatusClient<Channel>> {
        let channel = Channel::from_shared(format!("http://127.0.0.1:{}", self.ports.status))
            .context("the address of cert-manager")?
            .connect()
            .await
            .context("connecting to cert-manager")?;
        Ok(StatusClient::new(channel))
    }

    /// The flags of a program, as environment variables.
    pub(super) fn program_environment(
        &self,
        program: &str,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let ports = &self.ports;
        let on = |port: u16| format!("127.0.0.1:{port}");
        let folder = |name: &str| self.path(name).display().to_string();
        let mut flags = vec![
            ("ADMIN", on(self.admin_port(program)?)),
            ("LOG_FORMAT", "json".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
        ];
        match program {
            "cert-manager" => flags.extend([
                ("CONTROL", folder("control")),
                ("DATA", folder("cert-data")),
                ("LISTEN", on(ports.manager)),
                ("STATUS_LISTEN", on(ports.status)),
            ]),
            "static-server" => flags.extend([
                ("CONTROL", folder("control/static-server")),
                ("LISTEN", on(ports.files)),
                ("EVENTS_LISTEN", on(ports.events)),
                ("HANDOFF", folder("handoff")),
            ]),
            _ => flags.extend([
                ("CONTROL", folder("control/proxy")),
                ("DATA", folder("proxy-data")),
                ("CONFIG", folder("Caddyfile")),
                ("CERT_MANAGER", format!("https://{}", on(ports.manager))),
                ("STATIC_SERVER", format!("http://{}", on(ports.files))),
                ("STATIC_EVENTS", format!("https://{}", on(ports.events))),
                ("STATIC_HANDOFF", folder("handoff")),
            ]),
        }
        let flags = flags
            .into_iter()
            .map(|(flag, value)| (format!("PORTICO_{flag}"), value));
        Ok(flags.chain(self.environment.iter().cloned()).collect())
    }
}
