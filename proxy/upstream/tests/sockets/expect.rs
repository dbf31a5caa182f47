use std::time::Duration;

use http::HeaderValue;
use upstream::Target;

use crate::peer::{Upstream, client, full, request, run, settle, spawn_send, text};

fn expecting() -> http::Request<crate::peer::Outgoing> {
    let mut request = request("POST", "/", full("the body"));
    request
        .headers_mut()
        .insert("expect", HeaderValue::from_static("100-continue"));
    request
}

#[test]
fn a_body_waits_for_the_upstreams_leave_where_configured() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.expect_continue_timeout = Some(Duration::from_secs(30));
        let target = Target::new(settings).unwrap();
        let sending = spawn_send(&client, &target, expecting());
        let mut connection = upstream.accept().await;
        assert!(connection.head().await.contains("expect: 100-continue\r\n"));
        settle().await;
        assert!(connection.unread().is_empty());
        connection.write("HTTP/1.1 100 Continue\r\n\r\n").await;
        connection.read_to("the body").await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert_eq!(text(sending.await.unwrap().unwrap()).await, "ok");
    });
}

#[test]
fn a_refused_body_is_never_sent() {
    run(async {
        let (upstream, client) = (Upstream::bind().await, client());
        let mut settings = upstream.settings();
        settings.expect_continue_timeout = Some(Duration::from_secs(30));
        let target = Target::new(settings).unwrap();
        let sending = spawn_send(&client, &target, expecting());
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection
            .write("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno")
            .await;
        let response = sending.await.unwrap().unwrap();
        assert_eq!(response.status(), 417);
        assert_eq!(text(response).await, "no");
        assert!(connection.closed().await.is_empty());
    });
}

#[test]
fn a_body_is_sent_unasked_after_the_timeout_or_at_once() {
    run(async {
        for limit in [Some(Duration::from_millis(20)), None] {
            let (upstream, client) = (Upstream::bind().await, client());
            let mut settings = upstream.settings();
            settings.expect_continue_timeout = limit;
            let target = Target::new(settings).unwrap();
            let sending = spawn_send(&client, &target, expecting());
            let mut connection = upstream.accept().await;
            connection.read_to("the body").await;
            connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
            sending.await.unwrap().unwrap();
        }
    });
}
