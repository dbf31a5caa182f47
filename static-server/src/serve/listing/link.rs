//! Links of listings.

use percent_encoding::percent_encode;
use proto::file_request::PATH_ESCAPES;

/// The relative URL of an entry. It begins with `./`, so that a colon in the name makes no scheme
/// of what is before it.
pub(super) fn to(name: &[u8], is_directory: bool) -> String {
    let slash = if is_directory { "/" } else { "" };
    format!("./{}{slash}", percent_encode(name, PATH_ESCAPES))
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::to;

    #[test]
    fn odd_names_stay_one_segment() {
        for (name, expected) in [
            ("a b&c<d>\"q'.txt", "./a%20b&c%3Cd%3E%22q%27.txt"),
            ("javascript:alert(1)", "./javascript:alert%281%29"),
            ("\u{fc}%20#?.txt", "./%C3%BC%2520%23%3F.txt"),
            ("nl\n.txt", "./nl%0A.txt"),
            ("back\\slash", "./back%5Cslash"),
        ] {
            assert_eq!(to(name.as_bytes(), false), expected);
        }
        assert_eq!(to(b"bad\xff", true), "./bad%FF/");
    }

    proptest! {
        #[test]
        fn names_are_found_again(name in proptest::collection::vec(1_u8.., 1..60)) {
            let url = to(&name, false);
            prop_assert!(url.is_ascii() && !url.contains(['"', '\'', '<', '>', '?', '#', ' ']));
            let decoded: Vec<u8> = percent_decode_str(&url[2..]).collect();
            prop_assert_eq!(decoded, name);
        }
    }
}
