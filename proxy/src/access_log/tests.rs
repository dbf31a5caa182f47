//! Entries as they are written.

use std::time::Duration;

use http::Request;
use serde_json::Value;

use crate::testing::{Site, run};

/// The entries that requests to a site leave behind. `log` is what stands in the `log` block.
fn entries(log: &str, site: &str, requests: Vec<http::request::Builder>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/access.log");
    let output = format!("output file {}", path.display());
    run(async {
        let site = Site::new(&format!(
            "http:// {{\nlog {{\n{output}\n{log}\n}}\n{site}\n}}"
        ));
        for request in requests {
            site.send(request).await;
        }
        super::flush(Duration::from_secs(5));
    });
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn request() -> http::request::Builder {
    Request::get("http://example.com:8080/a?b=c")
        .header("user-agent", "test")
        .header("cookie", "secret")
}

#[test]
fn entries_have_the_fields_of_caddy() {
    let entries = entries("", "header X-Sent 1\nrespond hello 201", vec![request()]);
    assert_eq!(entries.len(), 1);
    let mut entry: Value = serde_json::from_str(&entries[0]).unwrap();
    let fields = [
        "level",
        "ts",
        "logger",
        "msg",
        "request",
        "bytes_read",
        "user_id",
    ];
    let mut last = 0;
    for field in fields {
        let at = entries[0].find(&format!("\"{field}\":")).unwrap();
        assert!(at >= last, "{field}");
        last = at;
    }
    assert!(entry["ts"].as_f64().unwrap() > 1.7e9);
    assert!(entry["duration"].as_f64().unwrap() < 10.0);
    for field in ["ts", "duration"] {
        entry.as_object_mut().unwrap().remove(field);
    }
    insta::assert_json_snapshot!(entry, @r#"
    {
      "bytes_read": 0,
      "level": "info",
      "logger": "http.log.access.log0",
      "msg": "handled request",
      "request": {
        "client_ip": "192.0.2.1",
        "headers": {
          "Cookie": [
            "REDACTED"
          ],
          "User-Agent": [
            "test"
          ]
        },
        "host": "example.com:8080",
        "method": "GET",
        "proto": "HTTP/1.1",
        "remote_ip": "192.0.2.1",
        "remote_port": "1234",
        "uri": "/a?b=c"
      },
      "resp_headers": {
        "Content-Type": [
          "text/plain; charset=utf-8"
        ],
        "Server": [
          "Portico"
        ],
        "X-Sent": [
          "1"
        ]
      },
      "size": 5,
      "status": 201,
      "user_id": ""
    }
    "#);
}

#[test]
fn formats_change_entries() {
    let log = "format filter {
        request>headers delete
        request>remote_ip ip_mask 16
        request>uri regexp b=[a-z]+ b=X
        resp_headers delete
        wrap json {
            time_format rfc3339
            duration_format string
            message_key message
        }
    }";
    let entries = entries(log, "respond ok", vec![request()]);
    let entry: Value = serde_json::from_str(&entries[0]).unwrap();
    assert_eq!(entry["request"]["remote_ip"], "192.0.0.0");
    assert_eq!(entry["request"]["uri"], "/a?b=X");
    assert_eq!(entry["message"], "handled request");
    assert!(entry["request"].get("headers").is_none() && entry.get("resp_headers").is_none());
    assert!(entry["ts"].as_str().unwrap().contains('T'));
    assert!(entry["duration"].as_str().unwrap().ends_with('s'));
}

#[test]
fn parts_of_queries_and_cookies_are_changed() {
    use super::Node;
    use crate::compile::{CompileContext, Scope};

    let fields = serde_json::json!({
        "request>uri": {"filter": "query", "actions": [
            {"type": "replace", "parameter": "token", "value": "REDACTED"},
            {"type": "delete", "parameter": "secret"},
            {"type": "hash", "parameter": "user"},
        ]},
        "request>headers>Cookie": {"filter": "cookie", "actions": [
            {"type": "replace", "name": "session", "value": "X"},
            {"type": "delete", "name": "other"},
        ]},
    });
    let mut scope = Scope::new("", CompileContext::default());
    let fields = serde_json::from_value(fields).unwrap();
    let changes = super::filter::compile(&fields, &mut scope);
    let text = |text: &'static str| Node::text(text);
    let mut entry = Node::Object(vec![(
        "request".into(),
        Node::Object(vec![
            (
                "uri".into(),
                text("/a?token=1&user=ann&secret=2&b=c&token=3"),
            ),
            (
                "headers".into(),
                Node::Object(vec![(
                    "Cookie".into(),
                    Node::List(vec![text("session=1; other=2; kept=3")]),
                )]),
            ),
        ]),
    )]);
    for change in &changes {
        change.apply(&mut entry);
    }
    assert_eq!(scope.into_errors(), []);
    assert_eq!(
        serde_json::to_string(&entry).unwrap(),
        "{\"request\":{\"uri\":\"/a?b=c&token=REDACTED&token=REDACTED&user=49915e0d\",\
         \"headers\":{\"Cookie\":[\"session=X; kept=3\"]}}}"
    );
}

#[test]
fn console_entries_are_for_people() {
    let entries = entries("format console", "respond ok", vec![request()]);
    let columns: Vec<&str> = entries[0].split('\t').collect();
    assert_eq!(
        columns[1..4],
        ["INFO", "http.log.access.log0", "handled request"]
    );
    assert!(columns[4].starts_with("{\"request\":"));
}

#[test]
fn entries_below_the_level_are_left_out() {
    let to = |path: &str| Request::get(format!("http://example.com{path}"));
    let entries = entries(
        "level ERROR",
        "error /bad 500\nrespond ok",
        vec![to("/good"), to("/bad")],
    );
    assert_eq!(entries.len(), 1);
    assert!(entries[0].starts_with("{\"level\":\"error\""));
    assert!(entries[0].contains("\"status\":500"));
}

#[test]
fn routes_decide_what_is_logged() {
    let to = |path: &str| Request::get(format!("http://example.com{path}"));
    let entries = entries(
        "",
        "log_skip /quiet\nlog_append kind \"{path}\"\nrespond {http.request.uuid}",
        vec![to("/quiet"), to("/loud")],
    );
    assert_eq!(entries.len(), 1);
    let entry: Value = serde_json::from_str(&entries[0]).unwrap();
    assert_eq!(entry["kind"], "/loud");
    assert_eq!(entry["uuid"].as_str().unwrap().len(), 36);
}

#[test]
fn unsupported_outputs_are_errors() {
    let errors =
        crate::testing::errors("http:// {\nlog {\noutput net localhost:9000\n}\nrespond ok\n}");
    assert_eq!(
        errors,
        ["logging.logs.log0.writer: the log output `net` is not supported"]
    );
}

#[test]
fn files_are_rolled_by_size() {
    use std::io::Write as _;

    use super::roll::{Rolling, RollingFile};
    use crate::compile::{CompileContext, Scope};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let document = serde_json::json!({"filename": path, "roll_size_mb": 1, "roll_keep": 2});
    let mut scope = Scope::new("", CompileContext::default());
    let rolling = Rolling::compile(&serde_json::from_value(document).unwrap(), &mut scope);
    let mut file = RollingFile::new(rolling.unwrap());
    let entry = vec![b'x'; 700 * 1024];
    for _ in 0..4 {
        file.write_all(&entry).unwrap();
        // Names of set-aside files tell milliseconds.
        std::thread::sleep(Duration::from_millis(5));
    }
    file.flush().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names[0].starts_with("access-2") && names[0].ends_with(".log.gz"),
        "{names:?}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), entry.len() as u64);
}

#[test]
fn lines_are_in_the_common_log_format() {
    for format in [
        "format single_field common_log",
        "format formatted",
        "format transform \"{common_log}\"",
    ] {
        let entries = entries(format, "respond hello 201", vec![request()]);
        let [line] = entries.as_slice() else {
            panic!("{format}: {entries:?}");
        };
        let (before, after) = line.split_once('[').unwrap();
        assert_eq!(before, "192.0.2.1 - - ", "{format}");
        let (time, after) = after.split_once(']').unwrap();
        assert!(time.ends_with(" +0000"), "{format}: {time}");
        assert_eq!(after, " \"GET /a?b=c HTTP/1.1\" 201 5", "{format}");
    }
}

#[test]
fn text_of_clients_cannot_end_its_quotes_in_a_line() {
    let agent = Request::get("http://example.com/").header("user-agent", "a\" 200 \"b");
    let entries = entries(
        "format transform \"\\\"{request>headers>User-Agent>[0]}\\\"\"",
        "respond hello",
        vec![agent],
    );
    assert_eq!(entries, [r#""a\" 200 \"b""#]);
}

#[test]
fn log_may_be_chosen_that_no_host_has() {
    let entries = entries(
        "no_hostname",
        "log_name /chosen log0\nrespond hello",
        vec![
            Request::get("http://example.com/chosen"),
            Request::get("http://example.com/other"),
        ],
    );
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].contains("/chosen"));
}
