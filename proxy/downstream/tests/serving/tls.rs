//! Handshakes: certificates, protocols, resumption.

use std::sync::Arc;

use downstream::{SessionTickets, TicketKey};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{self, Client, Running, wait_until};

#[tokio::test]
async fn certificate_is_chosen_by_server_name() {
    let running = Running::tls(1, &["a.test", "*.b.test"]).await;
    for (name, expected) in [
        ("a.test", "a.test"),
        ("x.b.test", "*.b.test"),
        ("A.TEST", "a.test"),
    ] {
        let stream = running.handshake(Some(name), &[]).await.unwrap();
        assert_eq!(support::names_of(&stream), [expected], "{name}");
    }
    for name in ["b.test", "x.y.b.test", "c.test"] {
        running.handshake(Some(name), &[]).await.unwrap_err();
    }
    wait_until(|| running.server.figures().handshakes_failed == 3).await;
}

#[tokio::test]
async fn client_without_server_name_gets_the_certificate_of_the_address() {
    let running = Running::tls(1, &["a.test", "127.0.0.1"]).await;
    let stream = running.handshake(None, &[]).await.unwrap();
    assert_eq!(support::names_of(&stream), ["127.0.0.1"]);
}

#[tokio::test]
async fn protocol_is_agreed_by_alpn() {
    let running = Running::tls(1, &["a.test"]).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = running.handshake(Some("a.test"), offered).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes));
        let is_http2 = agreed == Some("h2");
        let mut client = Client::over(stream, is_http2).await;
        let answer = client.get("/tls").await;
        assert_eq!(
            answer,
            format!("a.test {:?} {agreed:?}", ProtocolVersion::TLSv1_3)
        );
    }
    running
        .handshake(Some("a.test"), &["spdy/1"])
        .await
        .unwrap_err();
}

#[tokio::test]
async fn session_is_resumed_at_any_worker() {
    let running = Running::tls(3, &["a.test"]).await;
    let config = support::client_config(&["http/1.1"]);
    for attempt in 0..6 {
        let stream = running
            .handshake_with(config.clone(), Some("a.test"))
            .await
            .unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        let mut client = Client::over(stream, false).await;
        client.get("/").await;
        let expected = if attempt == 0 {
            HandshakeKind::Full
        } else {
            HandshakeKind::Resumed
        };
        assert_eq!(kind, Some(expected), "attempt {attempt}");
    }
}

/// Connects twice with one memory of sessions; the second handshake's kind.
async fn second_handshake(
    first: &Running,
    between: impl FnOnce(),
    second: &Running,
) -> Option<HandshakeKind> {
    let config = support::client_config(&["http/1.1"]);
    let stream = first.handshake_with(config.clone(), Some("a.test")).await;
    // The ticket comes after the handshake.
    Client::over(stream.unwrap(), false).await.get("/").await;
    between();
    let stream = second.handshake_with(config, Some("a.test")).await.unwrap();
    stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn session_is_resumed_at_another_server_with_the_same_keys() {
    let [old, new] = [(); 2].map(|()| TicketKey::generate().unwrap());
    let mut servers = Vec::new();
    for _ in 0..2 {
        let tickets = Arc::new(SessionTickets::new().unwrap());
        let given = Some(Arc::clone(&tickets));
        let server = Running::tls_with(1, &["a.test"], |options| options.tickets = given).await;
        servers.push((server, tickets));
    }
    let [(first, first_tickets), (second, second_tickets)] = &servers[..] else {
        unreachable!("two servers");
    };
    let kind = second_handshake(first, || (), second).await;
    assert_eq!(kind, Some(HandshakeKind::Full));

    first_tickets.set_keys([&old]).unwrap();
    second_tickets.set_keys([&old]).unwrap();
    let kind = second_handshake(first, || (), second).await;
    assert_eq!(kind, Some(HandshakeKind::Resumed));

    let rotate = || second_tickets.set_keys([&new, &old]).unwrap();
    let kind = second_handshake(first, rotate, second).await;
    assert_eq!(kind, Some(HandshakeKind::Resumed));

    let expire = || second_tickets.set_keys([&new]).unwrap();
    let kind = second_handshake(first, expire, second).await;
    assert_eq!(kind, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn no_session_is_resumed_without_tickets() {
    let running = Running::tls_with(1, &["a.test"], |_| ()).await;
    let kind = second_handshake(&running, || (), &running).await;
    assert_eq!(kind, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn certificate_is_swapped_without_a_pause() {
    let running = Running::tls(1, &["a.test"]).await;
    let old = running
        .handshake(Some("a.test"), &["http/1.1"])
        .await
        .unwrap();
    let old_leaf = support::leaf_of(&old);
    let mut client = Client::over(old, false).await;
    client.get("/").await;

    running.add_certificate("a.test");
    let new = running.handshake(Some("a.test"), &[]).await.unwrap();
    assert_ne!(support::leaf_of(&new), old_leaf);
    assert_eq!(client.get("/").await, "/");

    running.certificates.remove("a.test");
    running.handshake(Some("a.test"), &[]).await.unwrap_err();
    assert_eq!(client.get("/").await, "/");
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let running = Running::tls(1, &["a.test"]).await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 400 Bad Request\r\n"),
        "{answer:?}"
    );
    assert!(
        answer.ends_with("\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn challenge_is_answered_to_who_offers_its_protocol_alone() {
    let running = Running::tls(1, &["a.test"]).await;
    let challenges = running.certificates.challenges();
    let answer = support::challenge_certificate("a.test");
    challenges.insert("a.test", answer.clone());
    let usual = running.handshake(Some("a.test"), &[]).await.unwrap();
    let usual = support::leaf_of(&usual);

    let mut stream = running
        .handshake(Some("a.test"), &["acme-tls/1"])
        .await
        .unwrap();
    assert_ne!(support::leaf_of(&stream), usual);
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(alpn.as_deref(), Some(&b"acme-tls/1"[..]));
    // Closed by the server, which reads no request.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());

    for offered in [&["http/1.1"][..], &["acme-tls/1", "h2"]] {
        let stream = running.handshake(Some("a.test"), offered).await.unwrap();
        assert_eq!(support::leaf_of(&stream), usual, "{offered:?}");
    }
    for (name, offered) in [
        ("b.test", &["acme-tls/1"][..]),
        ("a.test", &["acme-tls/1", "spdy/1"]),
    ] {
        running.handshake(Some(name), offered).await.unwrap_err();
    }
    // Another challenge has taken its place.
    let next = support::challenge_certificate("a.test");
    challenges.insert("a.test", next.clone());
    challenges.remove("a.test", &answer);
    running
        .handshake(Some("a.test"), &["acme-tls/1"])
        .await
        .unwrap();
    challenges.remove("a.test", &next);
    running
        .handshake(Some("a.test"), &["acme-tls/1"])
        .await
        .unwrap_err();
}
