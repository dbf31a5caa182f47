//! Start, reload and end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use serde_json::json;

use crate::client::{connect, get};
use crate::program::{Proxy, write_atomically};

fn answer(proxy: &Proxy) -> String {
    let answer = get(proxy.http, "any.test", "/").unwrap_or_default();
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn serves_until_terminated() {
    let mut proxy = Proxy::new();
    proxy.write(proxy.plain("hello"));
    proxy.start();
    proxy.wait_for("readiness", Proxy::is_ready);
    assert_eq!(answer(&proxy), "hello");
    assert_eq!(proxy.run(&["health"]).code, 0);
    assert_eq!(proxy.stop(), 0);
    get(proxy.http, "any.test", "/").unwrap_err();
}

#[test]
fn bad_configuration_opens_no_port() {
    let proxy = Proxy::new();
    proxy.write(
        json!({"srv0": {"listen": [proxy.http.to_string()], "routes": [
            {"handle": [{"handler": "no_such_handler"}]},
        ]}}),
    );
    let finished = proxy.run(&["serve"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.stderr.contains("no_such_handler"), "{finished:?}");
}

#[test]
fn port_in_use_is_explained() {
    let proxy = Proxy::new();
    let _other = TcpListener::bind(proxy.http).unwrap();
    proxy.write(proxy.plain("hello"));
    let finished = proxy.run(&["serve"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(
        finished
            .stderr
            .contains(&format!("cannot listen on {}", proxy.http)),
        "{finished:?}"
    );
    assert!(finished.stderr.contains("another program"), "{finished:?}");
}

#[test]
fn reload_takes_over_routes_and_listeners() {
    let mut proxy = Proxy::new();
    proxy.write(proxy.plain("one"));
    proxy.start();
    assert_eq!(answer(&proxy), "one");

    proxy.write(proxy.plain("two"));
    assert_eq!(answer(&proxy), "one");
    let finished = proxy.run(&["reload"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert_eq!(answer(&proxy), "two");

    let mut servers = proxy.plain("three");
    servers["plain"]["listen"] = json!([proxy.http.to_string(), "127.0.0.1:0"]);
    proxy.write(servers);
    proxy.signal(Signal::HUP);
    proxy.wait_for("reload by SIGHUP", |proxy| answer(proxy) == "three");
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn upstreams_that_a_reload_takes_away_are_not_shown() {
    let mut proxy = Proxy::new();
    let mut servers = proxy.plain("");
    servers["plain"]["routes"] = json!([{"handle": [
        {"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:9"}]},
    ]}]);
    proxy.write(servers);
    proxy.start();
    assert!(answer(&proxy).is_empty());
    let shown = |proxy: &Proxy| proxy.run(&["status"]).stdout.contains("127.0.0.1:9");
    assert!(shown(&proxy));

    proxy.write(proxy.plain("two"));
    assert_eq!(proxy.run(&["reload"]).code, 0);
    assert!(!shown(&proxy));
}

#[test]
fn bad_reload_changes_nothing_and_says_why() {
    let mut proxy = Proxy::new();
    proxy.write(proxy.plain("good"));
    proxy.start();

    std::fs::write(proxy.config(), "{").unwrap();
    let finished = proxy.run(&["reload"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.stderr.contains("config.json:1:"), "{finished:?}");
    assert_eq!(answer(&proxy), "good");

    let mut servers = proxy.plain("bad");
    servers["plain"]["listen"] = json!([proxy.http.to_string(), "192.0.2.1:80"]);
    proxy.write(servers);
    let finished = proxy.run(&["reload"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(
        finished.stderr.contains("cannot listen on 192.0.2.1:80"),
        "{finished:?}"
    );
    assert_eq!(answer(&proxy), "good");
    proxy.wait_for_log("the running one stays");
}

#[test]
fn watched_configuration_is_reloaded_when_it_is_replaced_or_rewritten() {
    let mut proxy = Proxy::new();
    let folder = proxy.folder.path().to_owned();
    let port = proxy.http.port();
    let caddyfile = folder.join("Caddyfile");
    std::fs::write(
        &caddyfile,
        format!("{{\n\tdefault_bind 127.0.0.1\n}}\nhttp://:{port} {{\n\timport answer\n}}\n"),
    )
    .unwrap();
    let imported = folder.join("answer");
    std::fs::write(&imported, "respond one\n").unwrap();
    proxy.flags = vec![
        "--watch".into(),
        "--config".into(),
        caddyfile.display().to_string(),
    ];
    proxy.start();
    assert_eq!(answer(&proxy), "one");

    write_atomically(&imported, "respond two\n");
    proxy.wait_for("reload of a replaced import", |proxy| {
        answer(proxy) == "two"
    });
    write_atomically(&imported, "respond three\n");
    proxy.wait_for("reload of an import replaced again", |proxy| {
        answer(proxy) == "three"
    });
    std::fs::write(&imported, "respond four\n").unwrap();
    proxy.wait_for("reload of a rewritten import", |proxy| {
        answer(proxy) == "four"
    });
    std::fs::write(&imported, "respnd five\n").unwrap();
    proxy.wait_for_log("respnd");
    assert_eq!(answer(&proxy), "four");
    std::fs::write(&imported, "respond six\n").unwrap();
    proxy.wait_for("reload of a repaired import", |proxy| {
        answer(proxy) == "six"
    });
}

#[test]
fn open_connection_outlives_a_reload_and_gets_the_new_routes() {
    let mut proxy = Proxy::new();
    proxy.write(proxy.plain("one"));
    proxy.start();
    let mut tcp = connect(proxy.http).unwrap();
    let ask = |tcp: &mut TcpStream| {
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: any.test\r\n\r\n")
            .unwrap();
        let mut answer = [0; 1024];
        let read = tcp.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read])
            .rsplit("\r\n")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(ask(&mut tcp), "one");
    proxy.write(proxy.plain("two"));
    assert_eq!(proxy.run(&["reload"]).code, 0);
    assert_eq!(ask(&mut tcp), "two");
}

#[test]
fn request_in_flight_finishes_within_the_grace_period() {
    let mut proxy = Proxy::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = upstream.local_addr().unwrap().to_string();
    proxy.write(json!({"plain": {
        "listen": [proxy.http.to_string()],
        "routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": dial}]}]}],
    }}));
    proxy.start();
    let http = proxy.http;
    let asked = std::thread::spawn(move || get(http, "any.test", "/").unwrap());
    let (mut accepted, _) = upstream.accept().unwrap();
    proxy.signal(Signal::TERM);
    proxy.wait_for("end of accepting", |proxy| connect(proxy.http).is_err());
    let mut request = [0; 1024];
    assert!(accepted.read(&mut request).unwrap() > 0);
    accepted
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .unwrap();
    assert!(asked.join().unwrap().ends_with("done"));
    assert_eq!(proxy.wait(), 0);
}

#[test]
fn request_that_outlasts_the_grace_period_is_dropped() {
    let mut proxy = Proxy::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = upstream.local_addr().unwrap().to_string();
    proxy.write(json!({"plain": {
        "listen": [proxy.http.to_string()],
        "routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": dial}]}]}],
    }}));
    proxy.start();
    let http = proxy.http;
    let asked = std::thread::spawn(move || get(http, "any.test", "/"));
    let _accepted = upstream.accept().unwrap();
    assert_eq!(proxy.stop(), 0);
    assert_eq!(asked.join().unwrap().unwrap_or_default(), "");
    assert!(
        proxy
            .log()
            .contains("did not finish within the grace period"),
        "{}",
        proxy.log()
    );
}

#[test]
fn administration_listener_tells_how_it_fares() {
    let mut proxy = Proxy::new();
    let mut servers = proxy.plain("hello");
    servers["secure"] = proxy.tls(&["a.test"], "secret")["secure"].clone();
    proxy.write(servers);
    proxy.start();
    let open = connect(proxy.http).unwrap();
    assert_eq!(answer(&proxy), "hello");
    proxy.wait_for("one open connection", |proxy| {
        proxy.status()["connections"] == 1
    });

    let status = proxy.status();
    assert_eq!(status["requests"], 1);
    assert_eq!(status["cert_manager_connected"], false);
    assert_eq!(status["config_file"], proxy.config().display().to_string());
    let sites = status["sites"].as_array().unwrap();
    assert!(
        sites.contains(&json!({
            "host": "a.test",
            "listen": [proxy.https.to_string()],
            "tls": true,
            "certificate_not_after": null,
        })),
        "{sites:?}"
    );
    assert!(proxy.run(&["status"]).stdout.contains("none yet"));

    let metrics = proxy.get_admin("/metrics").unwrap();
    for line in [
        "proxy_connections 1",
        "proxy_requests_total 1",
        "proxy_cert_manager_connected 0",
        "proxy_certificate_not_after_timestamp_seconds{name=\"a.test\"} 0.0",
    ] {
        assert!(
            metrics.lines().any(|own| own == line),
            "{line} in {metrics}"
        );
    }
    let readiness = proxy.get_admin("/readyz").unwrap();
    assert!(readiness.starts_with("HTTP/1.1 503"), "{readiness}");
    assert!(readiness.contains("no certificate for a.test: no connection to cert-manager yet"));
    assert_eq!(proxy.run(&["health"]).code, 1);
    drop(open);
}

#[test]
fn administration_listener_may_be_a_unix_socket() {
    let mut proxy = Proxy::new();
    proxy.write(proxy.plain("hello"));
    let socket = format!("unix:{}", proxy.folder.path().join("admin.sock").display());
    proxy.flags = vec!["--admin".into(), socket.clone()];
    proxy.spawn();
    proxy.wait_for("readiness", |proxy| {
        proxy.run(&["health", "--admin", &socket]).code == 0
    });
    assert_eq!(proxy.run(&["reload", "--admin", &socket]).code, 0);
    assert_eq!(proxy.stop(), 0);
}
