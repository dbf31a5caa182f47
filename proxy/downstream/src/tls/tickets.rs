//! Session tickets (RFC 5077, RFC 8446 section 4.6.1) by keys that can be shared with other proxies,
//! so that a client resumes its session at any of them.
//!
//! A ticket is the name of its key, a nonce, and the session encrypted by AES-256-GCM.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// Length of a key's name, in octets.
pub const TICKET_KEY_NAME_LEN: usize = 16;
/// Length of a key's secret, in octets.
pub const TICKET_KEY_SECRET_LEN: usize = 32;

/// What clients are told of a ticket's lifetime, in seconds. A key must decrypt for this long after
/// the last ticket that it encrypted.
const LIFETIME: u32 = 24 * 3600;

/// Tells the key apart from what else might ever be derived from the secret.
const PURPOSE: &[u8] = b"portico session ticket aes-256-gcm";

/// A key of session tickets.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    name: [u8; TICKET_KEY_NAME_LEN],
    secret: Zeroizing<[u8; TICKET_KEY_SECRET_LEN]>,
}

/// Why a key cannot be made or used: the system gives no randomness, or no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptography library cannot make a key of session tickets")]
pub struct TicketKeyError;

impl TicketKey {
    /// The key that others call `name`.
    pub fn new(
        name: [u8; TICKET_KEY_NAME_LEN],
        secret: Zeroizing<[u8; TICKET_KEY_SECRET_LEN]>,
    ) -> Self {
        Self { name, secret }
    }

    /// A random key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, TicketKeyError> {
        let mut name = [0; TICKET_KEY_NAME_LEN];
        let mut secret = Zeroizing::new([0; TICKET_KEY_SECRET_LEN]);
        aws_lc_rs::rand::fill(&mut name)?;
        aws_lc_rs::rand::fill(&mut *secret)?;
        Ok(Self { name, secret })
    }

    /// What goes in front of each ticket.
    pub fn name(&self) -> &[u8; TICKET_KEY_NAME_LEN] {
        &self.name
    }

    /// The secret, to be kept and not to be shown.
    pub fn secret(&self) -> &[u8; TICKET_KEY_SECRET_LEN] {
        &self.secret
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

impl From<Unspecified> for TicketKeyError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// Makes and reads the session tickets of every worker and listener that it is given to. Its keys
/// can be replaced at any time; reading them takes no lock.
#[derive(Debug)]
pub struct SessionTickets {
    keys: ArcSwap<Vec<Sealer>>,
}

impl SessionTickets {
    /// Tickets by a random key of its own.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new() -> Result<Self, TicketKeyError> {
        let own = Sealer::new(&TicketKey::generate()?)?;
        Ok(Self {
            keys: ArcSwap::from_pointee(vec![own]),
        })
    }

    /// Replaces the keys: the first one encrypts, all of them decrypt, and the ones before are wiped
    /// as soon as no handshake uses them. Without a key no tickets are made.
    ///
    /// # Errors
    /// When a key cannot be used; then nothing has changed.
    pub fn set_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a TicketKey>,
    ) -> Result<(), TicketKeyError> {
        let sealers: Vec<Sealer> = keys
            .into_iter()
            .map(Sealer::new)
            .collect::<Result<_, _>>()?;
        self.keys.store(Arc::new(sealers));
        Ok(())
    }
}

impl ProducesTickets for SessionTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.load().first()?.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_at_checked(TICKET_KEY_NAME_LEN)?;
        let keys = self.keys.load();
        // Names are public: they are in every ticket.
        keys.iter().find(|key| key.name == name)?.open(sealed)
    }
}

/// A key, ready to use.
struct Sealer {
    name: [u8; TICKET_KEY_NAME_LEN],
    /// Nonces are random, which is safe for 2^32 tickets of one key (NIST SP 800-38D section 8.3):
    /// twelve hours of 99,000 tickets a second over all proxies.
    key: RandomizedNonceKey,
}

impl Sealer {
    fn new(key: &TicketKey) -> Result<Self, TicketKeyError> {
        let mut derived = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, &[])
            .extract(&*key.secret)
            .expand(&[PURPOSE], Length(derived.len()))?
            .fill(&mut *derived)?;
        Ok(Self {
            name: key.name,
            key: RandomizedNonceKey::new(&AES_256_GCM, &*derived)?,
        })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(&self.name), &mut sealed)
            .ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let len = self
            .key
            .open_in_place(nonce, Aad::from(&self.name), &mut plain)
            .ok()?
            .len();
        plain.truncate(len);
        Some(plain)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::ProducesTickets as _;

    use super::{SessionTickets, TicketKey};

    fn tickets(keys: &[&TicketKey]) -> SessionTickets {
        let tickets = SessionTickets::new().unwrap();
        tickets.set_keys(keys.iter().copied()).unwrap();
        tickets
    }

    #[test]
    fn ticket_is_read_by_whoever_has_its_key() {
        let [old, new, other] = [(); 3].map(|()| TicketKey::generate().unwrap());
        let ticket = tickets(&[&old]).encrypt(b"session").unwrap();
        assert_eq!(ticket[..16], *old.name());
        assert!(!ticket.windows(7).any(|window| window == b"session"));
        for keys in [&[&old][..], &[&new, &old]] {
            let plain = tickets(keys).decrypt(&ticket);
            assert_eq!(plain.as_deref(), Some(&b"session"[..]));
        }
        for keys in [&[&new][..], &[&other, &new], &[]] {
            assert_eq!(tickets(keys).decrypt(&ticket), None);
        }
        let renamed = TicketKey::new(*old.name(), other.secret);
        assert_eq!(tickets(&[&renamed]).decrypt(&ticket), None);
    }

    #[test]
    fn changed_or_cut_ticket_is_refused() {
        let tickets = SessionTickets::new().unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        for index in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "octet {index}");
            assert_eq!(tickets.decrypt(&ticket[..index]), None, "length {index}");
        }
    }

    #[test]
    fn first_key_encrypts_and_without_keys_nothing_does() {
        let [first, second] = [(); 2].map(|()| TicketKey::generate().unwrap());
        let both = tickets(&[&first, &second]);
        assert_eq!(both.encrypt(b"").unwrap()[..16], *first.name());
        assert_eq!(tickets(&[]).encrypt(b""), None);
    }

    #[test]
    fn secret_is_never_printed() {
        let key = TicketKey::new([7; 16], [9; 32].into());
        assert!(!format!("{key:?}").contains('9'));
    }
}
