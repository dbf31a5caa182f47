//! Merging of automation policies.
//! Caddy: `consolidateAutomationPolicies` in `httpcaddyfile/tlsapp.go`.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::subject::{is_public, is_tailscale, matches_wildcard};
use crate::document::AutomationPolicy;
use crate::order::stable_sort;

/// Sorts policies from the most specific on, drops those that say nothing, merges equal ones.
pub(super) fn consolidate(policies: &mut Vec<AutomationPolicy>) {
    stable_sort(policies, |left, right| {
        if is_subset(left, right) {
            return true;
        }
        if is_subset(right, left) {
            return false;
        }
        left.subjects.len() > right.subjects.len()
    });
    // A policy that says nothing only matters if one behind it with other settings would apply to
    // its names otherwise. Caddy: a wildcard's certificate managers shall apply.
    if policies.iter().all(says_nothing) {
        policies.clear();
    }
    let mut index = 0;
    while index < policies.len() {
        if says_nothing(&policies[index]) && is_needless(index, policies) {
            policies.remove(index);
        } else {
            index += 1;
        }
    }
    merge(policies);
}

/// Whether a policy that says nothing has nothing else behind it for its names.
fn is_needless(index: usize, policies: &[AutomationPolicy]) -> bool {
    let (policy, later) = (&policies[index], &policies[index + 1..]);
    let shadow = later.iter().find(|later| is_subset(policy, later));
    later.is_empty()
        || shadow.is_some_and(|later| says_nothing(later) || !later.get_certificate.is_empty())
}

/// Merges policies with the same settings. Only those are ever compared, so that ten thousand sites
/// with settings of their own do not ask each for each.
fn merge(policies: &mut Vec<AutomationPolicy>) {
    let settings: Vec<String> = policies.iter().map(settings).collect();
    let mut alike: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, settings) in settings.iter().enumerate() {
        alike.entry(settings).or_default().push(index);
    }
    let mut slots: Vec<Option<AutomationPolicy>> = policies.drain(..).map(Some).collect();
    for (index, settings) in settings.iter().enumerate() {
        let Some(mut policy) = slots[index].take() else {
            continue;
        };
        let others = alike[&**settings].iter().copied();
        let later = others.skip_while(|other| *other <= index);
        if absorb(&mut policy, index, later, &mut slots) {
            slots[index] = Some(policy);
        }
    }
    policies.extend(slots.into_iter().flatten());
}

/// Takes the policies at `later`, which have the same settings as `policy` at `index`, into it
/// where that changes nothing; false if one of them makes `policy` itself needless.
fn absorb(
    policy: &mut AutomationPolicy,
    index: usize,
    later: impl Iterator<Item = usize>,
    slots: &mut [Option<AutomationPolicy>],
) -> bool {
    let is_public = has_public_names(policy);
    let mut names: HashSet<String> = policy.subjects.iter().cloned().collect();
    for at in later {
        let Some(other) = &slots[at] else { continue };
        if policy == other {
            slots[at] = None;
        } else if !policy.subjects.is_empty() && other.subjects.is_empty() {
            // The later one is for all names and does for these too, unless one between them
            // would apply first.
            let mut between = slots[index + 1..at].iter().flatten();
            if !between.any(|between| is_subset(policy, between)) {
                return false;
            }
        } else if policy.issuers.is_empty() && is_public != has_public_names(other) {
            // Their names have different issuers by default.
        } else if let Some(other) = slots[at].take() {
            let new = other.subjects.into_iter();
            policy
                .subjects
                .extend(new.filter(|name| names.insert(name.clone())));
        }
    }
    true
}

fn says_nothing(policy: &AutomationPolicy) -> bool {
    without_subjects(policy) == AutomationPolicy::default()
}

/// What policies have in common that may be one.
fn settings(policy: &AutomationPolicy) -> String {
    let settings = AutomationPolicy {
        disable_ocsp_stapling: false,
        ocsp_overrides: BTreeMap::new(),
        ..without_subjects(policy)
    };
    // A policy is plain data, which is always JSON.
    serde_json::to_string(&settings).unwrap_or_default()
}

fn without_subjects(policy: &AutomationPolicy) -> AutomationPolicy {
    AutomationPolicy {
        written: policy.written,
        subjects: Vec::new(),
        issuers: policy.issuers.clone(),
        get_certificate: policy.get_certificate.clone(),
        must_staple: policy.must_staple,
        renewal_window_ratio: policy.renewal_window_ratio,
        key_type: policy.key_type.clone(),
        storage: policy.storage.clone(),
        on_demand: policy.on_demand,
        disable_ocsp_stapling: policy.disable_ocsp_stapling,
        ocsp_overrides: policy.ocsp_overrides.clone(),
        reuse_private_keys: policy.reuse_private_keys,
    }
}

fn has_public_names(policy: &AutomationPolicy) -> bool {
    policy
        .subjects
        .iter()
        .all(|name| is_public(name, policy.on_demand) && !is_tailscale(name))
}

/// Whether every name of `left` is one of `right`, perhaps by a wildcard.
fn is_subset(left: &AutomationPolicy, right: &AutomationPolicy) -> bool {
    if right.subjects.is_empty() {
        return true;
    }
    !left.subjects.is_empty()
        && left.subjects.iter().all(|name| {
            right
                .subjects
                .iter()
                .any(|pattern| matches_wildcard(name, pattern))
        })
}
