use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::peer::{GET, OK, Proxy, Upstream, run};

const A: u16 = 1;
const SRV: u16 = 33;

/// A name server that knows one service, `_http._tcp.app.test`, at `port` of `host.test`, which
/// is 127.0.0.1.
async fn name_server(port: u16) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, asker) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = answer(&buffer[..length], port);
            socket.send_to(&answer, asker).await.unwrap();
        }
    });
    address
}

/// The answer to a query (RFC 1035 section 4.1).
fn answer(query: &[u8], port: u16) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let asked = u16::from_be_bytes([question[name + 1], question[name + 2]]);
    let lower = question[..name].to_ascii_lowercase();
    let data = match asked {
        SRV if lower.starts_with(b"\x05_http\x04_tcp\x03app\x04test") => {
            let mut data = vec![0, 1, 0, 1];
            data.extend_from_slice(&port.to_be_bytes());
            data.extend_from_slice(b"\x04host\x04test\0");
            Some(data)
        }
        A if lower.starts_with(b"\x04host\x04test") => Some(vec![127, 0, 0, 1]),
        _ => None,
    };
    let mut answer = query[..2].to_vec();
    answer.extend_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    if let Some(data) = data {
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&asked.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend_from_slice(&data);
    }
    answer
}

async fn start(dynamic: Value, name_server: SocketAddr) -> Proxy {
    let resolver = json!({"addresses": [name_server.to_string()]});
    Proxy::start_with(json!([{"handle": [{
        "handler": "reverse_proxy",
        "dynamic_upstreams": dynamic,
        "transport": {"protocol": "http", "resolver": resolver},
    }]}]))
    .await
}

async fn is_forwarded(proxy: &Proxy, upstream: &Upstream) {
    let mut client = proxy.send(GET).await;
    let mut connection = upstream.accept().await;
    connection.head().await;
    connection.write(OK).await;
    client.read_to("ok").await;
}

#[test]
fn addresses_are_found_by_name() {
    run(async {
        let upstream = Upstream::bind().await;
        let name_server = name_server(0).await;
        let dynamic = json!({
            "source": "a", "name": "host.test", "port": upstream.address.port().to_string(),
            "resolver": {"addresses": [name_server.to_string()]}, "versions": {"ipv4": true},
        });
        let proxy = start(dynamic, name_server).await;
        is_forwarded(&proxy, &upstream).await;
    });
}

#[test]
fn services_are_found_by_name() {
    run(async {
        let upstream = Upstream::bind().await;
        let name_server = name_server(upstream.address.port()).await;
        let resolver = json!({"addresses": [name_server.to_string()]});
        let dynamic = json!({"source": "multi", "sources": [
            {"source": "srv", "name": "gone.test", "resolver": resolver},
            {"source": "srv", "service": "http", "proto": "tcp", "name": "app.test",
                "refresh": "1m", "resolver": resolver},
        ]});
        let proxy = start(dynamic, name_server).await;
        is_forwarded(&proxy, &upstream).await;
        assert!(
            proxy
                .log()
                .contains("dynamic upstreams could not be found out")
        );
    });
}

#[test]
fn fixed_upstreams_are_for_when_nothing_is_found() {
    run(async {
        let upstream = Upstream::bind().await;
        let name_server = name_server(0).await;
        let handler = json!({"dynamic_upstreams": {
            "source": "a", "name": "gone.test", "port": "80",
            "resolver": {"addresses": [name_server.to_string()]},
        }});
        let proxy = Proxy::start(handler, &[upstream.address]).await;
        is_forwarded(&proxy, &upstream).await;
    });
}
