//! Choice of a content coding by `Accept-Encoding` (RFC 9110 section 12.5.3).

use http::header::{self, HeaderMap};
use proto::file_request::Coding;

/// Quality values are fixed-point numbers of three digits.
const MAX_QUALITY: u16 = 1000;

/// The codings of `offered` that the client accepts, best first: by the client's quality values,
/// and where these are equal in the order of `offered`.
///
/// A coding that the client likes less than an `identity` it names is left out.
pub fn acceptable(headers: &HeaderMap, offered: &[Coding]) -> Vec<Coding> {
    if offered.is_empty() || !headers.contains_key(header::ACCEPT_ENCODING) {
        return Vec::new();
    }
    let mut qualities = [None; Coding::ALL.len()];
    let (mut any, mut identity) = (None, None);
    for item in items(headers) {
        let (name, quality) = parse(item);
        if name == "*" {
            any = Some(quality);
        } else if name.eq_ignore_ascii_case("identity") {
            identity = Some(quality);
        } else if let Some(coding) = Coding::ALL
            .iter()
            .position(|coding| name.eq_ignore_ascii_case(coding.as_str()))
        {
            qualities[coding] = Some(quality);
        }
    }
    let least = identity.unwrap_or(0).max(1);
    let mut accepted: Vec<(u16, Coding)> = offered
        .iter()
        .filter_map(|coding| {
            let at = Coding::ALL.iter().position(|other| other == coding)?;
            let quality = qualities[at].or(any)?;
            (quality >= least).then_some((quality, *coding))
        })
        .collect();
    accepted.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    accepted.into_iter().map(|(_, coding)| coding).collect()
}

fn items(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

fn parse(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .map_or(Some(MAX_QUALITY), quality);
    // Caddy: a quality that cannot be read counts as none given.
    (name, quality.unwrap_or(MAX_QUALITY))
}

fn quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some((whole * MAX_QUALITY + thousandths).min(MAX_QUALITY))
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_ENCODING, HeaderMap};
    use proto::file_request::Coding::{self, Br, Gzip, Zstd};

    use super::acceptable;

    fn accepted(value: &str, offered: &[Coding]) -> Vec<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
        acceptable(&headers, offered)
    }

    #[test]
    fn clients_order_wins_then_ours() {
        let all = [Br, Zstd, Gzip];
        let cases: &[(&str, &[Coding])] = &[
            ("gzip, deflate, br, zstd", &[Br, Zstd, Gzip]),
            ("gzip;q=1.0, br;q=0.5", &[Gzip, Br]),
            ("br;q=0, gzip", &[Gzip]),
            ("br;q=0.000, *", &[Zstd, Gzip]),
            ("*;q=0", &[]),
            ("*", &[Br, Zstd, Gzip]),
            ("*;q=0.1, gzip", &[Gzip, Br, Zstd]),
            ("identity, gzip;q=0.5", &[]),
            ("identity;q=0.5, gzip", &[Gzip]),
            ("GZIP ; Q=0.3", &[Gzip]),
            ("gzip;q=nonsense", &[Gzip]),
            ("gzip;q=0.001", &[Gzip]),
            ("", &[]),
            ("deflate", &[]),
        ];
        for (value, expected) in cases {
            assert_eq!(accepted(value, &all), *expected, "{value}");
        }
    }

    #[test]
    fn nothing_is_offered_or_asked() {
        assert!(acceptable(&HeaderMap::new(), &[Br]).is_empty());
        assert!(accepted("br", &[]).is_empty());
    }
}
