//! Who signs certificates, and how ACME orders are made.

use super::dns::parse_dns_option;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{duration, integer, one_value};
use crate::document::{
    AcmeIssuer, Challenges, ExternalAccount, InternalIssuer, Issuer, PortChallenge,
    PreferredChains, ZeroSslIssuer,
};
use crate::token::Token;

/// Reads an issuer from its name on. What the proxy cannot use of it is said in `diagnostics`.
///
/// # Errors
///
/// There is no such issuer, or it has wrong options.
pub(crate) fn parse_issuer(
    cursor: &mut Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Issuer, Diagnostic> {
    cursor.next_token();
    match cursor.value() {
        "acme" => parse_acme(cursor, diagnostics).map(|acme| Issuer::Acme(Box::new(acme))),
        "internal" => parse_internal(cursor).map(Issuer::Internal),
        "zerossl" => parse_zerossl(cursor, diagnostics).map(Issuer::ZeroSsl),
        name => {
            let diagnostic = cursor.error_here(format!("unknown certificate issuer `{name}`"));
            Err(diagnostic.with_suggestion(name, ["acme", "internal", "zerossl"]))
        }
    }
}

/// Reads an option that `tls` and `issuer acme` share; `false` if it is none.
pub(super) fn parse_acme_option(
    token: &Token,
    cursor: &mut Cursor<'_>,
    acme: &mut Option<AcmeIssuer>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<bool, Diagnostic> {
    match token.text.as_str() {
        "ca" => acme.get_or_insert_default().ca = one_value(cursor)?,
        "ca_root" => {
            let file = one_value(cursor)?;
            acme.get_or_insert_default()
                .trusted_roots_pem_files
                .push(file);
        }
        "eab" => {
            let [key_id, mac_key] = cursor.expect_args()?;
            acme.get_or_insert_default().external_account = Some(ExternalAccount {
                key_id: key_id.text.clone(),
                mac_key: mac_key.text.clone(),
            });
        }
        "dns"
        | "resolvers"
        | "propagation_delay"
        | "propagation_timeout"
        | "dns_ttl"
        | "dns_challenge_override_domain" => {
            let acme = acme.get_or_insert_default();
            let dns = acme
                .challenges
                .get_or_insert_default()
                .dns
                .get_or_insert_default();
            parse_dns_option(token, cursor, dns, diagnostics)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_acme(
    cursor: &mut Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<AcmeIssuer, Diagnostic> {
    let mut acme = AcmeIssuer::default();
    if let Some(directory) = cursor.next_arg() {
        acme.ca = directory.text.clone();
        cursor.expect_end_of_args()?;
    }
    let mut options = Some(acme);
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let name = token.text.as_str();
        // These two are named otherwise in an issuer's block.
        if !matches!(name, "ca" | "ca_root")
            && parse_acme_option(token, cursor, &mut options, diagnostics)?
        {
            continue;
        }
        let acme = options.get_or_insert_default();
        let challenges = &mut acme.challenges;
        match name {
            "lifetime" => acme.certificate_lifetime = duration(cursor)?,
            "dir" => {
                if !acme.ca.is_empty() {
                    let message = format!("directory is already specified: {}", acme.ca);
                    return Err(cursor.error_here(message));
                }
                acme.ca = one_value(cursor)?;
            }
            "test_dir" => acme.test_ca = one_value(cursor)?,
            "email" => acme.email = one_value(cursor)?,
            "profile" => acme.profile = one_value(cursor)?,
            "timeout" => acme.acme_timeout = duration(cursor)?,
            "disable_http_challenge" => {
                cursor.expect_end_of_args()?;
                http_challenge(challenges).disabled = true;
            }
            "disable_tlsalpn_challenge" => {
                cursor.expect_end_of_args()?;
                tls_alpn_challenge(challenges).disabled = true;
            }
            "distributed" => {
                let value = one_value(cursor)?;
                if value != "false" {
                    let message = "only `false` is accepted as an argument";
                    return Err(cursor.error_here(message));
                }
                challenges.get_or_insert_default().distributed = Some(false);
            }
            "alt_http_port" => http_challenge(challenges).alternate_port = port(cursor)?,
            "alt_tlsalpn_port" => tls_alpn_challenge(challenges).alternate_port = port(cursor)?,
            "trusted_roots" => acme.trusted_roots_pem_files = cursor.remaining_values(),
            "preferred_chains" => acme.preferred_chains = Some(parse_preferred_chains(cursor)?),
            _ => {
                let known = [
                    "alt_http_port",
                    "alt_tlsalpn_port",
                    "dir",
                    "disable_http_challenge",
                    "disable_tlsalpn_challenge",
                    "dns",
                    "dns_challenge_override_domain",
                    "dns_ttl",
                    "eab",
                    "email",
                    "lifetime",
                    "preferred_chains",
                    "profile",
                    "propagation_delay",
                    "propagation_timeout",
                    "resolvers",
                    "test_dir",
                    "timeout",
                    "trusted_roots",
                ];
                return Err(cursor.unknown_subdirective("issuer acme", known));
            }
        }
    }
    Ok(options.unwrap_or_default())
}

fn http_challenge(challenges: &mut Option<Challenges>) -> &mut PortChallenge {
    challenges
        .get_or_insert_default()
        .http
        .get_or_insert_default()
}

fn tls_alpn_challenge(challenges: &mut Option<Challenges>) -> &mut PortChallenge {
    challenges
        .get_or_insert_default()
        .tls_alpn
        .get_or_insert_default()
}

fn port(cursor: &mut Cursor<'_>) -> Result<u16, Diagnostic> {
    let number = integer(cursor)?;
    u16::try_from(number).map_err(|_| cursor.error_here(format!("invalid port {number}")))
}

/// Reads what follows `preferred_chains`.
///
/// # Errors
///
/// There are no options, or they exclude each other.
pub(crate) fn parse_preferred_chains(
    cursor: &mut Cursor<'_>,
) -> Result<PreferredChains, Diagnostic> {
    let mut chains = PreferredChains::default();
    if let Some(word) = cursor.next_arg() {
        if word.text != "smallest" {
            let message = format!("invalid argument `{}`", word.text);
            return Err(Diagnostic::error_at(word, message).with_help("did you mean `smallest`?"));
        }
        chains.smallest = Some(true);
        cursor.expect_end_of_args()?;
        cursor.expect_no_block()?;
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        let names = match token.text.as_str() {
            "root_common_name" if chains.any_common_name.is_empty() => &mut chains.root_common_name,
            "any_common_name" if chains.root_common_name.is_empty() => &mut chains.any_common_name,
            "root_common_name" | "any_common_name" => {
                let message = "root_common_name and any_common_name exclude each other";
                return Err(cursor.error_here(message));
            }
            _ => {
                let known = ["any_common_name", "root_common_name"];
                return Err(cursor.unknown_subdirective("preferred_chains", known));
            }
        };
        *names = cursor.remaining_values();
        if names.is_empty() {
            return Err(cursor.argument_error());
        }
    }
    if chains == PreferredChains::default() {
        return Err(cursor.error_here("no options for preferred_chains received"));
    }
    Ok(chains)
}

fn parse_internal(cursor: &mut Cursor<'_>) -> Result<InternalIssuer, Diagnostic> {
    cursor.expect_end_of_args()?;
    let mut internal = InternalIssuer::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "ca" => internal.ca = one_value(cursor)?,
            "lifetime" => internal.lifetime = duration(cursor)?,
            "sign_with_root" => {
                cursor.expect_end_of_args()?;
                internal.sign_with_root = true;
            }
            _ => {
                let known = ["ca", "lifetime", "sign_with_root"];
                return Err(cursor.unknown_subdirective("issuer internal", known));
            }
        }
    }
    Ok(internal)
}

fn parse_zerossl(
    cursor: &mut Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<ZeroSslIssuer, Diagnostic> {
    let mut zerossl = ZeroSslIssuer {
        api_key: one_value(cursor)?,
        ..ZeroSslIssuer::default()
    };
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "validity_days" => zerossl.validity_days = integer(cursor)?,
            "listen_host" => zerossl.listen_host = one_value(cursor)?,
            "alt_http_port" => zerossl.alternate_port = integer(cursor)?,
            "dns" | "propagation_delay" | "propagation_timeout" | "resolvers" | "dns_ttl" => {
                parse_dns_option(
                    token,
                    cursor,
                    zerossl.cname_validation.get_or_insert_default(),
                    diagnostics,
                )?;
            }
            _ => {
                let known = [
                    "alt_http_port",
                    "dns",
                    "dns_ttl",
                    "listen_host",
                    "propagation_delay",
                    "propagation_timeout",
                    "resolvers",
                    "validity_days",
                ];
                return Err(cursor.unknown_subdirective("issuer zerossl", known));
            }
        }
    }
    Ok(zerossl)
}
