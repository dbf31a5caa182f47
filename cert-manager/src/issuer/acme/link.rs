//! The `Link` field (RFC 8288), as far as chains and lists need it.

use http::HeaderMap;
use http::header::LINK;

/// The targets of a relation in an answer from `url`.
pub(super) fn targets(url: &str, headers: &HeaderMap, relation: &str) -> Vec<String> {
    let Ok(base) = reqwest::Url::parse(url) else {
        return Vec::new();
    };
    let fields = headers.get_all(LINK).into_iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(links)
        .filter(|(_, parameters)| has_relation(parameters, relation))
        .filter_map(|(target, _)| base.join(target).ok())
        .map(String::from)
        .collect()
}

/// The links of a field, each with the text of its parameters. Targets may hold commas, so the
/// field is not split at them.
fn links(field: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = field;
    while let Some((target, after)) = rest
        .split_once('<')
        .and_then(|(_, inside)| inside.split_once('>'))
    {
        let end = after.find('<').unwrap_or(after.len());
        found.push((target, &after[..end]));
        rest = &after[end..];
    }
    found
}

fn has_relation(parameters: &str, wanted: &str) -> bool {
    parameters
        .split([';', ','])
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel"))
        .flat_map(|(_, value)| value.trim().trim_matches('"').split_ascii_whitespace())
        .any(|relation| relation.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn relations_are_found_in_every_form_of_the_field() {
        let mut headers = HeaderMap::new();
        for field in [
            r#"<https://ca.test/dir>;rel="index""#,
            r#"<https://ca.test/cert/7/1>; rel="alternate", </cert/7/2>;title="a, b";rel=alternate"#,
            r#"<8?a=1,2>;rel="up Alternate""#,
        ] {
            headers.append(LINK, HeaderValue::from_static(field));
        }
        assert_eq!(
            targets("https://ca.test/cert/7", &headers, "alternate"),
            [
                "https://ca.test/cert/7/1",
                "https://ca.test/cert/7/2",
                "https://ca.test/cert/8?a=1,2"
            ]
        );
    }
}
