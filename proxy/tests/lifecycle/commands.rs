//! Commands that need no running proxy, and what those say that do.

use serde_json::{Value, json};

use crate::program::{Finished, Proxy};

#[test]
fn configuration_is_validated() {
    let proxy = Proxy::new();
    proxy.write(proxy.plain("hello"));
    let finished = proxy.run(&["validate"]);
    assert_eq!(
        (finished.code, finished.stdout.as_str()),
        (0, "Valid configuration\n")
    );

    proxy.write(
        json!({"srv0": {"listen": [proxy.http.to_string()], "routes": [
            {"handle": [{"handler": "no_such_handler"}]},
        ]}}),
    );
    let finished = proxy.run(&["validate"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(
        finished
            .stderr
            .contains("apps.http.servers.srv0.routes[0].handle[0]"),
        "{finished:?}"
    );
    assert!(finished.stderr.contains("no_such_handler"), "{finished:?}");
    assert_eq!(finished.stdout, "");
}

#[test]
fn malformed_document_is_shown_with_its_place() {
    let proxy = Proxy::new();
    std::fs::write(
        proxy.config(),
        "{\n  \"apps\": {\"http\": {\"servers\": 1}}\n}",
    )
    .unwrap();
    let finished = proxy.run(&["adapt"]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.stderr.contains("config.json:2:"), "{finished:?}");
}

#[test]
fn missing_file_is_named() {
    let proxy = Proxy::new();
    for command in ["validate", "adapt", "fmt", "serve"] {
        let finished = proxy.run(&[command]);
        assert_eq!(finished.code, 2, "{finished:?}");
        assert!(finished.stderr.contains("cannot read"), "{finished:?}");
        assert!(
            finished.stderr.contains("config.json (--config)"),
            "{finished:?}"
        );
    }
}

#[test]
fn caddyfile_with_imports_is_adapted() {
    let proxy = Proxy::new();
    let folder = proxy.folder.path();
    std::fs::create_dir(folder.join("sites")).unwrap();
    std::fs::write(folder.join("Caddyfile"), "import sites/*\n").unwrap();
    std::fs::write(
        folder.join("sites/one"),
        "http://one.test {\n\trespond one\n}\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("sites/two"),
        "http://two.test {\n\trespond two\n}\n",
    )
    .unwrap();
    let caddyfile = folder.join("Caddyfile").display().to_string();

    let finished = proxy.run(&["adapt", &caddyfile]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let document: Value = serde_json::from_str(&finished.stdout).unwrap();
    let routes = &document["apps"]["http"]["servers"]["srv0"]["routes"];
    assert_eq!(routes[0]["match"], json!([{"host": ["one.test"]}]));
    assert_eq!(routes[1]["match"], json!([{"host": ["two.test"]}]));

    let pretty = proxy.run(&["adapt", "--pretty", "--config", &caddyfile]);
    assert!(
        pretty.stdout.starts_with("{\n\t\"apps\": {\n"),
        "{pretty:?}"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&pretty.stdout).unwrap(),
        document
    );
}

#[test]
fn mistake_in_a_caddyfile_is_shown_with_its_place() {
    let proxy = Proxy::new();
    let path = proxy.folder.path().join("Caddyfile");
    std::fs::write(&path, "http://a.test {\n\treverse_prxy web:8000\n}\n").unwrap();
    let finished = proxy.run(&["validate", path.to_str().unwrap()]);
    assert_eq!(finished.code, 2, "{finished:?}");
    assert!(finished.stderr.contains("Caddyfile:2:2: "), "{finished:?}");
    assert!(finished.stderr.contains("reverse_proxy"), "{finished:?}");
}

#[test]
fn what_compiling_finds_is_shown_with_its_place_and_imports() {
    let proxy = Proxy::new();
    let path = proxy.folder.path().join("Caddyfile");
    let text = "(shared) {\n\t@odd expression now() == 1\n\trespond @odd odd\n}\n\
                a.test {\n\timport shared\n\trespond ok 99999\n\
                \ttls /no/cert.pem /no/key.pem\n}\n";
    std::fs::write(&path, text).unwrap();
    let finished = proxy.run(&["validate", path.to_str().unwrap()]);
    assert_eq!(finished.code, 2, "{finished:?}");
    for part in [
        "Caddyfile:2:2: the expression `now() == 1` is not supported",
        "snippet `shared` is imported at",
        "Caddyfile:7:2: `99999` is no status",
        "Caddyfile:8:6: cannot read certificates from /no/cert.pem",
    ] {
        assert!(finished.stderr.contains(part), "{part} in {finished:?}");
    }
    assert!(!finished.stderr.contains("apps.http"), "{finished:?}");
}

#[test]
fn what_servers_and_tls_cannot_do_is_shown_with_its_place() {
    let proxy = Proxy::new();
    let path = proxy.folder.path().join("Caddyfile");
    for (text, parts) in [
        (
            "{\n\tservers {\n\t\ttrusted_proxies static 10.0.0.0/99\n\t}\n}\na.test {\n\trespond ok\n}\n",
            ["Caddyfile:2:2: ", "10.0.0.0/99"],
        ),
        (
            "a.test {\n\ttls {\n\t\tprotocols tls1.3 tls1.2\n\t}\n}\n",
            ["Caddyfile:2:2: ", "these TLS versions cannot be spoken"],
        ),
        (
            "{\n\tkey_type p256\n}\na.test {\n\ttls internal\n}\nb.test {\n\ttls {\n\t\tkey_type p999\n\t}\n}\n",
            ["Caddyfile:8:2: ", "p999"],
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let finished = proxy.run(&["validate", path.to_str().unwrap()]);
        assert_eq!(finished.code, 2, "{finished:?}");
        for part in parts {
            assert!(finished.stderr.contains(part), "{part} in {finished:?}");
        }
    }
}

#[test]
fn likely_mistake_is_a_warning_and_no_error() {
    let proxy = Proxy::new();
    let path = proxy.folder.path().join("Caddyfile");
    std::fs::write(&path, "http://a.test {\n\troot /srv\n\trespond ok\n}\n").unwrap();
    let finished = proxy.run(&["validate", path.to_str().unwrap()]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let warning = "Caddyfile:2:2: warning: nothing uses this `root`";
    assert!(finished.stderr.contains(warning), "{finished:?}");
}

#[test]
fn way_of_a_request_is_explained() {
    let proxy = Proxy::new();
    let path = proxy.folder.path().join("Caddyfile");
    let text = "a.test {\n\t@post method POST\n\thandle @post {\n\t\trespond posted\n\t}\n\
                \thandle_path /static/* {\n\t\troot /srv\n\t\tfile_server\n\t}\n\
                \thandle {\n\t\treverse_proxy web:8000\n\t}\n}\n";
    std::fs::write(&path, text).unwrap();
    let explain = |arguments: &[&str]| {
        let mut all = vec!["explain", "--config", path.to_str().unwrap()];
        all.extend(arguments);
        let finished = proxy.run(&all);
        assert_eq!(finished.code, 0, "{finished:?}");
        finished.stdout
    };

    let text = explain(&["https://a.test/static/app.css?v=1"]);
    for part in [
        "Caddyfile:3:2: if method POST -> passed over: `method` does not match",
        "Caddyfile:6:2: if path /static/* -> taken",
        "answer: serves /app.css below `/srv`",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("web:8000"), "{text}");

    let posted = explain(&["a.test/x", "--method", "POST", "--header", "X-A: b"]);
    assert!(posted.contains("answer: 200 OK"), "{posted}");
    let redirected = explain(&["http://a.test/x"]);
    assert!(
        redirected.contains("answer: 308 Permanent Redirect, https://a.test/x"),
        "{redirected}"
    );

    let json: Value = serde_json::from_str(&explain(&["https://a.test/x", "--json"])).unwrap();
    assert_eq!(json["answer"], "forwards GET /x");
    let steps = json["steps"].as_array().unwrap();
    let last = steps.last().unwrap();
    assert_eq!(last["text"], "reverse_proxy web:8000");
    assert_eq!(last["result"], "answers");

    let nowhere = proxy.run(&[
        "explain",
        "--config",
        path.to_str().unwrap(),
        "https://a.test:9/",
    ]);
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(
        nowhere.stderr.contains("nothing listens on port 9"),
        "{nowhere:?}"
    );
}

#[test]
fn caddyfile_is_formatted() {
    let proxy = Proxy::new();
    let path = proxy.folder.path().join("Caddyfile");
    std::fs::write(&path, "a.test   {\nrespond   hi\n}\n").unwrap();
    let name = path.to_str().unwrap();
    let formatted = "a.test {\n\trespond hi\n}\n";
    let finished = proxy.run(&["fmt", name]);
    assert_eq!((finished.code, finished.stdout.as_str()), (0, formatted));
    assert_ne!(std::fs::read_to_string(&path).unwrap(), formatted);
    let finished = proxy.run(&["fmt", "--overwrite", name]);
    assert_eq!((finished.code, finished.stdout.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), formatted);
}

#[test]
fn proxy_that_does_not_run_is_not_reached() {
    let proxy = Proxy::new();
    for command in [
        &["health"][..],
        &["reload"],
        &["status"],
        &["status", "--json"],
    ] {
        let finished = proxy.run(command);
        assert_eq!(finished.code, 1, "{finished:?}");
        assert!(finished.stderr.contains("cannot reach"), "{finished:?}");
        assert!(finished.stderr.contains("(--admin)"), "{finished:?}");
    }
}

#[test]
fn switch_is_set_by_any_value_but_a_negative_one() {
    let proxy = Proxy::new();
    for value in ["1", "true", "yes", "0", "false", "no", ""] {
        let mut command = proxy.command(&["serve"]);
        let finished = Finished::from(command.env("PORTICO_WATCH", value).output().unwrap());
        assert!(
            finished.stderr.contains("cannot read"),
            "{value}: {finished:?}"
        );
    }
}

#[test]
fn usage_error_exits_with_2() {
    let proxy = Proxy::new();
    assert_eq!(proxy.run(&["serve", "--no-such-flag"]).code, 2);
    assert_eq!(proxy.run(&["health", "--admin", "nowhere"]).code, 2);
    let help = proxy.run(&["serve", "--help"]).stdout;
    for fact in [
        "/etc/caddy/Caddyfile",
        "https://cert-manager:7070",
        "127.0.0.1:9080",
        "/control",
    ] {
        assert!(help.contains(fact), "{fact} in {help}");
    }
}
