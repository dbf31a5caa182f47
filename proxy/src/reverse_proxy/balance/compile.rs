//! Caddy's `selection_policy` to a [`Policy`].

use std::sync::atomic::AtomicUsize;

use caddyfile::document::SelectionPolicy;

use super::{Cookie, Policy};
use crate::compile::Scope;

pub(super) fn policy(
    document: Option<&SelectionPolicy>,
    dials: &[&str],
    scope: &mut Scope,
) -> Policy {
    let Some(document) = document else {
        return Policy::Random;
    };
    match document {
        SelectionPolicy::ClientIpHash(_) => Policy::ClientIpHash,
        SelectionPolicy::Cookie(document) => {
            let fallback = policy(document.fallback.as_deref(), dials, scope);
            Policy::Cookie(Box::new(Cookie::compile(document, dials, fallback, scope)))
        }
        SelectionPolicy::First(_) => Policy::First,
        SelectionPolicy::Header(document) => {
            let fallback = policy(document.fallback.as_deref(), dials, scope);
            match scope.header_name(&document.field) {
                Some(name) => Policy::Header(name, Box::new(fallback)),
                None => Policy::Random,
            }
        }
        SelectionPolicy::IpHash(_) => Policy::IpHash,
        SelectionPolicy::LeastConn(_) => Policy::LeastConnections,
        SelectionPolicy::Query(document) => {
            let fallback = policy(document.fallback.as_deref(), dials, scope);
            Policy::Query(document.key.as_str().into(), Box::new(fallback))
        }
        SelectionPolicy::Random(_) => Policy::Random,
        SelectionPolicy::RandomChoose(document) => match usize::try_from(document.choose) {
            Ok(0) => Policy::RandomChoose(2),
            Ok(count @ 2..) => Policy::RandomChoose(count),
            _ => {
                scope.error("`choose` must be at least 2");
                Policy::Random
            }
        },
        SelectionPolicy::RoundRobin(_) => Policy::RoundRobin(AtomicUsize::new(0)),
        SelectionPolicy::UriHash(_) => Policy::UriHash,
        SelectionPolicy::WeightedRoundRobin(document) => {
            let mut weights: Vec<usize> = Vec::new();
            for weight in &document.weights {
                match usize::try_from(*weight) {
                    Ok(weight) => weights.push(weight),
                    Err(_) => scope.error(format!("the weight {weight} is negative")),
                }
            }
            // Upstreams that are found later are as many as they are.
            if !dials.is_empty() {
                weights.resize(dials.len(), 1);
            }
            if weights.iter().all(|weight| *weight == 0) {
                scope.error("all weights are 0, so no upstream would ever be chosen");
            }
            Policy::WeightedRoundRobin(weights.into(), AtomicUsize::new(0))
        }
        SelectionPolicy::Other(_) => {
            scope.error_with_hint(
                format!("the policy `{}` is not supported", document.module()),
                "use one of Caddy's own, such as `random` or `least_conn`",
            );
            Policy::Random
        }
    }
}
