//! Which names can have which certificates.
//! Caddy: certmagic's `SubjectQualifiesForCert` and its kin.

/// Whether a certificate can be had for the name at all.
pub(super) fn qualifies(name: &str) -> bool {
    let has_odd_character =
        name.contains(|character: char| "()[]{}<> \t\n\"\\!@#$%^&|;'+=".contains(character));
    !name.trim().is_empty()
        && !name.starts_with('.')
        && !name.ends_with('.')
        && (!name.contains('*') || name.starts_with("*.") || name == "*")
        && !has_odd_character
}

/// Whether a public CA signs for the name without more ado.
pub(super) fn is_public(name: &str, on_demand: bool) -> bool {
    !is_ip(name) && !is_internal(name) && (name.matches("*.").count() < 2 || on_demand)
}

/// Whether a public CA signs for the name: as [`is_public`], and at most one wildcard, in front of
/// two labels.
pub(super) fn is_public_certificate(name: &str) -> bool {
    let wildcard_fits = !name.contains('*')
        || (name.matches('*').count() == 1
            && name.matches('.').count() > 1
            && name.len() > 2
            && name.starts_with("*."));
    qualifies(name) && !is_internal(name) && !is_ip(name) && wildcard_fits
}

/// Whether Tailscale gives the certificate.
pub(super) fn is_tailscale(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".ts.net")
}

fn is_ip(name: &str) -> bool {
    name.trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>()
        .is_ok()
}

fn is_internal(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    name == "localhost"
        || [".localhost", ".local", ".internal", ".home.arpa"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
        || is_private_ip(name)
}

fn is_private_ip(name: &str) -> bool {
    match name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>()
    {
        Ok(std::net::IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Ok(std::net::IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => false,
    }
}

/// Whether `name` is `pattern` or fits its wildcard labels.
pub(in crate::lower) fn matches_wildcard(name: &str, pattern: &str) -> bool {
    if name.eq_ignore_ascii_case(pattern) {
        return true;
    }
    let wildcards = pattern.split('.').take_while(|label| *label == "*").count();
    // One label after the other may stand for a wildcard, as certmagic tries them.
    (0..wildcards).any(|index| {
        let mut labels = name.split('.').skip(index);
        let is_label = labels.next().is_some_and(|label| !label.is_empty());
        let mut patterns = pattern.split('.').skip(index + 1);
        is_label
            && labels.all(|label| {
                patterns
                    .next()
                    .is_some_and(|pattern| pattern.eq_ignore_ascii_case(label))
            })
            && patterns.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_in_front_may_be_wildcards() {
        for (name, pattern, expected) in [
            ("A.test", "a.TEST", true),
            ("a.test", "*.test", true),
            ("a.b.test", "*.test", false),
            ("a.b.test", "*.b.test", true),
            ("a.b.test", "*.*.test", true),
            ("*.b.test", "*.*.test", true),
            ("a.test", "*.*.test", false),
            ("a.test", "*.*", true),
            (".test", "*.test", false),
            ("test", "*", true),
            ("a.test", "*", false),
            ("a.b.test", "a.*.test", false),
            ("*.test", "a.test", false),
        ] {
            assert_eq!(
                matches_wildcard(name, pattern),
                expected,
                "{name} {pattern}"
            );
        }
    }
}
