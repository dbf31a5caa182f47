//! Which certificates clients are to show (Caddy: `tls client_auth`).

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use caddyfile::document;
use downstream::ClientAuthentication;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value as Json;

use crate::compile::CompileError;

/// What is read, and what is wrong with it.
struct Reader<'a> {
    path: &'a str,
    errors: Vec<CompileError>,
}

/// Compiles what a policy asks of clients, and reads the files that it names.
///
/// # Errors
/// Every file that cannot be read, certificate that is none, and module that is not supported.
pub(super) fn compile(
    document: &document::ClientAuthentication,
    path: &str,
) -> Result<ClientAuthentication, Vec<CompileError>> {
    let mut reader = Reader {
        path,
        errors: Vec::new(),
    };
    let authorities = reader.authorities(document);
    let leaves = reader.leaves(document);
    // Caddy: without a mode, whoever is trusted decides it.
    let mode = match document.mode.as_str() {
        "" if authorities.is_some() => "require_and_verify",
        "" => "require",
        mode => mode,
    };
    let (is_required, verifies) = match mode {
        "request" => (false, false),
        "require" => (true, false),
        "verify_if_given" => (false, true),
        "require_and_verify" => (true, true),
        other => {
            reader.error("mode", format!("`{other}` is no mode"));
            (true, true)
        }
    };
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let (authorities, hints) = if verifies {
        // Go: without a pool, those of the system are trusted.
        (
            Some(authorities.unwrap_or_else(upstream::public_roots)),
            None,
        )
    } else {
        (None, authorities)
    };
    Ok(ClientAuthentication {
        is_required,
        authorities,
        hints,
        leaves,
    })
}

impl Reader<'_> {
    fn error(&mut self, field: &str, message: String) {
        let path = format!("{}.{field}", self.path);
        self.errors.push(CompileError::new(path, message));
    }

    fn refuse(&mut self, field: &str, what: &str, instead: &str) {
        let path = format!("{}.{field}", self.path);
        let error = CompileError::new(path, format!("{what} is not supported"));
        self.errors.push(error.with_hint(instead));
    }

    /// The trusted authorities, if any are named.
    fn authorities(
        &mut self,
        document: &document::ClientAuthentication,
    ) -> Option<Arc<RootCertStore>> {
        let files = &document.trusted_ca_certs_pem_files;
        if document.ca.is_none() && document.trusted_ca_certs.is_empty() && files.is_empty() {
            return None;
        }
        let mut roots = RootCertStore::empty();
        if let Some(pool) = &document.ca {
            self.pool(pool, &mut roots);
        }
        for text in &document.trusted_ca_certs {
            self.inline("trusted_ca_certs", text, &mut roots);
        }
        for file in files {
            self.file("trusted_ca_certs_pem_files", file, &mut roots);
        }
        if roots.is_empty() && self.errors.is_empty() {
            self.error("ca", "no authority is trusted".to_owned());
        }
        Some(Arc::new(roots))
    }

    fn pool(&mut self, pool: &Json, roots: &mut RootCertStore) {
        match pool["provider"].as_str().unwrap_or_default() {
            "system" => roots.extend(upstream::public_roots().roots.iter().cloned()),
            "inline" => {
                for text in texts(&pool["trusted_ca_certs"]) {
                    self.inline("ca", text, roots);
                }
            }
            "file" => {
                for file in texts(&pool["pem_files"]) {
                    self.file("ca", file, roots);
                }
            }
            "combined" => {
                for source in pool["sources"].as_array().into_iter().flatten() {
                    self.pool(source, roots);
                }
            }
            other => self.refuse(
                "ca",
                &format!("the trust pool `{other}`"),
                "write the authority's certificates into a file, and `trust_pool file <path>`",
            ),
        }
    }

    fn inline(&mut self, field: &str, text: &str, roots: &mut RootCertStore) {
        let certificate = BASE64_STANDARD.decode(text).map(CertificateDer::from);
        match certificate.map(|certificate| roots.add(certificate)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.error(field, format!("a trusted certificate is none: {error}")),
            Err(error) => self.error(
                field,
                format!("a trusted certificate is no base64 of DER: {error}"),
            ),
        }
    }

    fn file(&mut self, field: &str, file: &str, roots: &mut RootCertStore) {
        for certificate in self.certificates(field, Path::new(file)) {
            if let Err(error) = roots.add(certificate) {
                self.error(
                    field,
                    format!("`{file}` has what is no certificate: {error}"),
                );
            }
        }
    }

    /// The certificates of which a client's must be one, if any are named.
    fn leaves(
        &mut self,
        document: &document::ClientAuthentication,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let mut leaves = Vec::new();
        for text in &document.trusted_leaf_certs {
            match BASE64_STANDARD.decode(text) {
                Ok(certificate) => leaves.push(certificate.into()),
                Err(error) => self.error(
                    "trusted_leaf_certs",
                    format!("a trusted certificate is no base64 of DER: {error}"),
                ),
            }
        }
        for verifier in &document.verifiers {
            let name = verifier["verifier"].as_str().unwrap_or_default();
            if name == "leaf" {
                for loader in verifier["leaf_certs_loaders"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    self.load(loader, &mut leaves);
                }
            } else {
                self.refuse(
                    "verifiers",
                    &format!("the verifier `{name}`"),
                    "use `verifier leaf file <path>`, or a `trust_pool`",
                );
            }
        }
        let is_asked = !document.trusted_leaf_certs.is_empty() || !document.verifiers.is_empty();
        is_asked.then_some(leaves)
    }

    fn load(&mut self, loader: &Json, leaves: &mut Vec<CertificateDer<'static>>) {
        match loader["loader"].as_str().unwrap_or_default() {
            "file" => {
                for file in texts(&loader["files"]) {
                    leaves.append(&mut self.certificates("verifiers", Path::new(file)));
                }
            }
            "folder" => {
                for folder in texts(&loader["folders"]) {
                    self.folder(Path::new(folder), leaves);
                }
            }
            "pem" => {
                for text in texts(&loader["certificates"]) {
                    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                        match certificate {
                            Ok(certificate) => leaves.push(certificate),
                            Err(error) => {
                                self.error(
                                    "verifiers",
                                    format!("a certificate is no PEM: {error}"),
                                );
                            }
                        }
                    }
                }
            }
            other => self.refuse(
                "verifiers",
                &format!("the loader `{other}`"),
                "write the certificates into files, and `verifier leaf file <path>`",
            ),
        }
    }

    /// Caddy: the `.pem` files of a folder and of those in it.
    fn folder(&mut self, folder: &Path, leaves: &mut Vec<CertificateDer<'static>>) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", folder.display());
                self.error("verifiers", message);
                return;
            }
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                self.folder(&path, leaves);
            } else if path.extension().is_some_and(|extension| extension == "pem") {
                leaves.append(&mut self.certificates("verifiers", &path));
            }
        }
    }

    fn certificates(&mut self, field: &str, file: &Path) -> Vec<CertificateDer<'static>> {
        let shown = file.display();
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) => {
                self.error(field, format!("`{shown}` cannot be read: {error}"));
                return Vec::new();
            }
        };
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match read {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => {
                self.error(field, format!("`{shown}` has no certificate in PEM"));
                Vec::new()
            }
            Err(error) => {
                self.error(field, format!("`{shown}` is no PEM: {error}"));
                Vec::new()
            }
        }
    }
}

fn texts(list: &Json) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
}
