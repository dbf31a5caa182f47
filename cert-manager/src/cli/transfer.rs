//! `export` and `import`: files on this side, the service on the other.

mod source;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use proto::certs::v1::{ExportRequest, ImportOutcome, ImportRequest, ImportResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::operator::client;
use super::{ExportArgs, ImportArgs, call_failed};
use crate::store::write_file;
use source::{Candidate, Unusable};

/// Items that wait to be sent.
const QUEUE: usize = 16;

/// Writes what a running service has stored into a folder.
///
/// # Errors
/// Why it cannot, in words for an operator.
pub async fn export(control: &Path, args: &ExportArgs, out: &mut impl Write) -> Result<(), String> {
    check_is_empty(&args.folder)?;
    let request = ExportRequest {
        names: args.names.clone(),
    };
    let call_failed = |status| call_failed(args.service.listen, "--listen", &status);
    let mut files = client(control, args.service.listen)?
        .export(request)
        .await
        .map_err(call_failed)?
        .into_inner();
    let mut count = 0_u64;
    while let Some(file) = files.message().await.map_err(call_failed)? {
        let path = args.folder.join(safe_path(&file.path)?);
        let mode = if file.public { 0o644 } else { 0o600 };
        let content = zeroize::Zeroizing::new(file.content);
        write_file(&path, &content, mode, 0o700)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        count += 1;
    }
    writeln!(
        out,
        "{count} files in {}; private keys among them are not sealed",
        args.folder.display()
    )
    .map_err(|error| format!("cannot print: {error}"))
}

/// Has a running service take what is in a folder, and says of each item what became of it.
///
/// # Errors
/// Why it cannot, in words for an operator; also when some items could not be used.
pub async fn import(control: &Path, args: &ImportArgs, out: &mut impl Write) -> Result<(), String> {
    let candidates = source::find(&args.folder)?;
    if candidates.is_empty() {
        return Err(format!(
            "{} holds nothing to import: neither Caddy's data, nor certbot's, nor NAME.crt with \
             NAME.key",
            args.folder.display()
        ));
    }
    let mut client = client(control, args.service.listen)?;
    let (items, requests) = mpsc::channel(QUEUE);
    let replace = args.replace_authority;
    let reading = tokio::task::spawn_blocking(move || read_all(candidates, replace, &items));
    let call_failed = |status| call_failed(args.service.listen, "--listen", &status);
    let mut answers = client
        .import(ReceiverStream::new(requests))
        .await
        .map_err(call_failed)?
        .into_inner();
    let mut report = Report::default();
    while let Some(answer) = answers.message().await.map_err(call_failed)? {
        report.take(&answer, out)?;
    }
    for unusable in reading.await.map_err(|error| error.to_string())? {
        report.refuse(&unusable, out)?;
    }
    report.end(out)
}

/// Reads every candidate and sends it. Returns those that cannot be used.
fn read_all(
    candidates: Vec<Candidate>,
    replace_authority: bool,
    items: &mpsc::Sender<ImportRequest>,
) -> Vec<Unusable> {
    let mut unusable = Vec::new();
    for candidate in candidates {
        match candidate.read(replace_authority) {
            Ok(request) => {
                if items.blocking_send(request).is_err() {
                    // The call has ended, and says why.
                    break;
                }
            }
            Err(reason) => unusable.push(reason),
        }
    }
    unusable
}

/// What became of the items.
#[derive(Debug, Default)]
struct Report {
    imported: u64,
    kept: u64,
    refused: u64,
}

impl Report {
    fn take(&mut self, answer: &ImportResponse, out: &mut impl Write) -> Result<(), String> {
        let word = match answer.outcome() {
            ImportOutcome::Imported => {
                self.imported += 1;
                "imported"
            }
            ImportOutcome::Kept => {
                self.kept += 1;
                "kept"
            }
            ImportOutcome::Refused | ImportOutcome::Unspecified => {
                self.refused += 1;
                "refused"
            }
        };
        print(out, word, &answer.subject, &answer.source, &answer.reason)
    }

    fn refuse(&mut self, unusable: &Unusable, out: &mut impl Write) -> Result<(), String> {
        self.refused += 1;
        print(out, "refused", "", &unusable.source, &unusable.reason)
    }

    fn end(&self, out: &mut impl Write) -> Result<(), String> {
        let Self {
            imported,
            kept,
            refused,
        } = self;
        writeln!(
            out,
            "{imported} imported, {kept} kept as stored, {refused} refused"
        )
        .map_err(|error| format!("cannot print: {error}"))?;
        if *refused > 0 {
            return Err(format!("{refused} items could not be imported"));
        }
        Ok(())
    }
}

fn print(
    out: &mut impl Write,
    word: &str,
    subject: &str,
    source: &str,
    reason: &str,
) -> Result<(), String> {
    let subject = if subject.is_empty() { source } else { subject };
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    writeln!(out, "{word:<9} {subject} ({source}){reason}")
        .map_err(|error| format!("cannot print: {error}"))
}

fn check_is_empty(folder: &Path) -> Result<(), String> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("cannot use {}: {error}", folder.display())),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!(
                "{} is not empty; export into a new folder, so that nothing is replaced",
                folder.display()
            )),
        },
    }
}

/// A path that does not lead out of the folder it is joined to.
fn safe_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_safe = path
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if is_safe && !text.is_empty() {
        Ok(path)
    } else {
        Err(format!("the service sent a file with the path `{text}`"))
    }
}
