//! What an operator can do about an authority's problem, in words.

use std::fmt::Display;

use crate::challenge::ChallengeType;
use crate::record::Step;

/// The namespace of ACME's problem types (RFC 8555 section 6.7).
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// A hint for a problem of `kind`, with or without its namespace, that `step` ended with for `name`,
/// or whatever else was asked for; empty when there is nothing to say beyond the problem's own text.
pub fn for_problem(kind: &str, step: Step, name: &(impl Display + ?Sized)) -> String {
    match kind.strip_prefix(NAMESPACE).unwrap_or(kind) {
        "unauthorized" if step == Step::Revocation => "the certificate was issued to another \
             account, which alone can have it revoked"
            .to_owned(),
        "unauthorized" if step != Step::Challenge => "the authority refuses the account: was it \
             deactivated there? Another email makes another account"
            .to_owned(),
        "dns" | "unauthorized" | "incorrectResponse" => reach(name),
        "connection" | "tls" => format!(
            "{}; a firewall or router in between must let port 80 through",
            reach(name)
        ),
        "rateLimited" => "the authority limits how often it may be asked; nothing is wrong with \
             this server now, and the next attempt waits as long as the authority asks for. \
             Certificates must survive a restart: is the data folder (--data) on a volume?"
            .to_owned(),
        "caa" => format!(
            "a CAA record of {name} or of a domain above it does not allow this authority: add it \
             there, or choose another authority (acme_ca)"
        ),
        "rejectedIdentifier" => format!(
            "this authority does not certify {name}: use a name in a public domain of your own, \
             or the internal authority (tls internal)"
        ),
        "externalAccountRequired" => "this authority wants accounts that are bound to a customer \
             account: give the key id and the MAC key that it shows there by acme_eab"
            .to_owned(),
        "invalidProfile" => {
            "the authority has no such profile: correct `profile` or leave it out".to_owned()
        }
        "alreadyRevoked" => "there is nothing left to revoke".to_owned(),
        "badNonce" => {
            "the authority takes none of its own nonces: it has trouble, or something in \
             between answers from a cache; the next attempt follows by itself"
                .to_owned()
        }
        "invalidContact" | "unsupportedContact" => {
            "the authority refuses the contact address: correct the email in the Caddyfile or \
             --email"
                .to_owned()
        }
        "userActionRequired" => "the authority wants something of you first: see the link in its \
             message"
            .to_owned(),
        "serverInternal" => "the authority has trouble of its own: nothing to do here, the next \
             attempt follows by itself"
            .to_owned(),
        "badCSR" | "badPublicKey" => {
            "the authority refuses this kind of key: choose another key_type".to_owned()
        }
        _ => String::new(),
    }
}

/// A hint for a problem of `kind` that the authority has with one kind of challenge; `None` where
/// [`for_problem`] says it as well.
pub fn for_challenge(kind: &str, challenge: ChallengeType, name: impl Display) -> Option<String> {
    let kind = kind.strip_prefix(NAMESPACE).unwrap_or(kind);
    match (challenge, kind) {
        (
            ChallengeType::TlsAlpn,
            "dns" | "unauthorized" | "incorrectResponse" | "connection" | "tls",
        ) => Some(format!(
            "check that the DNS A/AAAA record of {name} points to this server and that port \
                 443 reaches the proxy itself: what ends TLS in front of it cannot answer the \
                 challenge tls-alpn-01"
        )),
        (ChallengeType::Dns, "dns" | "unauthorized" | "incorrectResponse") => Some(
            "the authority did not see the TXT record that was written: do all name servers of \
             the zone answer alike, and is it the right zone? A slow provider may need \
             `propagation_delay`"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The hint for an authority whose answers are none that ACME knows.
pub fn for_answer(directory_url: &str) -> String {
    format!(
        "is {directory_url} the directory of an ACME authority, and is there something in between \
         (a proxy, a login page) that answers in its place?"
    )
}

/// The hint for an authority that cannot be talked to at all.
pub fn for_connection(directory_url: &str) -> String {
    format!(
        "is {directory_url} right, and can this container reach it (DNS, firewall, proxy)? A \
         private authority's root goes into --acme-root or acme_ca_root"
    )
}

fn reach(name: &(impl Display + ?Sized)) -> String {
    format!(
        "check that the DNS A/AAAA record of {name} points to this server and that port 80 \
         reaches the proxy"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn hints_name_what_to_look_at() {
        let name = Name::parse("quiz.school.org").unwrap();
        let at = |step, kind: &str| for_problem(&format!("{NAMESPACE}{kind}"), step, &name);
        let hint = |kind: &str| at(Step::Challenge, kind);
        assert_eq!(
            hint("unauthorized"),
            "check that the DNS A/AAAA record of quiz.school.org points to this server and that \
             port 80 reaches the proxy"
        );
        assert!(hint("connection").contains("firewall"));
        assert!(hint("caa").contains("CAA record of quiz.school.org"));
        assert!(hint("rateLimited").contains("--data"));
        assert_eq!(hint("malformed"), "");
        assert!(at(Step::Order, "unauthorized").contains("account"));
    }
}
