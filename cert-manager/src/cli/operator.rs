//! `renew`, `forget`, `revoke` and `rollover-account`: over mutual TLS with the operator's identity.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use proto::certs::v1::admin_client::AdminClient;
use proto::certs::v1::{self, ForgetRequest, RenewRequest, RevokeRequest, RolloverAccountRequest};
use proto::sidecar::dns::Resolver;
use proto::sidecar::error_chain::Chain;
use proto::sidecar::grpc::channel;
use proto::sidecar::identity::{IDENTITY_FILE, Identity, LiveIdentity, Role};
use tonic::transport::Channel;

use super::{OperatorArgs, RevokeArgs, RolloverAccountArgs, ServiceArgs, call_failed, callable};
use crate::issuer::RevocationReason;

/// Asks a running service for a new certificate.
///
/// # Errors
/// Why it does not, in words for an operator.
pub async fn renew(control: &Path, args: &OperatorArgs) -> Result<(), String> {
    let request = RenewRequest {
        name: args.name.clone(),
    };
    client(control, args.service.listen)?
        .renew(request)
        .await
        .map(drop)
        .map_err(|status| call_failed(args.service.listen, "--listen", &status))
}

/// Asks a running service to drop what is stored for a name.
///
/// # Errors
/// Why it does not, in words for an operator.
pub async fn forget(control: &Path, args: &OperatorArgs) -> Result<(), String> {
    let request = ForgetRequest {
        name: args.name.clone(),
    };
    client(control, args.service.listen)?
        .forget(request)
        .await
        .map(drop)
        .map_err(|status| call_failed(args.service.listen, "--listen", &status))
}

/// Asks a running service to have a certificate revoked.
///
/// # Errors
/// Why it is not, in words for an operator.
pub async fn revoke(control: &Path, args: &RevokeArgs) -> Result<(), String> {
    let OperatorArgs {
        name,
        service: ServiceArgs { listen },
    } = &args.operator;
    let reason = match args.reason {
        RevocationReason::Unspecified => v1::RevocationReason::Unspecified,
        RevocationReason::KeyCompromise => v1::RevocationReason::KeyCompromise,
        RevocationReason::AffiliationChanged => v1::RevocationReason::AffiliationChanged,
        RevocationReason::Superseded => v1::RevocationReason::Superseded,
        RevocationReason::CessationOfOperation => v1::RevocationReason::CessationOfOperation,
    };
    let request = RevokeRequest {
        name: name.clone(),
        reason: reason.into(),
    };
    client(control, *listen)?
        .revoke(request)
        .await
        .map(drop)
        .map_err(|status| call_failed(*listen, "--listen", &status))
}

/// Asks a running service for new account keys, and writes to `output` which accounts have one.
///
/// # Errors
/// Why an account keeps its key, in words for an operator.
pub async fn rollover_account(
    control: &Path,
    args: &RolloverAccountArgs,
    output: &mut dyn Write,
) -> Result<(), String> {
    let request = RolloverAccountRequest {
        directory_url: args.directory.clone().unwrap_or_default(),
        email: args.email.clone().unwrap_or_default(),
    };
    let answer = client(control, args.service.listen)?
        .rollover_account(request)
        .await
        .map_err(|status| call_failed(args.service.listen, "--listen", &status))?;
    let mut problems = Vec::new();
    for account in answer.into_inner().accounts {
        let contact = match account.email.as_str() {
            "" => "no contact",
            email => email,
        };
        let account_name = format!("{} ({contact})", account.directory_url);
        if account.problem.is_empty() {
            writeln!(output, "{account_name} has a new key").map_err(|error| error.to_string())?;
        } else {
            problems.push(format!("{account_name}: {}", account.problem));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// A client of the service at `listen`, with the operator's identity.
pub(super) fn client(control: &Path, listen: SocketAddr) -> Result<AdminClient<Channel>, String> {
    // The folder of all roles, or, on another machine, the operator's alone.
    let folder = control.join(Role::Operator.as_str());
    let folder = if folder.join(IDENTITY_FILE).exists() {
        folder
    } else {
        control.to_owned()
    };
    let identity = Identity::load(&folder).map_err(|error| {
        format!(
            "no operator identity in {} (--control): {}",
            folder.display(),
            Chain(&error)
        )
    })?;
    let live = LiveIdentity::default();
    live.set(identity);
    let resolver = Resolver::from_system().map_err(|error| error.to_string())?;
    let url = format!("https://{}", callable(listen));
    channel(&url, Role::CertManager, live, resolver)
        .map(AdminClient::new)
        .map_err(|error| Chain(&error).to_string())
}
