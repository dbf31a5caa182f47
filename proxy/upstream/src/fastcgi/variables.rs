//! What a script is told of its request: CGI's variables (RFC 3875 section 4.1).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::{BufMut as _, BytesMut};

/// Variables by name, each once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables<'a> {
    values: BTreeMap<Cow<'a, str>, Cow<'a, [u8]>>,
}

impl<'a> Variables<'a> {
    /// Sets `name`, whatever it was before.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.values.insert(name.into(), value.into());
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(|value| &**value)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(|name| &**name)
    }

    /// As they are sent: lengths before names and values (FastCGI 1.0 section 3.4).
    pub(super) fn encode(&self) -> BytesMut {
        let pairs = self.values.iter();
        let length: usize = pairs
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        let mut encoded = BytesMut::with_capacity(length);
        for (name, value) in &self.values {
            put_length(name.len(), &mut encoded);
            put_length(value.len(), &mut encoded);
            encoded.put_slice(name.as_bytes());
            encoded.put_slice(value);
        }
        encoded
    }
}

/// Values may be what clients keep secret, such as cookies.
impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// One byte up to 127, else four with the topmost bit set.
fn put_length(length: usize, into: &mut BytesMut) {
    match u8::try_from(length) {
        Ok(length @ ..=0x7f) => into.put_u8(length),
        // Heads of requests are far shorter than 2 GiB.
        _ => into.put_u32(u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_one_byte_or_four() {
        let mut variables = Variables::default();
        variables.set("A", &b"1"[..]);
        variables.set("B", vec![b'x'; 200]);
        let encoded = variables.encode();
        assert_eq!(encoded[..4], [1, 1, b'A', b'1']);
        assert_eq!(encoded[4..10], [1, 0x80, 0, 0, 200, b'B']);
        assert_eq!(encoded.len(), 10 + 200);
    }

    #[test]
    fn the_last_value_holds() {
        let mut variables = Variables::default();
        variables.set("A", &b"1"[..]);
        variables.set("A".to_owned(), b"2".to_vec());
        assert_eq!(variables.get("A"), Some(&b"2"[..]));
        assert_eq!(variables.encode()[..], [1, 1, b'A', b'2']);
    }

    #[test]
    fn values_are_not_shown() {
        let mut variables = Variables::default();
        variables.set("HTTP_COOKIE", &b"session=1"[..]);
        assert_eq!(format!("{variables:?}"), "{\"HTTP_COOKIE\"}");
    }
}
