//! Files that a worker keeps in memory.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::ready;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proto::file_request::file_path_value;
use tokio::net::TcpListener;
use tokio::task::{spawn_local, yield_now};

use crate::testing::{Site, run, upstream};

const TEXT: &str = "0123456789";

/// The static-server of a test, which notes what it is asked.
#[derive(Default)]
struct Files {
    /// The `If-None-Match` of each request.
    asked: RefCell<Vec<Option<String>>>,
    /// Counts up whenever the file changes.
    version: Cell<u32>,
    is_private: Cell<bool>,
}

impl Files {
    fn respond(&self, head: &http::request::Parts) -> Response<String> {
        let known = head.headers.get("if-none-match");
        let known = known.map(|tags| tags.to_str().unwrap().to_owned());
        self.asked.borrow_mut().push(known.clone());
        let etag = format!("\"v{}\"", self.version.get());
        let response = Response::builder().header("etag", &etag);
        if known.is_some_and(|known| known == etag) {
            return response.status(304).body(String::new()).unwrap();
        }
        let response = match self.is_private.get() {
            true => response,
            false => {
                let path = format!("/srv{}", head.uri.path());
                response.header("portico-file-path", file_path_value(path.as_bytes()))
            }
        };
        let body = format!("{TEXT} {}", self.version.get());
        response.body(body).unwrap()
    }
}

async fn serve() -> (Rc<Files>, Site) {
    let files = Rc::new(Files::default());
    let respond = Rc::clone(&files);
    let address = upstream(move |head, _| respond.respond(&head)).await;
    let site = Site::with_static_server("http:// {\nroot * /srv\nfile_server\n}", &address);
    site.worker.shared.volume_changes.set_live(true);
    (files, site)
}

#[test]
fn conditions_and_ranges_are_answered_from_memory() {
    run(async {
        let (files, site) = serve().await;
        site.get("/a.txt").await;
        for (fields, status, body) in [
            (vec![("if-none-match", "\"v0\"")], 304, ""),
            (vec![("if-match", "\"v0\"")], 200, "0123456789 0"),
            (vec![("if-match", "\"x\"")], 412, ""),
            (vec![("range", "bytes=2-4")], 206, "234"),
            (
                vec![("range", "bytes=2-4"), ("if-range", "\"v0\"")],
                206,
                "234",
            ),
            (
                vec![("range", "bytes=2-4"), ("if-range", "\"x\"")],
                200,
                "0123456789 0",
            ),
            (vec![("range", "bytes=20-")], 416, ""),
        ] {
            let mut request = Request::get("http://example.com/a.txt");
            for (name, value) in &fields {
                request = request.header(*name, *value);
            }
            let answer = site.send(request).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (status, body),
                "{fields:?}"
            );
        }
        assert_eq!(files.asked.borrow().len(), 1);
    });
}

#[test]
fn what_many_want_is_asked_for_once() {
    run(async {
        let (files, site) = serve().await;
        let answers = join_all((0..20).map(|_| site.get("/a.txt"))).await;
        assert!(answers.iter().all(|answer| answer.body == "0123456789 0"));
        assert_eq!(files.asked.borrow().len(), 1);

        files.is_private.set(true);
        let answers = join_all((0..20).map(|_| site.get("/b.txt"))).await;
        assert!(answers.iter().all(|answer| answer.body == "0123456789 0"));
        assert_eq!(files.asked.borrow().len(), 21, "each asks for itself");
    });
}

#[test]
fn a_client_that_goes_away_takes_nobody_along() {
    run(async {
        let (files, site) = serve().await;
        let mut first = Box::pin(site.get("/a.txt"));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(site.get("/a.txt"));
        assert!((&mut second).now_or_never().is_none());
        yield_now().await;
        drop(first);
        assert_eq!(second.await.body, "0123456789 0");
        assert!(files.asked.borrow().len() <= 2);
    });
}

#[test]
fn a_change_while_it_is_fetched_is_seen_by_who_comes_later() {
    run(async {
        let (files, site) = serve().await;
        let mut first = Box::pin(site.get("/a.txt"));
        assert!((&mut first).now_or_never().is_none());
        files.version.set(1);
        site.worker.shared.volume_changes.add("/srv", "a.txt");
        let second = site.get("/a.txt").await;
        assert_eq!(second.body, "0123456789 1");
        first.await;
        assert_eq!(files.asked.borrow().len(), 2);
    });
}

#[test]
fn without_announcements_what_is_kept_is_confirmed() {
    run(async {
        let (files, site) = serve().await;
        let changes = &site.worker.shared.volume_changes;
        site.get("/a.txt").await;
        changes.set_live(false);
        for _ in 0..2 {
            assert_eq!(site.get("/a.txt").await.body, "0123456789 0");
        }
        let range = Request::get("http://example.com/a.txt").header("range", "bytes=-1");
        assert_eq!(site.send(range).await.body, "0");
        let tag = Some("\"v0\"".to_owned());
        let expected = [None, tag.clone(), tag.clone(), tag];
        assert_eq!(*files.asked.borrow(), expected);

        files.version.set(1);
        let range = Request::get("http://example.com/a.txt").header("range", "bytes=-1");
        assert_eq!(site.send(range).await.body, "1");
        assert_eq!(site.get("/a.txt").await.body, "0123456789 1");
        assert_eq!(
            files.asked.borrow().last(),
            Some(&None),
            "nothing is kept while changes are not announced"
        );
    });
}

#[test]
fn once_announcements_are_back_it_is_confirmed_once() {
    run(async {
        let (files, site) = serve().await;
        let changes = &site.worker.shared.volume_changes;
        site.get("/a.txt").await;
        changes.set_live(false);
        changes.set_live(true);
        for _ in 0..3 {
            assert_eq!(site.get("/a.txt").await.body, "0123456789 0");
        }
        assert_eq!(files.asked.borrow().len(), 2);
    });
}

/// A site whose static-server answers one request and is gone then.
async fn serve_once() -> Site {
    let files = Files::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let service = service_fn(|request: Request<Incoming>| {
            let response = files.respond(&request.into_parts().0);
            ready(Ok::<_, Infallible>(response))
        });
        let mut connection = hyper::server::conn::http1::Builder::new();
        connection.keep_alive(false);
        let served = connection.serve_connection(TokioIo::new(stream), service);
        served.await.unwrap();
    });
    let site = Site::with_static_server("http:// {\nroot * /srv\nfile_server\n}", &address);
    site.worker.shared.volume_changes.set_live(true);
    site
}

#[test]
fn what_was_current_a_minute_ago_stands_in_where_nobody_answers() {
    run(async {
        for (seconds, status) in [(50, 200), (61, 503)] {
            let site = serve_once().await;
            assert_eq!(site.get("/a.txt").await.status, 200);
            let since = Instant::now().checked_sub(Duration::from_secs(seconds));
            site.worker.shared.volume_changes.add_gap(since.unwrap());
            let answer = site.get("/a.txt").await;
            assert_eq!(answer.status, status, "after {seconds} s");
            assert_eq!(site.get("/b.txt").await.status, 503, "it never was kept");
        }
    });
}

#[test]
fn a_file_that_is_replaced_by_one_that_is_not_kept_is_asked_for_as_the_client_did() {
    run(async {
        let (files, site) = serve().await;
        site.get("/a.txt").await;
        site.worker.shared.volume_changes.set_live(false);
        files.version.set(1);
        files.is_private.set(true);
        let known = Request::get("http://example.com/a.txt").header("if-none-match", "\"v1\"");
        assert_eq!(site.send(known).await.status, 304);
        let tags = ["\"v0\"", "\"v1\""].map(|tag| Some(tag.to_owned()));
        assert_eq!(files.asked.borrow()[1..], tags);
    });
}
