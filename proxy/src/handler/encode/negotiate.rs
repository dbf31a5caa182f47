//! Which content coding a client gets (RFC 9110 section 12.5.3), as Caddy chooses.

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, SEC_WEBSOCKET_KEY};

use super::Coding;

/// The coding that the client likes best of those that are `offered`. Of codings that it likes
/// equally, the first in `prefer`; else the one it names first.
pub(super) fn preferred(
    headers: &HeaderMap,
    prefer: &[Coding],
    offered: impl Fn(Coding) -> bool,
) -> Option<Coding> {
    let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    // A WebSocket handshake has no body to compress.
    if headers.contains_key(SEC_WEBSOCKET_KEY) {
        return None;
    }
    let mut best: Option<(Coding, f32, usize)> = None;
    for item in accepted.split(',') {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let name = name.trim().to_ascii_lowercase();
        let Some(coding) = Coding::parse(&name).filter(|coding| offered(*coding)) else {
            continue;
        };
        let quality = quality(parameters);
        if quality < f32::EPSILON {
            continue;
        }
        let place = prefer
            .iter()
            .position(|known| *known == coding)
            .unwrap_or(prefer.len());
        let is_better = best.is_none_or(|(_, other, other_place)| {
            quality > other + f32::EPSILON
                || ((quality - other).abs() <= f32::EPSILON && place < other_place)
        });
        if is_better {
            best = Some((coding, quality, place));
        }
    }
    best.map(|(coding, ..)| coding)
}

fn quality(parameters: &str) -> f32 {
    let first = parameters
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let quality = first
        .strip_prefix("q=")
        .and_then(|quality| quality.parse().ok());
    quality
        .filter(|quality| (0.0..=1.0).contains(quality))
        .unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;
    use http::{HeaderMap, HeaderValue};

    use super::preferred;
    use crate::handler::encode::Coding::{self, Gzip, Zstd};

    #[test]
    fn client_is_asked_first_then_the_configuration() {
        for (accepted, prefer, expected) in [
            ("gzip, zstd", &[Zstd, Gzip][..], Some(Zstd)),
            ("gzip, zstd", &[], Some(Gzip)),
            ("gzip;q=1, zstd;q=0.5", &[Zstd, Gzip], Some(Gzip)),
            ("gzip;q=0", &[Gzip], None),
            ("GZIP ; q=0.1", &[Gzip], Some(Gzip)),
            ("br, deflate, *", &[Gzip], None),
            ("identity", &[Gzip], None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            let offered = |coding| coding != Coding::Br;
            assert_eq!(preferred(&headers, prefer, offered), expected, "{accepted}");
        }
    }
}
