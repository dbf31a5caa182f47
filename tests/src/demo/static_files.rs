//! The static files, collected into a folder under their own and under fingerprinted names.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

const STYLE: &[u8] = include_bytes!("../../assets/demo/site.css");
const SCRIPT: &[u8] = include_bytes!("../../assets/demo/app.js");
const LOGO: &[u8] = include_bytes!("../../assets/demo/logo.svg");

/// Paths below `/static`, with fingerprints.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) logo: String,
}

/// Writes every static file twice: as `site.css` and as `site.<fingerprint>.css`.
///
/// # Errors
/// When the folder cannot be made or written.
pub(super) fn collect(folder: &Path) -> io::Result<Assets> {
    std::fs::create_dir_all(folder)?;
    Ok(Assets {
        style: write(folder, "site", "css", STYLE)?,
        script: write(folder, "app", "js", SCRIPT)?,
        logo: write(folder, "logo", "svg", LOGO)?,
    })
}

/// Twelve hexadecimal digits that change with the content, as Django's manifest storage makes them.
pub fn fingerprint(content: &[u8]) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(content).iter().take(6) {
        write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
    }
    digits
}

fn write(folder: &Path, stem: &str, extension: &str, content: &[u8]) -> io::Result<String> {
    let fingerprinted = format!("{stem}.{}.{extension}", fingerprint(content));
    std::fs::write(folder.join(format!("{stem}.{extension}")), content)?;
    std::fs::write(folder.join(&fingerprinted), content)?;
    Ok(fingerprinted)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn fingerprint_follows_the_content() {
        assert_eq!(fingerprint(b""), "e3b0c44298fc");
        assert_ne!(fingerprint(b"a"), fingerprint(b"b"));
    }
}
