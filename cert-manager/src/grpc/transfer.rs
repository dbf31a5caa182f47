//! `Export` and `Import`: streams, so that neither side holds everything in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::certs::v1;
use proto::certs::v1::import_request::Item;
use proto::sidecar::error_chain::Chain;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

use super::{parse_name, store_failed};
use crate::authority::Signer;
use crate::certificate::PrivateKey;
use crate::manager::{Imported, ImportedAccount, ImportedCertificate, Manager};
use crate::name::Name;
use crate::pem;
use crate::policy::IssuerId;
use crate::store::transfer::{self, ExportedFile};
use crate::store::{Authority, AuthorityId, StoreError};

/// Answers that wait for a slow operator.
pub(super) const QUEUE: usize = 16;

type Answers<T> = mpsc::Sender<Result<T, Status>>;

/// Reads the names of an export.
pub(super) fn wanted(request: &v1::ExportRequest) -> Result<BTreeSet<Name>, Status> {
    request.names.iter().map(|name| parse_name(name)).collect()
}

/// Sends what is stored: of `names` alone, or everything if there are none.
pub(super) async fn export(
    manager: Arc<Manager>,
    wanted: BTreeSet<Name>,
    answers: Answers<v1::ExportResponse>,
) {
    if let Err(status) = send_everything(&manager, &wanted, &answers).await {
        // Fails when the operator is gone.
        let _ = answers.send(Err(status)).await;
    }
}

async fn send_everything(
    manager: &Manager,
    wanted: &BTreeSet<Name>,
    answers: &Answers<v1::ExportResponse>,
) -> Result<(), Status> {
    let (names, missing) = manager.exportable(wanted);
    if let Some(name) = missing.first() {
        return Err(Status::not_found(format!("nothing is stored for {name}")));
    }
    for name in names {
        let certificate = manager.certificate(&name).await.map_err(failed)?;
        // It may have been forgotten since.
        if let Some(certificate) = certificate {
            send_files(transfer::certificate(&certificate), answers).await?;
        }
    }
    if !wanted.is_empty() {
        return Ok(());
    }
    for account in manager.accounts().await.map_err(failed)? {
        send_files(transfer::account(&account), answers).await?;
    }
    if let Some(authority) = manager.internal_authority().await.map_err(failed)? {
        send_files(transfer::authority(&authority), answers).await?;
    }
    Ok(())
}

async fn send_files(
    files: Result<Vec<ExportedFile>, StoreError>,
    answers: &Answers<v1::ExportResponse>,
) -> Result<(), Status> {
    for file in files.map_err(failed)? {
        let answer = v1::ExportResponse {
            path: file.path,
            content: file.text.as_bytes().to_vec(),
            public: file.is_public,
        };
        answers
            .send(Ok(answer))
            .await
            .map_err(|_| Status::cancelled("the operator is gone"))?;
    }
    Ok(())
}

/// Takes what an operator sends, and says what became of each item.
pub(super) async fn import(
    manager: Arc<Manager>,
    mut requests: Streaming<v1::ImportRequest>,
    answers: Answers<v1::ImportResponse>,
) {
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "an import ended early");
                return;
            }
        };
        for answer in take(&manager, request).await {
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
        }
    }
}

async fn take(manager: &Manager, request: v1::ImportRequest) -> Vec<v1::ImportResponse> {
    let source = request.source;
    let taken = match request.item {
        Some(Item::Certificate(item)) => match certificate(item) {
            Ok(import) => manager.import_certificate(import).await,
            Err(reason) => Ok(vec![(String::new(), Imported::Refused(reason))]),
        },
        Some(Item::Account(item)) => {
            let subject = format!("account {} at {}", item.email, item.folder);
            match account(item) {
                Ok(import) => manager.import_account(import).await,
                Err(reason) => Ok(Imported::Refused(reason)),
            }
            .map(|outcome| vec![(subject, outcome)])
        }
        Some(Item::Authority(item)) => {
            let subject = "internal authority".to_owned();
            let replace = item.replace;
            match authority(item) {
                Ok(import) => manager.import_authority(import, replace).await,
                Err(reason) => Ok(Imported::Refused(reason)),
            }
            .map(|outcome| vec![(subject, outcome)])
        }
        // From a newer client.
        None => Ok(vec![(
            String::new(),
            Imported::Refused("this cert-manager does not know what it is".to_owned()),
        )]),
    };
    let outcomes = taken.unwrap_or_else(|error| {
        tracing::error!(source, error = %Chain(&error), "an import cannot be kept");
        let reason = format!("the store failed: {}", Chain(&error));
        vec![(String::new(), Imported::Refused(reason))]
    });
    outcomes
        .into_iter()
        .map(|(subject, outcome)| answer(source.clone(), subject, outcome))
        .collect()
}

fn answer(source: String, subject: String, outcome: Imported) -> v1::ImportResponse {
    let (outcome, reason) = match outcome {
        Imported::Taken => (v1::ImportOutcome::Imported, String::new()),
        Imported::Kept(reason) => (v1::ImportOutcome::Kept, reason),
        Imported::Refused(reason) => (v1::ImportOutcome::Refused, reason),
    };
    v1::ImportResponse {
        source,
        subject,
        outcome: outcome.into(),
        reason,
    }
}

fn certificate(item: v1::ImportedCertificate) -> Result<ImportedCertificate, String> {
    let issuer = match item.directory_url.as_str() {
        _ if item.internal => Some(IssuerId::Internal),
        "" => None,
        directory_url => Some(IssuerId::Acme(directory_url.to_owned())),
    };
    Ok(ImportedCertificate {
        chain: pem::decode_certificates(&item.chain_pem)?,
        key: key(item.key_pem)?,
        issuer,
    })
}

fn account(item: v1::ImportedAccount) -> Result<ImportedAccount, String> {
    let present = |text: String| (!text.is_empty()).then_some(text);
    Ok(ImportedAccount {
        key: key(item.key_pem)?,
        folder: item.folder,
        directory_urls: item.directory_urls,
        email: present(item.email),
        url: present(item.url),
    })
}

fn authority(item: v1::ImportedAuthority) -> Result<Authority, String> {
    pem::decode_certificates(&item.certificate_pem)?;
    Ok(Authority {
        id: AuthorityId::Local,
        root: Signer {
            certificate_pem: item.certificate_pem,
            key: key(item.key_pem)?,
        },
        // Made anew from the root: Caddy's own live for days.
        intermediate: None,
    })
}

/// Reads a key, and wipes what it was read from.
fn key(text: String) -> Result<PrivateKey, String> {
    PrivateKey::from_pem(&Zeroizing::new(text)).map_err(|error| error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "a parameter of map_err")]
fn failed(error: StoreError) -> Status {
    store_failed(&error)
}
