use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::peer::{Peer, Proxy, Upstream, run};

/// A response of one record, and the end of the request.
fn response(text: &str) -> Vec<u8> {
    let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
    let mut bytes = vec![1, 6, 0, 1, high, low, 0, 0];
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(&[1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// Reads a request: the variables, still encoded, and the body.
async fn request(responder: &mut Peer) -> (String, String) {
    let (mut variables, mut body) = (Vec::new(), Vec::new());
    loop {
        let mut header = [0; 8];
        responder.stream.read_exact(&mut header).await.unwrap();
        let length = u16::from_be_bytes([header[4], header[5]]);
        let mut content = vec![0; usize::from(length)];
        responder.stream.read_exact(&mut content).await.unwrap();
        match header[1] {
            4 => variables.extend(content),
            5 if content.is_empty() => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                return (text(&variables), text(&body));
            }
            5 => body.extend(content),
            _ => {}
        }
    }
}

fn php(options: Value) -> Value {
    let mut transport = json!({"protocol": "fastcgi", "root": "/app", "split_path": [".php"]});
    for (name, value) in options.as_object().unwrap() {
        transport[name] = value.clone();
    }
    json!({"transport": transport})
}

#[test]
fn scripts_answer() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(php(json!({})), &[upstream.address]).await;
        let mut client = proxy
            .send("GET /x.php/info?q HTTP/1.1\r\nhost: app.test\r\nproxy: evil\r\n\r\n")
            .await;
        let mut responder = upstream.accept().await;
        let (variables, body) = request(&mut responder).await;
        assert!(
            variables.contains("SCRIPT_FILENAME/app/x.php"),
            "{variables}"
        );
        assert!(variables.contains("PATH_INFO/info"), "{variables}");
        assert!(
            variables.contains("HTTP_X_FORWARDED_FOR127.0.0.1"),
            "{variables}"
        );
        assert!(!variables.contains("evil"), "{variables}");
        assert_eq!(body, "");
        let answer = response("Status: 201 Made\r\nX-A: 1\r\n\r\nhello");
        responder.stream.write_all(&answer).await.unwrap();
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{head}");
        assert!(head.contains("x-a: 1\r\n"), "{head}");
        assert!(head.contains("content-length: 5\r\n"), "{head}");
        client.read_to("hello").await;
    });
}

#[test]
fn bodies_without_a_length_are_measured() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = php(json!({"body_buffer_limit": 8}));
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let post = "POST /x.php HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut client = proxy
            .send(&format!("{post}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"))
            .await;
        let mut responder = upstream.accept().await;
        let (variables, body) = request(&mut responder).await;
        assert!(variables.contains("CONTENT_LENGTH6"), "{variables}");
        assert_eq!(body, "onetwo");
        responder
            .stream
            .write_all(&response("A: 1\r\n\r\nok"))
            .await
            .unwrap();
        client.read_to("ok").await;

        let mut client = proxy.send(&format!("{post}9\r\ntoo much!\r\n9\r\n")).await;
        let head = client.head().await;
        assert!(
            head.starts_with("HTTP/1.1 411 Length Required\r\n"),
            "{head}"
        );
    });
}

#[test]
fn a_path_with_a_zero_byte_is_a_bad_request() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(php(json!({})), &[upstream.address]).await;
        let mut client = proxy
            .send("GET /a.jpg%00.php HTTP/1.1\r\nhost: a\r\n\r\n")
            .await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    });
}

#[test]
fn a_silent_script_is_a_gateway_timeout() {
    run(async {
        let upstream = Upstream::bind().await;
        let handler = php(json!({"read_timeout": "50ms"}));
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        let mut client = proxy.send("GET /x.php HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut responder = upstream.accept().await;
        request(&mut responder).await;
        let head = client.head().await;
        assert!(
            head.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"),
            "{head}"
        );
        assert!(proxy.log().contains("`read_timeout`"), "{}", proxy.log());
    });
}

#[test]
fn another_protocol_is_a_bad_gateway_and_a_hint() {
    run(async {
        let upstream = Upstream::bind().await;
        let proxy = Proxy::start(php(json!({})), &[upstream.address]).await;
        let mut client = proxy.send("POST /x.php HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut responder = upstream.accept().await;
        request(&mut responder).await;
        responder.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        let log = proxy.log();
        assert!(log.contains("did not answer with valid FastCGI"), "{log}");
    });
}
