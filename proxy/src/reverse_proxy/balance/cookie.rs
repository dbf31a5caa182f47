//! Sticky sessions by a cookie (Caddy: `lb_policy cookie`).

use std::borrow::Cow;
use std::fmt::Write as _;

use aws_lc_rs::hmac;
use caddyfile::document::CookieHash;
use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};

use super::{Candidates, Policy};
use crate::compile::Scope;
use crate::exchange::Exchange;

/// Sends a client to the upstream that it was sent to before.
#[derive(Debug)]
pub(crate) struct Cookie {
    name: Box<str>,
    /// The cookie's value for each upstream: what Caddy would set too, so that sessions survive a
    /// move from one to the other. Empty where upstreams are found only later.
    values: Box<[Box<str>]>,
    key: hmac::Key,
    max_age: Option<u64>,
    fallback: Policy,
}

impl Cookie {
    pub(super) fn compile(
        document: &CookieHash,
        dials: &[&str],
        fallback: Policy,
        scope: &mut Scope,
    ) -> Self {
        let name = match document.name.as_str() {
            "" => "lb",
            name => name,
        };
        if !name.bytes().all(is_token) {
            scope.error(format!("`{name}` is no name of a cookie"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, document.secret.as_bytes());
        let max_age = document.max_age.to_std().as_secs();
        Self {
            name: name.into(),
            values: dials.iter().map(|dial| digest(&key, dial)).collect(),
            key,
            max_age: (max_age > 0).then_some(max_age),
            fallback,
        }
    }

    pub(super) fn choose(
        &self,
        exchange: &mut Exchange,
        candidates: &Candidates<'_>,
    ) -> Option<usize> {
        if let Some(value) = self.sent(exchange) {
            let mut places = 0..candidates.upstreams.len();
            let known = places.find(|index| *self.value(*index, candidates) == *value);
            if let Some(index) = known.filter(|index| (candidates.available)(*index)) {
                return Some(index);
            }
        }
        let index = self.fallback.choose(exchange, candidates)?;
        let is_secure = exchange.is_tls()
            || (exchange.is_from_trusted_proxy
                && exchange
                    .head
                    .headers
                    .get("x-forwarded-proto")
                    .is_some_and(|proto| proto == "https"));
        if let Some(cookie) = self.set(&self.value(index, candidates), is_secure) {
            exchange.response_headers_mut().append(SET_COOKIE, cookie);
        }
        Some(index)
    }

    fn sent<'a>(&self, exchange: &'a Exchange) -> Option<&'a str> {
        let fields = exchange.head.headers.get_all(COOKIE).iter();
        fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == &*self.name)
            .map(|(_, value)| value.trim_matches('"'))
    }

    /// What the cookie of an upstream says.
    fn value(&self, index: usize, candidates: &Candidates<'_>) -> Cow<'_, str> {
        match self.values.get(index) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(digest(&self.key, &candidates.upstreams[index].dial).into_string()),
        }
    }

    fn set(&self, value: &str, is_secure: bool) -> Option<HeaderValue> {
        let mut cookie = format!("{}={value}; Path=/", self.name);
        // Writing to a string does not fail.
        if let Some(seconds) = self.max_age {
            let _ = write!(cookie, "; Max-Age={seconds}");
        }
        if is_secure {
            cookie.push_str("; Secure; SameSite=None");
        }
        HeaderValue::from_str(&cookie).ok()
    }
}

fn digest(key: &hmac::Key, text: &str) -> Box<str> {
    let tag = hmac::sign(key, text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in tag.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.into()
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_those_that_caddy_sets() {
        let document = CookieHash {
            secret: "s3cret".to_owned(),
            ..CookieHash::default()
        };
        let mut scope = Scope::default();
        let cookie = Cookie::compile(&document, &["web:8000"], Policy::Random, &mut scope);
        assert!(scope.into_errors().is_empty());
        // `printf web:8000 | openssl dgst -sha256 -hmac s3cret`
        assert_eq!(
            cookie.set(&cookie.values[0], false).unwrap(),
            "lb=510bb7c2fbc732462a2e7f116729b8201345de7d1587a57897d93f82811ce612; Path=/"
        );
        assert!(
            cookie
                .set(&cookie.values[0], true)
                .unwrap()
                .to_str()
                .unwrap()
                .ends_with("; Path=/; Secure; SameSite=None")
        );
    }
}
