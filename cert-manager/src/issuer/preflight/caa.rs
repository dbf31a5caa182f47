//! CAA (RFC 8659): which authorities a domain lets certify its names.

use super::dns::{Dns, Lookup};
use crate::name::Name;

/// The identities by which public authorities know themselves in CAA records, by the domain of
/// their ACME directory. Authorities that are not here may be a company's own.
const AUTHORITIES: [(&str, &[&str]); 11] = [
    ("letsencrypt.org", &["letsencrypt.org"]),
    (
        "zerossl.com",
        &["sectigo.com", "comodoca.com", "zerossl.com"],
    ),
    ("pki.goog", &["pki.goog"]),
    ("ssl.com", &["ssl.com"]),
    ("buypass.com", &["buypass.com", "buypass.no"]),
    ("buypass.no", &["buypass.com", "buypass.no"]),
    (
        "sectigo.com",
        &[
            "sectigo.com",
            "comodoca.com",
            "comodo.com",
            "usertrust.com",
            "trust-provider.com",
        ],
    ),
    (
        "digicert.com",
        &[
            "digicert.com",
            "digicert.ne.jp",
            "symantec.com",
            "thawte.com",
        ],
    ),
    ("actalis.com", &["actalis.it"]),
    ("actalis.it", &["actalis.it"]),
    ("globalsign.com", &["globalsign.com"]),
];

/// One CAA record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caa {
    /// An authority that does not understand it must not issue.
    pub(crate) critical: bool,
    /// `issue`, `issuewild`, `iodef` or another, in lower case.
    pub(crate) tag: String,
    /// As it is written.
    pub(crate) value: String,
}

/// The records that count for a name: of the nearest domain that has any (RFC 8659 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relevant {
    /// No domain from the name upwards has any: every authority may.
    None,
    /// Those of `domain`.
    Of {
        /// The domain.
        domain: String,
        /// Its records.
        records: Vec<Caa>,
    },
    /// The records of `domain` cannot be looked up.
    Unknown {
        /// The domain.
        domain: String,
        /// Why, in words.
        reason: String,
    },
}

/// What records say of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may issue; under these conditions, if there are any.
    Allowed(Vec<String>),
    /// It must not, because of this.
    Forbidden(String),
}

/// The identities of the public authority with this ACME directory; `None` for others.
pub(super) fn identities(directory_url: &str) -> Option<&'static [&'static str]> {
    let host = super::host_of(directory_url);
    let is_of = |domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let mut found = AUTHORITIES.iter().filter(|(domain, _)| is_of(domain));
    found.next().map(|(_, identities)| *identities)
}

/// Looks up the records that count for `name`.
pub(super) async fn relevant(dns: &Dns, name: &Name) -> Relevant {
    if name.as_address().is_some() {
        return Relevant::None;
    }
    let text = name.as_str();
    let mut domain = text.strip_prefix("*.").unwrap_or(text);
    loop {
        match dns.caa(domain).await {
            Lookup::Found(records) => {
                let domain = domain.to_owned();
                return Relevant::Of { domain, records };
            }
            Lookup::NoRecord | Lookup::NoSuchName => {}
            Lookup::Failed(reason) => {
                let domain = domain.to_owned();
                return Relevant::Unknown { domain, reason };
            }
            Lookup::NoAnswer => {
                return Relevant::Unknown {
                    domain: domain.to_owned(),
                    reason: "no name server answers".to_owned(),
                };
            }
        }
        match domain.split_once('.') {
            Some((_, parent)) => domain = parent,
            None => return Relevant::None,
        }
    }
}

/// Whether `records` let an authority that is known by `identities` certify a name.
pub(super) fn evaluate(records: &[Caa], is_wildcard: bool, identities: &[&str]) -> Verdict {
    let is_known = |record: &Caa| {
        matches!(
            record.tag.as_str(),
            "issue"
                | "issuewild"
                | "iodef"
                | "issuemail"
                | "issuevmc"
                | "contactemail"
                | "contactphone"
        )
    };
    if let Some(unknown) = records.iter().find(|r| r.critical && !is_known(r)) {
        return Verdict::Forbidden(format!("the critical record `{}`", unknown.text()));
    }
    let with_tag = |tag: &str| records.iter().filter(|r| r.tag == tag).collect::<Vec<_>>();
    let mut counting = with_tag("issue");
    if is_wildcard {
        // Where there is one, it alone counts for wildcards (RFC 8659 section 4.3).
        let wild = with_tag("issuewild");
        if !wild.is_empty() {
            counting = wild;
        }
    }
    if counting.is_empty() {
        return Verdict::Allowed(Vec::new());
    }
    let ours = counting.iter().find(|record| {
        let issuer = record.issuer();
        identities
            .iter()
            .any(|identity| issuer.eq_ignore_ascii_case(identity))
    });
    match ours {
        Some(record) => Verdict::Allowed(record.conditions()),
        None => {
            let texts: Vec<_> = counting.iter().map(|r| format!("`{}`", r.text())).collect();
            Verdict::Forbidden(texts.join(", "))
        }
    }
}

impl Caa {
    /// The record as a zone file has it, without its flags.
    pub(crate) fn text(&self) -> String {
        format!("{} \"{}\"", self.tag, self.value)
    }

    /// The authority's identity in an `issue` or `issuewild` record; empty means nobody.
    fn issuer(&self) -> &str {
        let issuer = self.value.split(';').next().unwrap_or_default().trim();
        issuer.strip_suffix('.').unwrap_or(issuer)
    }

    /// What it restricts beyond the authority (RFC 8657).
    fn conditions(&self) -> Vec<String> {
        let parameters = self.value.split(';').skip(1);
        let is_restriction = |parameter: &&str| {
            let name = parameter.split('=').next().unwrap_or_default();
            let name = name.trim().to_ascii_lowercase();
            matches!(name.as_str(), "accounturi" | "validationmethods")
        };
        let conditions = parameters.filter(is_restriction);
        conditions.map(|text| text.trim().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LE: &[&str] = &["letsencrypt.org"];

    fn record(text: &str) -> Caa {
        let (tag, value) = text.split_once(' ').unwrap();
        Caa {
            critical: false,
            tag: tag.to_owned(),
            value: value.to_owned(),
        }
    }

    fn verdict(records: &[&str], is_wildcard: bool) -> Verdict {
        let records: Vec<_> = records.iter().map(|text| record(text)).collect();
        evaluate(&records, is_wildcard, LE)
    }

    #[test]
    fn records_allow_and_forbid_as_the_rfc_says() {
        let allowed = |records: &[&str], is_wildcard| {
            matches!(verdict(records, is_wildcard), Verdict::Allowed(_))
        };
        assert!(allowed(&["iodef mailto:me@school.org"], false));
        assert!(allowed(&["issue LetsEncrypt.org."], false));
        assert!(allowed(&["issue pki.goog", "issue letsencrypt.org"], true));
        assert!(!allowed(&["issue ;"], false));
        assert!(!allowed(&["issue pki.goog"], false));
        assert!(!allowed(&["issue notletsencrypt.org"], false));
        // `issuewild` counts for wildcards alone, and for them instead of `issue`.
        assert!(allowed(&["issuewild ;"], false));
        assert!(!allowed(&["issue letsencrypt.org", "issuewild ;"], true));
        assert!(allowed(&["issue ;", "issuewild letsencrypt.org"], true));
        assert!(!allowed(&["issue ;", "issuewild letsencrypt.org"], false));
    }

    #[test]
    fn conditions_are_told_and_unknown_critical_records_forbid() {
        let restricted = verdict(
            &["issue letsencrypt.org; accounturi=https://ca/1; x=y; validationmethods=dns-01"],
            false,
        );
        let conditions = ["accounturi=https://ca/1", "validationmethods=dns-01"];
        assert_eq!(
            restricted,
            Verdict::Allowed(conditions.map(str::to_owned).into())
        );
        let mut unknown = record("future thing");
        unknown.critical = true;
        assert!(matches!(
            evaluate(&[unknown], false, LE),
            Verdict::Forbidden(_)
        ));
        let Verdict::Forbidden(why) = verdict(&["issue pki.goog"], false) else {
            panic!("allowed");
        };
        assert_eq!(why, "`issue \"pki.goog\"`");
    }

    #[test]
    fn authorities_are_known_by_their_directory() {
        let staging = "https://acme-staging-v02.api.letsencrypt.org/directory";
        assert_eq!(identities(staging), Some(LE));
        assert!(
            identities(crate::policy::ZERO_SSL)
                .unwrap()
                .contains(&"sectigo.com")
        );
        assert_eq!(identities("https://notletsencrypt.org/dir"), None);
        assert_eq!(identities("https://ca.corp.internal/dir"), None);
    }
}
