//! Sites whose files come from a static-server.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Request, Response, StatusCode};
use proto::file_request::{Browse, FileRequest, SortBy};

use crate::testing::{Site, echo, run, upstream};

/// A static-server that has the given files, and says which root it was asked for.
pub(super) async fn static_server(files: &'static [&'static str]) -> String {
    upstream(move |head, _| {
        let request = FileRequest::from_header(head.headers["portico-file"].as_bytes()).unwrap();
        let exists = |path: &str| files.contains(&format!("{}{path}", request.root).as_str());
        let path = head.uri.path();
        if request.probe {
            let found = request.try_files.iter().find(|path| exists(path));
            return match found {
                Some(path) => Response::builder()
                    .status(204)
                    .header("portico-file-match", format!("path=\"{path}\", size=1"))
                    .body(String::new())
                    .unwrap(),
                None => Response::builder().status(404).body(String::new()).unwrap(),
            };
        }
        if !exists(path) {
            return Response::builder().status(404).body(String::new()).unwrap();
        }
        Response::builder()
            .header("content-type", "text/plain")
            .header("etag", "\"1\"")
            .header("server", "static-server")
            .header("portico-file-match", "path=\"/x\", size=1")
            .body(format!(
                "{}{path} for {:?}",
                request.root, request.canonical_path
            ))
            .unwrap()
    })
    .await
}

#[test]
fn static_files_and_app_share_a_site() {
    run(async {
        let files = static_server(&["/srv/static/app.css", "/srv/media/a b.png"]).await;
        let app = echo().await;
        let site = Site::with_static_server(
            &format!(
                "http://quiz.example.com {{
                    handle_path /static/* {{
                        root * /srv/static
                        file_server
                    }}
                    handle_path /media/* {{
                        root * /srv/media
                        file_server
                    }}
                    reverse_proxy {app}
                }}"
            ),
            &files,
        );
        let get = |path: &str| Request::get(format!("http://quiz.example.com{path}"));
        let css = site.send(get("/static/app.css")).await;
        assert_eq!(css.status, 200);
        assert_eq!(
            css.body,
            "/srv/static/app.css for Some(\"/static/app.css\")"
        );
        assert_eq!(css.header("server"), "Portico");
        assert_eq!(css.header("portico-file-match"), "");
        assert_eq!(css.header("etag"), "\"1\"");
        let picture = site.send(get("/media/a%20b.png")).await;
        assert_eq!(picture.status, 404, "the fake compares encoded paths");
        assert_eq!(site.send(get("/static/none.css")).await.status, 404);
        let page = site.send(get("/quiz/1?page=2")).await;
        assert!(
            page.body.starts_with("GET /quiz/1?page=2\n"),
            "{}",
            page.body
        );
        assert!(
            page.body.contains("x-forwarded-host: quiz.example.com\n"),
            "{}",
            page.body
        );
        assert_eq!(page.header("via"), "1.1 Portico");
        assert_eq!(page.header("x-upstream"), "echo");
        let post = Request::post("http://quiz.example.com/static/app.css");
        let post = site.send_with(post, "x").await;
        assert_eq!(
            (post.status, post.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS".into())
        );
        for (path, status, allow) in [
            (
                "/static/app.css",
                StatusCode::NO_CONTENT,
                "GET, HEAD, OPTIONS",
            ),
            ("/static/none.css", StatusCode::NOT_FOUND, ""),
        ] {
            let asked = Request::options(format!("http://quiz.example.com{path}"));
            let options = site.send(asked).await;
            assert_eq!(
                (options.status, options.header("allow")),
                (status, allow.into()),
                "{path}"
            );
        }
        let other = site
            .send(Request::get("http://other.example.com/static/app.css"))
            .await;
        assert_eq!((other.status, other.body.as_str()), (StatusCode::OK, ""));
    });
}

#[test]
fn clients_cannot_choose_files() {
    run(async {
        let app = echo().await;
        let site = Site::new(&format!("http:// {{\nreverse_proxy {app}\n}}"));
        let request = Request::get("http://example.com/").header("Portico-File", "root=\"/\"");
        assert!(!site.send(request).await.body.contains("portico-file"));
    });
}

#[test]
fn static_server_that_is_down_is_a_503() {
    run(async {
        let site = Site::new("http:// {\nroot * /srv\nfile_server\n}");
        let answer = site.get("/").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "5");
    });
}

#[test]
fn try_files_rewrites_to_what_is_there() {
    run(async {
        let files = static_server(&["/srv/a.html", "/srv/index.html"]).await;
        let caddyfile = "http:// {
            root * /srv
            try_files {path}.html /index.html
            handle /none {
                respond none
            }
            file_server
        }";
        let site = Site::with_static_server(caddyfile, &files);
        assert!(site.get("/a").await.body.starts_with("/srv/a.html "));
        assert!(
            site.get("/other")
                .await
                .body
                .starts_with("/srv/index.html ")
        );
    });
}

#[test]
fn file_server_tries_files_by_itself() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&seen);
        let files = upstream(move |head, _| {
            let value = head.headers["portico-file"].as_bytes();
            record
                .borrow_mut()
                .push(FileRequest::from_header(value).unwrap());
            Response::builder().status(404).body(String::new()).unwrap()
        })
        .await;
        let site = Site::with_static_server(
            "http:// {
                root * /srv
                encode gzip
                try_files {path} {path}/ /a\"b.html =410
                file_server
            }",
            &files,
        );
        site.get("/x%25//y%C3%A4").await;
        let seen = seen.borrow();
        assert_eq!(seen.len(), 1);
        assert!(!seen[0].probe);
        assert_eq!(
            seen[0].try_files,
            ["/x%/y\u{e4}", "/x%/y\u{e4}/", "/a\"b.html", "=410"]
        );
    });
}

#[test]
fn static_server_is_told_root_and_options() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&seen);
        let files = upstream(move |head, _| {
            record
                .borrow_mut()
                .push((head.uri.to_string(), head.headers));
            Response::new(String::new())
        })
        .await;
        let site = Site::with_static_server(
            "http:// {
                root /a* /srv/{http.request.header.X-Tenant}
                root /b* public
                file_server {
                    hide .git
                    index home.html
                    precompressed br gzip
                }
            }",
            &files,
        );
        let request = Request::get("http://example.com/a/x.js?v=1")
            .header("x-tenant", "t1")
            .header("cookie", "secret")
            .header("range", "bytes=0-1")
            .header("accept-encoding", "gzip");
        site.send(request).await;
        site.get("/b/%22q%22").await;
        let seen = seen.borrow();
        let (uri, headers) = &seen[0];
        let options = FileRequest::from_header(headers["portico-file"].as_bytes()).unwrap();
        assert_eq!(uri, "/a/x.js?v=1");
        assert_eq!(options.root, "/srv/t1");
        assert_eq!(options.index, ["home.html"]);
        assert_eq!(options.precompressed.len(), 2);
        assert!(options.hide.contains(&".git".to_owned()));
        assert_eq!(options.canonical_path.as_deref(), Some("/a/x.js"));
        assert_eq!(headers["range"], "bytes=0-1");
        assert_eq!(headers["accept-encoding"], "gzip");
        assert!(!headers.contains_key("cookie"));
        let options = FileRequest::from_header(seen[1].1["portico-file"].as_bytes()).unwrap();
        assert_eq!(options.root, "/srv/public");
        assert_eq!(options.canonical_path.as_deref(), Some("/b/%22q%22"));
    });
}

#[test]
fn static_server_is_told_how_folders_are_listed() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&seen);
        let files = upstream(move |head, _| {
            let value = head.headers["portico-file"].as_bytes();
            let options = FileRequest::from_header(value).unwrap();
            record.borrow_mut().push((options, head.headers));
            Response::new(String::new())
        })
        .await;
        let site = Site::with_static_server(
            "http:// {
                root * /srv
                handle /plain/* {
                    file_server browse
                }
                handle /all/* {
                    file_server {
                        disable_canonical_uris
                        browse {
                            reveal_symlinks
                            sort time desc
                            file_limit -1
                        }
                    }
                }
                file_server {
                    disable_canonical_uris
                }
            }",
            &files,
        );
        let json = "application/json";
        for path in ["/plain/x", "/all/x", "/none"] {
            let request = Request::get(format!("http://example.com{path}")).header("accept", json);
            site.send(request).await;
        }
        let seen = seen.borrow();
        assert_eq!(seen[0].0.browse, Some(Browse::default()));
        assert!(!seen[0].0.redirects_listings_only);
        assert_eq!(seen[0].1["accept"], json);
        let expected = Browse {
            reveals_links: true,
            sort: SortBy::Time,
            is_descending: true,
            limit: Some(u32::MAX),
        };
        assert_eq!(seen[1].0.browse, Some(expected));
        assert!(seen[1].0.redirects_listings_only);
        assert_eq!(seen[1].0.canonical_path.as_deref(), Some("/all/x"));
        assert_eq!((seen[2].0.browse, &seen[2].0.canonical_path), (None, &None));
    });
}

#[test]
fn fields_set_before_go_with_files() {
    run(async {
        let files = static_server(&["/srv/a.txt"]).await;
        let site = Site::with_static_server(
            "http:// {
                root * /srv
                header Content-Type text/x-special
                header Cache-Control \"max-age=60\"
                header Etag mine
                file_server
            }",
            &files,
        );
        let answer = site.get("/a.txt").await;
        assert_eq!(answer.header("content-type"), "text/x-special");
        assert_eq!(answer.header("cache-control"), "max-age=60");
        assert_eq!(answer.header("etag"), "\"1\"");
    });
}
