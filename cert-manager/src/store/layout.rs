//! Where the files are: Caddy's storage layout (CertMagic's `KeyBuilder`), so that a data folder
//! can move between Caddy and Portico; and our open orders beside it.

use std::path::{Path, PathBuf};

use crate::name::Name;
use crate::policy::IssuerId;
use crate::store::AuthorityId;

/// Folder of the certificates of every issuer.
pub(super) const CERTIFICATES: &str = "certificates";
/// Folder of our open orders; Caddy has none.
pub(super) const ORDERS: &str = "orders";

/// What Caddy makes of text that becomes part of a path.
fn safe(text: &str) -> String {
    text.trim()
        .to_lowercase()
        .replace(' ', "_")
        .replace('+', "_plus_")
        .replace('*', "wildcard_")
        .replace(':', "-")
        .replace("..", "")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '.' | '-'))
        .collect()
}

/// The folder name of an issuer: `local`, or host and path of the directory URL.
pub(super) fn issuer(id: &IssuerId) -> String {
    match id {
        IssuerId::Imported => "imported".to_owned(),
        IssuerId::Internal => "local".to_owned(),
        IssuerId::Acme(url) => {
            let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            safe(&rest.trim_end_matches('/').replace('/', "-"))
        }
    }
}

/// The file name of a name, without extension.
pub(super) fn name(name: &Name) -> String {
    safe(name.as_str())
}

/// The folder of a name's certificate by one issuer.
pub(super) fn certificate(root: &Path, id: &IssuerId, subject: &Name) -> PathBuf {
    root.join(CERTIFICATES).join(issuer(id)).join(name(subject))
}

/// The file of an open order.
pub(super) fn order(root: &Path, id: &IssuerId, subject: &Name) -> PathBuf {
    root.join(ORDERS)
        .join(issuer(id))
        .join(format!("{}.json", name(subject)))
}

/// The folder of the accounts at every authority.
pub(super) fn accounts(root: &Path) -> PathBuf {
    root.join("acme")
}

/// The folder of an account, and the name of its files without extension.
pub(super) fn account(root: &Path, id: &IssuerId, email: Option<&str>) -> (PathBuf, String) {
    let folder = accounts(root).join(issuer(id)).join("users");
    let (user, file) = match email {
        None => ("default".to_owned(), "default".to_owned()),
        Some(email) => (safe(email), safe(email.split('@').next().unwrap_or(email))),
    };
    (folder.join(user), file)
}

/// The folder of an authority of our own.
pub(super) fn authority(root: &Path, id: AuthorityId) -> PathBuf {
    root.join("pki").join("authorities").join(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_caddy() {
        let acme = |url: &str| issuer(&IssuerId::Acme(url.to_owned()));
        assert_eq!(
            acme("https://acme-v02.api.letsencrypt.org/directory"),
            "acme-v02.api.letsencrypt.org-directory"
        );
        assert_eq!(acme("https://127.0.0.1:14000/dir"), "127.0.0.1-14000-dir");
        assert_eq!(issuer(&IssuerId::Internal), "local");
        let file = |text: &str| name(&Name::parse(text).unwrap());
        assert_eq!(file("*.school.org"), "wildcard_.school.org");
        assert_eq!(file("::1"), "--1");
        let user = |email: Option<&str>| {
            let (folder, file) = account(Path::new("/d"), &IssuerId::Internal, email);
            (folder.to_str().unwrap().to_owned(), file)
        };
        assert_eq!(
            user(Some("Me+x@school.org")),
            (
                "/d/acme/local/users/me_plus_x@school.org".to_owned(),
                "me_plus_x".to_owned()
            )
        );
        assert_eq!(
            user(None),
            (
                "/d/acme/local/users/default".to_owned(),
                "default".to_owned()
            )
        );
    }
}
