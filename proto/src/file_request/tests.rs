use proptest::prelude::*;

use super::{Browse, Coding, FileMatch, FileRequest, SortBy};

fn browse() -> impl Strategy<Value = Browse> {
    let sort = proptest::sample::select(&SortBy::ALL[..]);
    (any::<bool>(), sort, any::<bool>(), any::<Option<u32>>()).prop_map(
        |(reveals_links, sort, is_descending, limit)| Browse {
            reveals_links,
            sort,
            is_descending,
            limit,
        },
    )
}

fn coding() -> impl Strategy<Value = Coding> {
    prop_oneof![Just(Coding::Br), Just(Coding::Gzip), Just(Coding::Zstd)]
}

proptest! {
    #[test]
    fn file_request_survives_the_header(
        root in ".*",
        index in proptest::collection::vec(".*", 0..3),
        precompressed in proptest::collection::vec(coding(), 0..3),
        hide in proptest::collection::vec(".*", 0..3),
        try_files in proptest::collection::vec(".*", 0..3),
        browse in proptest::option::of(browse()),
        probe: bool,
        canonical_path in proptest::option::of(".*"),
        listings: bool,
    ) {
        let redirects_listings_only = listings && canonical_path.is_some();
        let request = FileRequest {
            root, index, precompressed, hide, try_files, browse, canonical_path,
            redirects_listings_only, probe,
        };
        let header = request.to_header().unwrap();
        prop_assert!(http::HeaderValue::from_str(&header).is_ok());
        prop_assert_eq!(FileRequest::from_header(header.as_bytes()).unwrap(), request);
    }

    #[test]
    fn any_value_is_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = FileRequest::from_header(&value);
        let _ = FileMatch::from_header(&value);
    }
}

#[test]
fn reads_as_documented() {
    let header = r#"root="/srv/static", index=("index.html" "index.txt"), precompressed=(br gzip)"#;
    let request = FileRequest::from_header(header.as_bytes()).unwrap();
    assert_eq!(request.root, "/srv/static");
    assert_eq!(request.index, ["index.html", "index.txt"]);
    assert_eq!(request.precompressed, [Coding::Br, Coding::Gzip]);
    assert_eq!(request.to_header().unwrap(), header);
}

#[test]
fn listings_have_parameters() {
    let read = |browse: &str| {
        let header = format!(r#"root="/srv", canonical="/a";listings, {browse}"#);
        FileRequest::from_header(header.as_bytes())
    };
    let request = read("browse").unwrap();
    assert_eq!(request.browse, Some(Browse::default()));
    assert!(request.redirects_listings_only);
    let browse = read("browse;links;sort=time;desc;limit=500")
        .unwrap()
        .browse;
    let expected = Browse {
        reveals_links: true,
        sort: SortBy::Time,
        is_descending: true,
        limit: Some(500),
    };
    assert_eq!(browse, Some(expected));
    assert_eq!(read("browse=?0").unwrap().browse, None);
    for wrong in [
        "browse=1",
        "browse;sort=x",
        "browse;sort=?0",
        "browse;limit=-1",
        "browse;links=2",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn root_is_required() {
    assert!(FileRequest::from_header(b"index=(\"a\")").is_err());
}

#[test]
fn file_path_survives_the_header() {
    let value = super::file_path_value("/srv/media/ä 100%.png".as_bytes());
    assert!(value.is_ascii());
    let path = super::parse_file_path(value.as_bytes());
    assert_eq!(path.as_deref(), Some("/srv/media/ä 100%.png"));
}

#[test]
fn file_match_survives_the_header() {
    let found = FileMatch {
        path: "/ä b".into(),
        is_directory: false,
        size: 10,
        modified: 1_700_000_000_123,
    };
    let header = found.to_header().unwrap();
    assert_eq!(FileMatch::from_header(header.as_bytes()).unwrap(), found);
}
