//! PEM text (RFC 7468) of what is kept as DER.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

/// Characters of base64 in a line (RFC 7468 section 2).
const LINE: usize = 64;

/// One PEM block.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Reserved in full, so that no copy of a secret is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(
        body.len() + body.len() / LINE + 2 * label.len() + 40,
    ));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The content of the first block with `label`.
///
/// # Errors
/// When there is none, or it is malformed.
pub(crate) fn decode(label: &str, text: &str) -> Result<Vec<u8>, String> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let body = text
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end))
        .map(|(body, _)| body)
        .ok_or_else(|| format!("no {label} in PEM text"))?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map_err(|error| error.to_string())
}

/// Certificates, one block after the other.
pub(crate) fn encode_certificates(chain: &[CertificateDer<'_>]) -> String {
    chain
        .iter()
        .map(|certificate| encode("CERTIFICATE", certificate).to_string())
        .collect()
}

/// Every certificate in `text`.
///
/// # Errors
/// When a block is malformed, or there is none.
pub(crate) fn decode_certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("no certificate in PEM text".to_owned());
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_survive_a_round_trip() {
        let chain: Vec<_> = [0_usize, 1, 47, 48, 49, 500]
            .map(|length| CertificateDer::from(vec![7_u8; length + 1]))
            .into();
        let text = encode_certificates(&chain);
        assert!(text.lines().all(|line| line.len() <= LINE));
        assert_eq!(decode_certificates(&text).unwrap(), chain);
    }
}
