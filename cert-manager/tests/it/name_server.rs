//! A name server on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

/// What the server says of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// All of them lead to 127.0.0.1.
    AreHere,
    /// None exists.
    DoNotExist,
}

/// Starts a name server; it lives as long as the test.
pub(crate) async fn start(names: Names) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let answer = reply(&buffer[..length], names);
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

/// The answer to one query (RFC 1035 section 4.1).
fn reply(query: &[u8], names: Names) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = &query[12..end + 5];
    let is_address = query[end + 1..end + 3] == [0, 1];
    let code = if names == Names::AreHere { 0 } else { 3 };
    let has_answer = is_address && names == Names::AreHere;
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    answer.extend(question);
    if has_answer {
        // The name of the question, type A, class IN, a minute, four octets.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
