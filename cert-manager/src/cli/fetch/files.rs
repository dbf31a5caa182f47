//! The files of a certificate: each replaced as a whole, durably, with its owner and mode before it
//! has its name.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::owner::Owner;
use crate::certificate::Certificate;
use crate::name::Name;
use crate::pem;

/// Where files go, and whose they are.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) folder: PathBuf,
    pub(super) mode: u32,
    pub(super) owner: Option<Owner>,
}

/// The files of a certificate.
#[derive(Debug)]
pub(super) struct Written {
    /// Chain and key in one file, which is never half new.
    pub(super) both: PathBuf,
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// One of them was not as it is now.
    pub(super) is_change: bool,
}

impl Target {
    /// Writes the files of a certificate that are not as they should be. Blocks.
    pub(super) fn write(&self, certificate: &Certificate) -> Result<Written, String> {
        let file = |end: &str| {
            self.folder
                .join(format!("{}.{end}", stem(&certificate.name)))
        };
        let chain = pem::encode_certificates(&certificate.chain);
        let key = certificate.key.to_pem();
        let mut both = Zeroizing::new(String::with_capacity(chain.len() + key.len()));
        both.push_str(&chain);
        both.push_str(&key);
        let mut written = Written {
            both: file("pem"),
            chain: file("crt"),
            key: file("key"),
            is_change: false,
        };
        let failed = |what: &Path| {
            let what = what.display().to_string();
            move |error: io::Error| format!("cannot write {what}: {error}")
        };
        fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        for (path, text) in [
            (&written.both, both.as_str()),
            (&written.key, key.as_str()),
            (&written.chain, chain.as_str()),
        ] {
            if self.is_current(path, text).unwrap_or(false) {
                continue;
            }
            self.replace(path, text).map_err(failed(path))?;
            written.is_change = true;
        }
        // The names of the new files must outlive a crash, too.
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(failed(&self.folder))?;
        Ok(written)
    }

    fn is_current(&self, path: &Path, text: &str) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let is_owned = self.owner.is_none_or(|owner| {
            let group = owner.group.unwrap_or_else(|| metadata.gid());
            (owner.user, group) == (metadata.uid(), metadata.gid())
        });
        if !is_owned || metadata.permissions().mode() & 0o7777 != self.mode {
            return Ok(false);
        }
        let mut found = Zeroizing::new(Vec::with_capacity(text.len()));
        file.read_to_end(&mut found)?;
        Ok(*found == text.as_bytes())
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.folder.join(format!(".{name}.tmp"));
        // One that an earlier run left behind may have another mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.create(&temporary, text);
        let replaced = written.and_then(|()| fs::rename(&temporary, path));
        if replaced.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&temporary);
        }
        replaced
    }

    fn create(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        if let Some(owner) = self.owner {
            fchown(&file, Some(owner.user), owner.group).map_err(|error| {
                let hint = "only root may give files to others (--owner)";
                io::Error::new(error.kind(), format!("{error}; {hint}"))
            })?;
        }
        // After the owner, for a change of it clears some bits.
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.sync_all()
    }
}

/// A mode in octal that lets the owner read and nobody but the owner write.
pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| mode & !0o777 == 0 && mode & 0o400 != 0 && mode & 0o022 == 0)
        .ok_or_else(|| {
            format!(
                "`{text}` (--mode) is no mode for a private key: use octal such as 0640, without \
                 writing for others"
            )
        })
}

/// The file name of a name without its end; a wildcard's as Caddy has it.
fn stem(name: &Name) -> String {
    name.as_str().replace('*', "wildcard_").replace(':', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Signer, Usage};
    use crate::certificate::PrivateKey;
    use crate::policy::{IssuerId, KeyType};

    fn certificate(name: &str) -> Certificate {
        let now = jiff::Timestamp::now();
        let hours = jiff::SignedDuration::from_hours;
        let root = Signer::root("test", now, hours(48)).unwrap();
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let leaf = root
            .leaf(name, &key, Usage::Server, now, hours(24))
            .unwrap();
        let name = Name::parse(name).unwrap();
        Certificate::new(name, IssuerId::Internal, vec![leaf], key).unwrap()
    }

    fn target(folder: &Path) -> Target {
        Target {
            folder: folder.join("certs"),
            mode: 0o640,
            owner: None,
        }
    }

    #[test]
    fn files_are_written_once_with_their_mode() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let first = certificate("mail.school.org");
        let written = target.write(&first).unwrap();
        assert!(written.is_change);
        assert_eq!(written.both, target.folder.join("mail.school.org.pem"));
        for path in [&written.both, &written.chain, &written.key] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(
            read(&written.both),
            read(&written.chain) + &read(&written.key)
        );
        PrivateKey::from_pem(&read(&written.both)).unwrap();
        assert!(!target.write(&first).unwrap().is_change);
        // A file that somebody has changed, a mode, and a newer certificate.
        fs::write(&written.chain, "").unwrap();
        assert!(target.write(&first).unwrap().is_change);
        let stricter = Target {
            mode: 0o600,
            ..target.clone()
        };
        assert!(stricter.write(&first).unwrap().is_change);
        assert!(
            target
                .write(&certificate("mail.school.org"))
                .unwrap()
                .is_change
        );
        assert_eq!(fs::read_dir(&target.folder).unwrap().count(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        fs::write(&target.folder, "").unwrap();
        let error = target.write(&certificate("a.school.org")).unwrap_err();
        assert!(error.contains("certs"), "{error}");
    }

    #[test]
    fn names_become_file_names() {
        let file = |name: &str| stem(&Name::parse(name).unwrap());
        assert_eq!(file("*.school.org"), "wildcard_.school.org");
        assert_eq!(file("2001:db8::1"), "2001-db8--1");
    }

    #[test]
    fn modes_keep_keys_from_others_hands() {
        assert_eq!(parse_mode("0640"), Ok(0o640));
        assert_eq!(parse_mode("400"), Ok(0o400));
        for bad in ["", "0660", "0642", "9", "04640", "rw"] {
            assert!(parse_mode(bad).is_err(), "{bad}");
        }
    }
}
