use http::Response;
use serde_json::json;

use super::probe::Probe;
use super::*;
use crate::compile::Scope;
use crate::reverse_proxy::transport::Transport;
use crate::testing::{run, upstream};

fn compile(active: serde_json::Value, dial: &str) -> Result<Option<Arc<Check>>, Vec<String>> {
    let document = serde_json::from_value(active).unwrap();
    let mut scope = Scope::default();
    let transport = Transport::compile(None, &mut scope);
    let plan = Plan::compile(&document, None, &mut scope);
    let check = plan.and_then(|plan| plan.check(dial, &transport, &mut scope));
    let errors = scope.into_errors();
    if errors.is_empty() {
        Ok(check)
    } else {
        Err(errors.iter().map(ToString::to_string).collect())
    }
}

fn check(active: serde_json::Value, dial: &str) -> Arc<Check> {
    compile(active, dial).unwrap().unwrap()
}

#[test]
fn changes_take_as_many_answers_in_a_row() {
    let check = check(json!({"uri": "/", "fails": 2, "passes": 3}), "row.test:1");
    let bad = || Err("503".to_owned());
    for (answer, change, is_up) in [
        (Ok(()), Change::None, true),
        (bad(), Change::None, true),
        (Ok(()), Change::None, true),
        (bad(), Change::None, true),
        (bad(), Change::Down, false),
        (bad(), Change::None, false),
        (Ok(()), Change::None, false),
        (Ok(()), Change::None, false),
        (Ok(()), Change::Up, true),
    ] {
        assert_eq!(check.count(answer), change);
        assert_eq!(check.is_up(), is_up);
    }
}

#[test]
fn reports_say_what_was_wrong() {
    let said = || report("report.test:1");
    assert_eq!(said(), None);
    let check = check(json!({"uri": "/"}), "report.test:1");
    assert_eq!(said().unwrap(), (true, "not checked yet".to_owned()));
    check.count(Err("no answer".to_owned()));
    assert_eq!(said().unwrap(), (false, "down: no answer".to_owned()));
    check.count(Ok(()));
    assert_eq!(said().unwrap(), (true, "up".to_owned()));
    drop(check);
    assert_eq!(said(), None);
}

#[test]
fn an_unchanged_check_stays_what_it_is() {
    let active = json!({"uri": "/", "expect_body": "ok"});
    let before = check(active.clone(), "same.test:1");
    before.count(Err("503".to_owned()));
    assert!(!check(active.clone(), "same.test:1").is_up());
    let other = json!({"uri": "/other", "expect_body": "ok"});
    assert!(check(other, "same.test:1").is_up());
    assert!(check(active, "another.test:1").is_up());
}

#[test]
fn what_is_asked_follows_the_configuration() {
    let dial = |active| check(active, "web:8000").settings.dial.to_string();
    assert_eq!(dial(json!({"uri": "/"})), "web:8000");
    assert_eq!(dial(json!({"port": 9000})), "web:9000");
    let stand_in = json!({"uri": "/", "upstream": "health:1", "port": 9000});
    assert_eq!(dial(stand_in), "health:1");
    let plain = check(json!({"path": "health"}), "unix//run/a.sock");
    assert_eq!(&*plain.settings.uri, "/health");
    assert_eq!(plain.settings.interval, Duration::from_secs(30));
    assert_eq!(plain.settings.timeout, Duration::from_secs(5));
    // Caddy: an interval alone asks for nothing.
    assert!(
        compile(json!({"interval": "1s"}), "web:8000")
            .unwrap()
            .is_none()
    );
}

#[test]
fn mistakes_are_refused() {
    for (active, said) in [
        (
            json!({"uri": "/", "expect_body": "("}),
            "regular expression",
        ),
        (json!({"uri": "/", "method": "A B"}), "no method"),
        (json!({"uri": "/", "upstream": "health"}), "no port"),
        (
            json!({"uri": "/", "headers": {"A B": ["1"]}}),
            "no name of a field",
        ),
    ] {
        let errors = compile(active, "web:8000").unwrap_err();
        assert!(errors[0].contains(said), "{errors:?}");
    }
}

#[test]
fn answers_are_judged() {
    run(async {
        let address = upstream(|head, body| {
            let status = match head.uri.path() {
                "/moved" => 302,
                "/teapot" => 418,
                _ => 200,
            };
            let host = head.headers["host"].to_str().unwrap();
            let agent = head.headers["user-agent"].to_str().unwrap();
            Response::builder()
                .status(status)
                .header("location", "http://elsewhere.test/here")
                .body(format!(
                    "{} {} {host} {agent} {body}",
                    head.method, head.uri
                ))
                .unwrap()
        })
        .await;
        let ask = async |active: serde_json::Value| {
            let check = check(active, &address);
            let resolver = proto::sidecar::dns::Resolver::from_system().unwrap();
            let probe = Probe::new(&check.settings, resolver).unwrap();
            probe.ask(&check.settings).await
        };
        for active in [
            json!({"uri": "/ok?deep"}),
            json!({"uri": "/teapot", "expect_status": 418}),
            json!({"uri": "/teapot", "expect_status": 4}),
            json!({"uri": "/", "expect_body": format!("^GET / {address} Portico/")}),
            json!({"uri": "/", "method": "PUT", "body": "ping", "expect_body": "^PUT .* ping$"}),
            // A redirect is followed to the same upstream, whatever it names.
            json!({"uri": "/moved", "follow_redirects": true, "expect_body": "elsewhere.test"}),
        ] {
            assert_eq!(ask(active.clone()).await, Ok(()), "{active}");
        }
        for (active, said) in [
            (json!({"uri": "/moved"}), "302 Found instead of 2xx"),
            (
                json!({"uri": "/", "expect_status": 204}),
                "200 OK instead of 204",
            ),
            (
                json!({"uri": "/", "expect_body": "^no$"}),
                "does not match `^no$`",
            ),
            (
                json!({"uri": "/", "expect_body": "Portico", "max_size": 3}),
                "does not match",
            ),
        ] {
            let reason = ask(active).await.unwrap_err();
            assert!(
                reason.starts_with(&format!("GET http://{address}/")),
                "{reason}"
            );
            assert!(reason.contains(said), "{reason}");
        }
    });
}
