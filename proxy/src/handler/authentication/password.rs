//! Password hashes in their text forms.

use std::fmt;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A password's hash. Not shown, since whoever has it can try passwords.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum PasswordHash {
    /// PHC string form, `$argon2id$...`.
    Argon2id(Arc<str>),
    /// Modular crypt form, `$2a$...`.
    Bcrypt(Arc<str>),
}

impl PasswordHash {
    /// Reads a hash, or the base64 of one as older documents have it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.starts_with('$') {
            return Self::parse_plain(text);
        }
        Self::parse_plain(std::str::from_utf8(&STANDARD.decode(text).ok()?).ok()?)
    }

    fn parse_plain(text: &str) -> Option<Self> {
        if text.starts_with("$argon2id$") {
            argon2::PasswordHash::new(text).ok()?;
            return Some(Self::Argon2id(text.into()));
        }
        let cost = text.strip_prefix("$2")?.get(2..4)?.parse::<u32>().ok()?;
        ((4..=31).contains(&cost) && text.len() == 60).then(|| Self::Bcrypt(text.into()))
    }

    /// A hash that no known password has, as expensive to compare with as the `others`.
    pub(super) fn of_nobody<'a>(others: impl Iterator<Item = &'a Self>) -> Self {
        let mut nobody = None;
        for hash in others {
            match hash {
                // The parameters in front of salt and digest are what makes it expensive.
                Self::Argon2id(text) => nobody = nobody.or_else(|| forget(text)),
                Self::Bcrypt(text) => {
                    let digest = "nKc4ikVEr1ZNwoQuJyDDDuV7j5sYRWTfWpEXnTLcD7h1tsEXmH5Fu";
                    return Self::Bcrypt(format!("{}{digest}", &text[..7]).into());
                }
            }
        }
        nobody.unwrap_or_else(|| {
            Self::Bcrypt("$2b$10$nKc4ikVEr1ZNwoQuJyDDDuV7j5sYRWTfWpEXnTLcD7h1tsEXmH5Fu".into())
        })
    }

    /// Whether the password has this hash. Takes up to a second of a core's time.
    pub(super) fn verify(&self, password: &str) -> bool {
        match self {
            Self::Argon2id(text) => argon2::PasswordHash::new(text).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            }),
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        }
    }

    /// The hash as text.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Argon2id(text) | Self::Bcrypt(text) => text,
        }
    }
}

/// The same parameters with another salt and digest.
fn forget(text: &str) -> Option<PasswordHash> {
    let mut parts: Vec<&str> = text.split('$').collect();
    let length = parts.pop()?.len();
    parts.pop()?;
    let digest = "A".repeat(length);
    let text = format!(
        "{}$bm9ib2R5bm9ib2R5bm9ib2R5$c{}",
        parts.join("$"),
        &digest[1..]
    );
    PasswordHash::parse_plain(&text)
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id(_) => "Argon2id(..)",
            Self::Bcrypt(_) => "Bcrypt(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::PasswordHash;

    #[test]
    fn bcrypt_is_verified() {
        let text = bcrypt::hash("secret", 4).unwrap();
        let hash = PasswordHash::parse(&text).unwrap();
        assert!(hash.verify("secret") && !hash.verify("Secret"));
        let nobody = PasswordHash::of_nobody([&hash].into_iter());
        assert!(nobody.as_str().starts_with("$2b$04$") && !nobody.verify("secret"));
        assert!(!format!("{hash:?}").contains("$2b"));
    }

    #[test]
    fn argon2id_is_verified() {
        let parameters = argon2::Params::new(64, 1, 1, None).unwrap();
        let argon2 = argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            parameters,
        );
        let text = argon2.hash_password(b"secret").unwrap().to_string();
        let hash = PasswordHash::parse(&text).unwrap();
        assert!(hash.verify("secret") && !hash.verify("other"));
        let nobody = PasswordHash::of_nobody([&hash].into_iter());
        assert!(nobody.as_str().contains("m=64,t=1,p=1") && !nobody.verify("secret"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["secret", "", "$1$abc$def", "$2y$99$x", "c2VjcmV0"] {
            assert!(PasswordHash::parse(text).is_none(), "{text}");
        }
    }
}
