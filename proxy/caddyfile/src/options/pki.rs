//! `pki`: certificate authorities of Caddy's own.

use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::directive::{duration, one_value, ratio};
use crate::document::{CertificateAuthority, KeyPairFiles};

/// ```text
/// pki {
///     ca [<id>] {
///         name                  <name>
///         root_cn               <name>
///         intermediate_cn       <name>
///         intermediate_lifetime <duration>
///         maintenance_interval  <duration>
///         renewal_window_ratio  <ratio>
///         root|intermediate {
///             cert   <path>
///             key    <path>
///             format <format>
///         }
///     }
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    authorities: &mut BTreeMap<String, CertificateAuthority>,
) -> Result<(), Diagnostic> {
    cursor.expect_end_of_args()?;
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        if token.text != "ca" {
            return Err(cursor.unknown_subdirective("pki", ["ca"]));
        }
        let id = cursor.next_arg().map_or("local", |id| id.text.as_str());
        cursor.expect_end_of_args()?;
        authorities.insert(id.to_owned(), parse_authority(cursor)?);
    }
    Ok(())
}

fn parse_authority(cursor: &mut Cursor<'_>) -> Result<CertificateAuthority, Diagnostic> {
    let mut authority = CertificateAuthority::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "name" => authority.name = one_value(cursor)?,
            "root_cn" => authority.root_common_name = one_value(cursor)?,
            "intermediate_cn" => authority.intermediate_common_name = one_value(cursor)?,
            "intermediate_lifetime" => authority.intermediate_lifetime = duration(cursor)?,
            "maintenance_interval" => authority.maintenance_interval = duration(cursor)?,
            "renewal_window_ratio" => authority.renewal_window_ratio = ratio(cursor)?,
            "root" => authority.root = Some(parse_files(cursor)?),
            "intermediate" => authority.intermediate = Some(parse_files(cursor)?),
            _ => {
                let known = [
                    "intermediate",
                    "intermediate_cn",
                    "intermediate_lifetime",
                    "maintenance_interval",
                    "name",
                    "renewal_window_ratio",
                    "root",
                    "root_cn",
                ];
                return Err(cursor.unknown_subdirective("ca", known));
            }
        }
    }
    Ok(authority)
}

fn parse_files(cursor: &mut Cursor<'_>) -> Result<KeyPairFiles, Diagnostic> {
    let mut files = KeyPairFiles::default();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "cert" => files.certificate = one_value(cursor)?,
            "key" => files.private_key = one_value(cursor)?,
            "format" => files.format = one_value(cursor)?,
            _ => return Err(cursor.unknown_subdirective("root", ["cert", "format", "key"])),
        }
    }
    Ok(files)
}
