//! The last good certificates, as files in the proxy's own folder.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downstream::{Certificate, CertificateError};
use proto::sidecar::error_chain::Chain;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::private_file;

/// One file per name with its private key and chain in PEM, readable by the owner alone.
///
/// Several proxies may share the folder: a file is replaced as a whole, and all write the same.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// Why a certificate cannot be kept or restored.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system refuses.
    #[error("{action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("reading {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the PEM reader says.
        source: rustls_pki_types::pem::Error,
    },
    /// It is no longer good.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Cache {
    /// A cache in the folder `certificates` of `data`, which is made when it is needed.
    pub fn new(data: &Path) -> Self {
        Self {
            folder: data.join("certificates"),
        }
    }

    /// A cache in the folder `on-demand` of `data`, for names that clients bring. The time of each
    /// file says when it was last used.
    pub fn on_demand(data: &Path) -> Self {
        Self {
            folder: data.join("on-demand"),
        }
    }

    /// The kept certificates of `names` that can still be served.
    pub fn restore(&self, names: &HashSet<&str>) -> Vec<(Box<str>, Arc<Certificate>)> {
        let mut restored = Vec::new();
        for name in names {
            let path = self.path(name);
            match self.load(&path, name) {
                Ok(Some(certificate)) => {
                    tracing::info!(name, "restored a certificate from --data");
                    restored.push(((*name).into(), Arc::new(certificate)));
                }
                Ok(None) => {}
                Err(CacheError::Certificate(CertificateError::Expired)) => {
                    tracing::info!(name, "the certificate kept in --data has expired");
                }
                Err(error) => tracing::warn!(
                    name,
                    error = %Chain(&error),
                    "cannot restore a certificate; it comes again from cert-manager"
                ),
            }
        }
        restored
    }

    /// Keeps a certificate: on disk for certain before it is in the place of an older one. When it
    /// was last used stays as it was.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn store(
        &self,
        name: &str,
        chain: &[Vec<u8>],
        private_key: &[u8],
    ) -> Result<(), CacheError> {
        let path = self.path(name);
        let mut text = Zeroizing::new(String::new());
        push_pem(&mut text, "PRIVATE KEY", private_key);
        for certificate in chain {
            push_pem(&mut text, "CERTIFICATE", certificate);
        }
        let used_at = self.used_at(name);
        private_file::write(&path, text.as_bytes(), used_at).map_err(failed("writing", &path))
    }

    /// Forgets a certificate.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), CacheError> {
        let path = self.path(name);
        private_file::remove(&path).map_err(failed("removing", &path))
    }

    /// The names of the kept certificates, as their files spell them.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn names(&self) -> Result<Vec<String>, CacheError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed("listing", &self.folder))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("listing", &self.folder))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".pem"));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }

    /// When a certificate was last used: the time of its file.
    pub fn used_at(&self, name: &str) -> Option<SystemTime> {
        fs::metadata(self.path(name)).ok()?.modified().ok()
    }

    /// Notes that a certificate was used at `now`.
    ///
    /// # Errors
    /// When its file cannot be changed.
    pub fn note_use(&self, name: &str, now: SystemTime) -> Result<(), CacheError> {
        let path = self.path(name);
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(now))
            .map_err(failed("noting the use of", &path))
    }

    fn load(&self, path: &Path, name: &str) -> Result<Option<Certificate>, CacheError> {
        let text = match fs::read(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("reading", path)(source)),
        };
        let pem = |source| CacheError::Pem {
            path: path.to_owned(),
            source,
        };
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(pem)?;
        let chain = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(pem)?;
        let certificate = Certificate::new(chain, key)?;
        certificate.check(name, SystemTime::now())?;
        Ok(Some(certificate))
    }

    /// Names are host names or addresses, so only the wildcard needs another spelling. Caddy: the
    /// same one.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!(
            "{}.pem",
            name.replace('*', "wildcard_").replace('/', "_")
        ))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::File {
        action,
        path,
        source,
    }
}

/// Puts together a certificate that can be served for `name` at `now`.
pub(super) fn assemble(
    chain: &[Vec<u8>],
    private_key: &[u8],
    name: &str,
    now: SystemTime,
) -> Result<Certificate, CertificateError> {
    let chain = chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private_key.to_vec()));
    let certificate = Certificate::new(chain, key)?;
    certificate.check(name, now)?;
    Ok(certificate)
}

fn push_pem(text: &mut String, label: &str, der: &[u8]) {
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};

    use super::Cache;

    fn self_signed(name: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (vec![certificate.der().to_vec()], key.serialize_der())
    }

    #[test]
    fn kept_certificate_is_restored() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::new(data.path());
        let (chain, key) = self_signed("*.example.com");
        cache.store("*.example.com", &chain, &key).unwrap();
        cache.store("*.example.com", &chain, &key).unwrap();
        let restored = cache.restore(&HashSet::from(["*.example.com", "other.example.com"]));
        assert_eq!(restored.len(), 1);
        assert_eq!(&*restored[0].0, "*.example.com");

        let files: Vec<_> = std::fs::read_dir(data.path().join("certificates"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].file_name(), "wildcard_.example.com.pem");
        assert_eq!(
            files[0].metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );

        cache.remove("*.example.com").unwrap();
        cache.remove("*.example.com").unwrap();
        assert!(cache.restore(&HashSet::from(["*.example.com"])).is_empty());
    }

    #[test]
    fn use_is_remembered_beside_the_name() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::on_demand(data.path());
        assert!(cache.names().unwrap().is_empty());
        assert_eq!(cache.used_at("a.example.com"), None);
        let (chain, key) = self_signed("a.example.com");
        cache.store("a.example.com", &chain, &key).unwrap();
        assert_eq!(cache.names().unwrap(), ["a.example.com"]);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        cache.note_use("a.example.com", long_ago).unwrap();
        cache.store("a.example.com", &chain, &key).unwrap();
        assert_eq!(cache.used_at("a.example.com"), Some(long_ago));
    }

    #[test]
    fn damaged_or_foreign_file_is_not_served() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::new(data.path());
        let (chain, key) = self_signed("a.example.com");
        cache.store("b.example.com", &chain, &key).unwrap();
        cache.store("a.example.com", &chain, &key).unwrap();
        let path = data.path().join("certificates/a.example.com.pem");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(
            cache
                .restore(&HashSet::from(["a.example.com", "b.example.com"]))
                .is_empty()
        );
    }
}
