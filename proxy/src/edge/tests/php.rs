//! PHP sites, whose scripts a responder in the same process runs.

use std::collections::BTreeMap;

use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::files::static_server;
use crate::testing::{Site, run};

/// Starts a responder whose scripts answer with what they were told; gives its address.
async fn responder() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                let told = decode(&variables(&mut stream).await);
                let value = |name: &str| told.get(name).map_or("", String::as_str);
                let text = format!(
                    "content-type: text/plain\n\n{} {} {} {}",
                    value("SCRIPT_FILENAME"),
                    value("PATH_INFO"),
                    value("QUERY_STRING"),
                    value("REQUEST_URI"),
                );
                let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
                let mut bytes = vec![1, 6, 0, 1, high, low, 0, 0];
                bytes.extend_from_slice(text.as_bytes());
                bytes.extend_from_slice(&[1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                stream.write_all(&bytes).await.unwrap();
            });
        }
    });
    address
}

/// Reads a request without a body: its encoded variables.
async fn variables(stream: &mut TcpStream) -> Vec<u8> {
    let mut variables = Vec::new();
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.unwrap();
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        stream.read_exact(&mut content).await.unwrap();
        match header[1] {
            4 => variables.extend(content),
            5 => return variables,
            _ => {}
        }
    }
}

fn decode(mut encoded: &[u8]) -> BTreeMap<String, String> {
    let mut decoded = BTreeMap::new();
    while !encoded.is_empty() {
        let lengths = [(); 2].map(|()| {
            let length;
            (length, encoded) = match encoded {
                [short @ ..=0x7f, rest @ ..] => (usize::from(*short), rest),
                [a, b, c, d, rest @ ..] => {
                    let long = u32::from_be_bytes([a & 0x7f, *b, *c, *d]);
                    (usize::try_from(long).unwrap(), rest)
                }
                other => panic!("{other:?}"),
            };
            length
        });
        let [name, value] = lengths.map(|length| {
            let (text, rest) = encoded.split_at(length);
            encoded = rest;
            String::from_utf8(text.to_vec()).unwrap()
        });
        decoded.insert(name, value);
    }
    decoded
}

#[test]
fn scripts_files_and_pretty_addresses_share_a_site() {
    run(async {
        let files = static_server(&[
            "/srv/app/index.php",
            "/srv/app/tell.php",
            "/srv/app/blog/index.php",
            "/srv/app/app.css",
        ])
        .await;
        let php = responder().await;
        let site = Site::with_static_server(
            &format!("http:// {{\nroot * /srv/app\nphp_fastcgi {php}\nfile_server\n}}"),
            &files,
        );
        for (target, told) in [
            ("/tell.php?x=1", "/srv/app/tell.php  x=1 /tell.php?x=1"),
            ("/tell.php/a/b", "/srv/app/tell.php /a/b  /tell.php/a/b"),
            ("/?x", "/srv/app/index.php  x /?x"),
            (
                "/pretty/address?x",
                "/srv/app/index.php  x /pretty/address?x",
            ),
            ("/blog/", "/srv/app/blog/index.php   /blog/"),
            ("/gone.php", "/srv/app/index.php   /gone.php"),
        ] {
            let answer = site.get(target).await;
            assert_eq!(answer.status, StatusCode::OK, "{target}");
            assert_eq!(answer.body, told, "{target}");
        }
        let redirect = site.get("/blog?x").await;
        assert_eq!(redirect.status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(redirect.header("location"), "/blog/?x");
        let file = site.get("/app.css").await;
        assert!(file.body.starts_with("/srv/app/app.css"), "{}", file.body);
    });
}

#[test]
fn php_may_have_a_part_of_a_site_and_files_of_its_own_choice() {
    run(async {
        let files = static_server(&["/srv/app/public/front.php"]).await;
        let php = responder().await;
        let site = Site::with_static_server(
            &format!(
                "http:// {{
                    root * /srv/app/public
                    php_fastcgi /api/* {php} {{
                        root /srv/app/public
                        try_files {{path}} front.php
                        env X 1
                    }}
                    respond /x other
                }}"
            ),
            &files,
        );
        let told = site
            .send(Request::get("http://example.com/api/users?id=1"))
            .await;
        assert_eq!(told.body, "/srv/app/public/front.php  id=1 /api/users?id=1");
        assert_eq!(site.get("/x").await.body, "other");
    });
}
