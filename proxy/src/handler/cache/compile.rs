//! Reading the document.

use caddyfile::document::{self, Duration};

use super::Cache;
use crate::compile::Scope;
use crate::http_cache::{Policy, Store};

/// Bytes of all that is kept, and of the largest body, where the document does not say.
const MAX_SIZE: u64 = 64 << 20;
const MAX_BODY: u64 = 1 << 20;

impl Cache {
    pub(in crate::handler) fn compile(document: &document::Cache, scope: &mut Scope) -> Self {
        let max_size = size(".max_size", document.max_size, MAX_SIZE, scope);
        let max_body = match document.max_body {
            // A small cache is not to be refused for the default of what is not written.
            0 => MAX_BODY.min(max_size / 4),
            bytes => size(".max_body", bytes, MAX_BODY, scope),
        };
        if max_body > max_size / 4 {
            scope.within(".max_body", |scope| {
                scope.error_with_hint(
                    "a body may have a quarter of `max_size` at most",
                    "raise `max_size`, or lower `max_body`",
                );
            });
        }
        let policy = Policy {
            max_size,
            max_body,
            stale_while_revalidate: seconds(
                ".stale_while_revalidate",
                document.stale_while_revalidate,
                scope,
            ),
            stale_if_error: seconds(".stale_if_error", document.stale_if_error, scope),
            default_ttl: seconds(".default_ttl", document.default_ttl, scope),
        };
        Self {
            store: Store::shared(scope.owner(), &policy),
            policy,
        }
    }
}

fn size(name: &str, bytes: i64, default: u64, scope: &mut Scope) -> u64 {
    match u64::try_from(bytes) {
        Ok(0) => default,
        Ok(bytes) => bytes,
        Err(_) => {
            scope.within(name, |scope| scope.error(format!("`{bytes}` is no size")));
            default
        }
    }
}

/// The cache reckons in whole seconds, as HTTP does.
fn seconds(name: &str, duration: Duration, scope: &mut Scope) -> std::time::Duration {
    let nanoseconds = duration.as_nanoseconds();
    if nanoseconds < 0 || nanoseconds % 1_000_000_000 != 0 {
        scope.within(name, |scope| {
            scope.error_with_hint(
                "this is no whole number of seconds",
                "write for example `10s` or `5m`",
            );
        });
    }
    duration.to_std()
}
