use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::peer::{GET, Proxy, Upstream, run};

/// An upstream that answers with `name`, and is well as long as that is said.
async fn app(name: &'static str) -> (SocketAddr, Arc<AtomicBool>) {
    let upstream = Upstream::bind().await;
    let address = upstream.address;
    let is_well = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&is_well);
    tokio::spawn(async move {
        loop {
            let mut connection = upstream.accept().await;
            let is_well = Arc::clone(&says);
            tokio::spawn(async move {
                while let Some(head) = connection.try_head().await {
                    let is_check = head.starts_with("POST /health?deep HTTP/1.1\r\n");
                    let is_asked =
                        head.contains("x-check: 1\r\n") && head.contains("host: app\r\n");
                    let status = match (is_check, is_well.load(Ordering::Relaxed)) {
                        (false, _) => "200 OK",
                        (true, true) if is_asked => "204 No Content",
                        (true, _) => "503 Service Unavailable",
                    };
                    let length = name.len();
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
                    let body = if status.starts_with("204") { "" } else { name };
                    connection.write(&format!("{head}{body}")).await;
                }
            });
        }
    });
    (address, is_well)
}

async fn logged(proxy: &Proxy, text: &str, count: usize) {
    while proxy.log().matches(text).count() < count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn answering(proxy: &Proxy) -> String {
    let mut client = proxy.send(GET).await;
    let head = client.head().await;
    if head.starts_with("HTTP/1.1 200 OK\r\n") {
        client.read_to("app").await
    } else {
        head.lines().next().unwrap().to_owned()
    }
}

#[test]
fn upstreams_that_are_down_get_no_requests() {
    run(async {
        let (first, first_is_well) = app("first app").await;
        let (second, second_is_well) = app("other app").await;
        let active = json!({
            "uri": "/health?deep", "method": "post", "interval": "20ms", "timeout": "5s",
            "fails": 2, "passes": 2, "headers": {"X-Check": ["1"], "Host": ["app"]},
        });
        let handler = json!({
            "health_checks": {"active": active},
            "load_balancing": {"selection_policy": {"policy": "first"}},
        });
        let proxy = Proxy::start(handler, &[first, second]).await;
        assert_eq!(answering(&proxy).await, "first app");
        first_is_well.store(false, Ordering::Relaxed);
        logged(&proxy, "is down and gets no requests", 1).await;
        assert_eq!(answering(&proxy).await, "other app");
        second_is_well.store(false, Ordering::Relaxed);
        logged(&proxy, "is down and gets no requests", 2).await;
        assert_eq!(answering(&proxy).await, "HTTP/1.1 503 Service Unavailable");
        first_is_well.store(true, Ordering::Relaxed);
        logged(&proxy, "is up again", 1).await;
        assert_eq!(answering(&proxy).await, "first app");
        // Once per change, with the reason.
        let log = proxy.log();
        let down = format!("`{first}` is down");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&down)).collect();
        let [line] = lines[..] else { panic!("{log}") };
        assert!(
            line.contains("503 Service Unavailable instead of 2xx"),
            "{line}"
        );
    });
}

#[test]
fn what_cannot_be_reached_is_down() {
    run(async {
        let address = Upstream::bind().await.address;
        let active = json!({"uri": "/", "interval": "20ms"});
        let handler = json!({"health_checks": {"active": active}});
        let proxy = Proxy::start(handler, &[address]).await;
        logged(&proxy, "is down and gets no requests", 1).await;
        let log = proxy.log();
        assert!(log.to_lowercase().contains("connection refused"), "{log}");
        assert_eq!(answering(&proxy).await, "HTTP/1.1 503 Service Unavailable");
    });
}
