//! Certificates that the operator keeps in files.

use std::sync::Arc;

use caddyfile::document::{CertificateLoaders, LoadFiles};
use downstream::Certificate;
use proto::sidecar::error_chain::Chain;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::super::{CompileContext, CompileError};

const PATH: &str = "apps.tls.certificates";

/// Reads every certificate that the document names.
pub(super) fn load(
    loaders: Option<&CertificateLoaders>,
    context: &CompileContext,
    errors: &mut Vec<CompileError>,
) -> Vec<Arc<Certificate>> {
    let Some(loaders) = loaders else {
        return Vec::new();
    };
    for (field, is_used) in [
        ("load_folders", !loaders.load_folders.is_empty()),
        ("load_pem", loaders.load_pem.is_some()),
        ("load_storage", loaders.load_storage.is_some()),
    ] {
        if is_used {
            errors.push(
                CompileError::new(
                    format_args!("{PATH}.{field}"),
                    format!("`{field}` is not supported"),
                )
                .with_hint("name each certificate and key file with `tls CERT KEY`"),
            );
        }
    }
    let mut loaded = Vec::new();
    for (index, files) in loaders.load_files.iter().enumerate() {
        match read(files, context) {
            Ok(certificate) => loaded.push(Arc::new(certificate)),
            Err(message) => errors.push(
                CompileError::new(format_args!("{PATH}.load_files[{index}]"), message)
                    .with_origin(files.written.0),
            ),
        }
    }
    loaded
}

fn read(files: &LoadFiles, context: &CompileContext) -> Result<Certificate, String> {
    if !matches!(files.format.as_str(), "" | "pem") {
        return Err(format!(
            "the format `{}` is not supported; use PEM",
            files.format
        ));
    }
    let certificate_path = context.folder.join(&files.certificate);
    let key_path = context.folder.join(&files.key);
    let chain = CertificateDer::pem_file_iter(&certificate_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            format!(
                "cannot read certificates from {}: {error}",
                certificate_path.display()
            )
        })?;
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| {
        format!(
            "cannot read a private key from {}: {error}",
            key_path.display()
        )
    })?;
    Certificate::new(chain, key).map_err(|error| {
        format!(
            "cannot use {}: {}",
            certificate_path.display(),
            Chain(&error)
        )
    })
}
