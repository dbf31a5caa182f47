//! Spreads what many names do, the same for a name after each restart.

use sha2::{Digest as _, Sha256};

use crate::name::Name;

/// Where a name stands among all names, from 0 up to 1, with the certificate `serial`: as good as
/// chance over names and serial numbers, and the same each time.
pub fn fraction(name: &Name, serial: &str) -> f64 {
    let digest = Sha256::new()
        .chain_update(name.as_str())
        .chain_update([0])
        .chain_update(serial)
        .finalize();
    let mut bits = [0; 4];
    bits.copy_from_slice(&digest[..4]);
    f64::from(u32::from_be_bytes(bits)) / (f64::from(u32::MAX) + 1.0)
}
