//! Merging of TLS connection policies.
//! Caddy: `consolidateConnPolicies` in `httpcaddyfile/httptype.go`.

use indexmap::IndexMap;
use indexmap::map::Entry;

use crate::diagnostic::Diagnostic;
use crate::document::{ConnectionPolicy, Origin};

/// Puts policies for all connections last and merges those for the same ones.
///
/// # Errors
///
/// Two policies for the same connections contradict each other; the later one is the place.
pub(super) fn consolidate(policies: &mut Vec<ConnectionPolicy>) -> Result<(), Diagnostic> {
    policies.sort_by_key(|policy| policy.r#match.is_none());
    let mut merged: IndexMap<String, ConnectionPolicy> = IndexMap::new();
    for policy in policies.drain(..) {
        // A matcher is plain data, which is always JSON.
        let key = serde_json::to_string(&policy.r#match).unwrap_or_default();
        match merged.entry(key) {
            Entry::Occupied(mut own) => {
                let (first, later) = (own.get().written.0, policy.written.0);
                merge(own.get_mut(), policy).map_err(|what| conflict(what, first, later))?;
            }
            Entry::Vacant(place) => {
                place.insert(policy);
            }
        }
    }
    policies.extend(merged.into_values());
    merge_neighbours(policies);
    Ok(())
}

fn conflict(what: &str, first: Option<Origin>, later: Option<Origin>) -> Diagnostic {
    let message = format!("two policies with same match criteria have conflicting {what}");
    let mut diagnostic = Diagnostic::error(message);
    if let Some(later) = later {
        diagnostic = diagnostic.at_origin(later);
    }
    match first {
        Some(first) => diagnostic.with_help(format!(
            "sites on the same port without a name, or with the same one, share a policy, and the \
             one in line {} says something else",
            first.span.line
        )),
        None => diagnostic,
    }
}

/// Merges the server names of neighbours that say the same.
fn merge_neighbours(policies: &mut Vec<ConnectionPolicy>) {
    policies.dedup_by(|later, policy| {
        if policy.r#match.is_none() || later.r#match.is_none() {
            return false;
        }
        let (mut own, mut more) = (take_names(policy), take_names(later));
        let is_same = policy == later;
        if is_same {
            own.append(&mut more);
        }
        give_names(policy, own);
        give_names(later, more);
        is_same
    });
}

fn take_names(policy: &mut ConnectionPolicy) -> Vec<String> {
    let matcher = policy.r#match.as_mut();
    matcher.map_or_else(Vec::new, |matcher| std::mem::take(&mut matcher.sni))
}

fn give_names(policy: &mut ConnectionPolicy, names: Vec<String>) {
    if let Some(matcher) = &mut policy.r#match {
        matcher.sni = names;
    }
}

/// Makes one of two policies; the error says in what they contradict each other.
fn merge(policy: &mut ConnectionPolicy, other: ConnectionPolicy) -> Result<(), &'static str> {
    if *policy == other {
        return Ok(());
    }
    merge_field(&mut policy.alpn, other.alpn, "ALPN")?;
    merge_field(
        &mut policy.cipher_suites,
        other.cipher_suites,
        "cipher suites",
    )?;
    merge_field(&mut policy.curves, other.curves, "curves")?;
    merge_field(&mut policy.default_sni, other.default_sni, "default SNI")?;
    merge_field(&mut policy.fallback_sni, other.fallback_sni, "fallback SNI")?;
    merge_field(&mut policy.protocol_min, other.protocol_min, "min protocol")?;
    merge_field(&mut policy.protocol_max, other.protocol_max, "max protocol")?;
    merge_field(
        &mut policy.client_authentication,
        other.client_authentication,
        "client auth configuration",
    )?;
    match (
        &mut policy.certificate_selection,
        other.certificate_selection,
    ) {
        (Some(selection), Some(more)) => {
            for label in more.any_tag {
                if !selection.any_tag.contains(&label) {
                    selection.any_tag.push(label);
                }
            }
        }
        (own @ None, more) => *own = more,
        (Some(_), None) => {}
    }
    Ok(())
}

fn merge_field<T: Default + PartialEq>(
    own: &mut T,
    other: T,
    what: &'static str,
) -> Result<(), &'static str> {
    if other == T::default() || *own == other {
        return Ok(());
    }
    if *own != T::default() {
        return Err(what);
    }
    *own = other;
    Ok(())
}
