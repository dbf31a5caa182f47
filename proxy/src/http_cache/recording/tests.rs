use std::time::Instant;

use futures_util::FutureExt as _;
use http::StatusCode;

use super::*;
use crate::http_cache::storing::Asker;
use crate::http_cache::{Policy, Received};
use crate::testing::run;

fn recording(length: Option<u64>) -> Arc<Recording> {
    let mut response = HeaderMap::new();
    response.insert("cache-control", "max-age=60".parse().unwrap());
    let head = Head::new(
        Asker {
            is_get: true,
            ..Asker::default()
        },
        StatusCode::OK,
        &response,
        (None, &HeaderMap::new()),
        Received::now(Instant::now()),
        &Policy::default(),
    );
    Recording::new(Arc::new(head.unwrap()), length, Arc::new(Budget::new(1000))).unwrap()
}

#[test]
fn who_has_read_all_that_was_announced_may_go() {
    run(async {
        for (length, is_over) in [(Some(4), false), (Some(5), true), (None, true)] {
            let recording = recording(length);
            let reader = recording.reader();
            recording.push(Bytes::from_static(b"body"), 100);
            assert!(recording.deserted().now_or_never().is_none());
            drop(reader);
            let is_deserted = recording.deserted().now_or_never().is_some();
            assert_eq!(is_deserted, is_over, "{length:?}");
        }
    });
}
