//! Asks for credentials (Caddy: `authentication`; `basic_auth`).

mod password;
mod verified;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use caddyfile::document;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::password::PasswordHash;
use self::verified::Verified;
use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::Exchange;

/// The handler: HTTP basic authentication (RFC 7617).
#[derive(Debug)]
pub struct Authentication {
    accounts: Box<[(Box<str>, PasswordHash)]>,
    /// Compared with where there is no account, so that the answer takes as long.
    nobody: PasswordHash,
    challenge: HeaderValue,
    verified: Verified,
}

impl Authentication {
    pub(super) fn compile(document: &document::Authentication, scope: &mut Scope) -> Option<Self> {
        for name in document.providers.other.keys() {
            scope.error_with_hint(
                format!("the authentication provider `{name}` is not supported"),
                "use `http_basic` (`basic_auth`)",
            );
        }
        let basic = document.providers.http_basic.as_ref()?;
        let algorithm = basic
            .hash
            .as_ref()
            .map_or("", |hash| hash.algorithm.as_str());
        if !matches!(algorithm, "" | "bcrypt" | "argon2id") {
            scope.error_with_hint(
                format!("the password hash `{algorithm}` is not supported"),
                "use `bcrypt` or `argon2id`",
            );
        }
        let mut accounts = Vec::new();
        for (index, account) in basic.accounts.iter().enumerate() {
            scope.within(
                format_args!(".providers.http_basic.accounts[{index}]"),
                |scope| {
                    let name = scope.constant(&account.username);
                    let hash = scope.constant(&account.password);
                    match PasswordHash::parse(&hash) {
                        Some(hash) => accounts.push((name.into(), hash)),
                        None => scope.error_with_hint(
                            format!("the password of `{name}` is no bcrypt or argon2id hash"),
                            "make one with `caddy hash-password` or `htpasswd -nbB NAME PASSWORD`",
                        ),
                    }
                },
            );
        }
        let realm = if basic.realm.is_empty() {
            "restricted"
        } else {
            &basic.realm
        };
        let realm = realm.replace(['\\', '"'], "");
        let nobody = PasswordHash::of_nobody(accounts.iter().map(|(_, hash)| hash));
        Some(Self {
            accounts: accounts.into(),
            nobody,
            challenge: scope.header_value(&format!("Basic realm=\"{realm}\""))?,
            verified: Verified::default(),
        })
    }

    pub(super) async fn handle(&self, exchange: &mut Exchange) -> Result<(), Error> {
        if let Some((name, password)) = credentials(&exchange.head.headers)
            && self.accepts(&name, &password).await
        {
            exchange.set_replacement("http.auth.user.id", name.clone());
            exchange.rare_mut().user_id = Some(name);
            return Ok(());
        }
        exchange
            .response_headers_mut()
            .insert(WWW_AUTHENTICATE, self.challenge.clone());
        Err(Error::new(
            StatusCode::UNAUTHORIZED,
            Side::Downstream,
            "not authenticated",
        ))
    }

    async fn accepts(&self, name: &str, password: &str) -> bool {
        let account = self.accounts.iter().find(|(known, _)| **known == *name);
        let (hash, is_known) = match account {
            Some((_, hash)) => (hash, true),
            None => (&self.nobody, false),
        };
        self.verified.check(hash, name, password).await && is_known
    }
}

/// Name and password of a request.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let encoded = encoded.trim();
    let decoded = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
