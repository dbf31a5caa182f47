//! Expressions: what they mean, and which are refused.

use http::Request;

use crate::compile::{CompileContext, Scope};
use crate::error::{Error, Side};
use crate::matcher::expression::ExpressionMatcher;
use crate::testing::{Site, run};

fn compile(expression: &str) -> Result<ExpressionMatcher, String> {
    let mut scope = Scope::new("", CompileContext::default());
    let document = caddyfile::document::Expression {
        expr: expression.to_owned(),
        name: "it".to_owned(),
    };
    let compiled = ExpressionMatcher::compile(&document, &mut scope);
    let errors = scope.into_errors();
    match compiled {
        Some(compiled) if errors.is_empty() => Ok(compiled),
        _ => Err(errors[0].message.clone()),
    }
}

#[test]
fn expressions_are_evaluated() {
    let site = Site::new("http:// {\n}");
    let request = Request::get("http://example.com:8080/a/b?page=2").header("x-one", "1");
    let mut exchange = site.exchange(request);
    let not_found = Error::new(http::StatusCode::NOT_FOUND, Side::Downstream, "");
    exchange.error = Some(not_found);
    for (expression, expected) in [
        ("{http.error.status_code} == 404", true),
        (
            "{http.error.status_code} >= 500 && {http.error.status_code} <= 599",
            false,
        ),
        (
            "{http.error.status_code} >= 500 && {http.error.status_code} <= 599 \
             || {http.error.status_code} in [404, 410]",
            true,
        ),
        ("{http.error.status_code} in []", false),
        ("{http.request.method} == 'GET'", true),
        ("{http.request.method} in [\"PUT\", \"GET\"]", true),
        ("{http.request.method} == 1", false),
        ("{http.request.method} != 1", true),
        ("{http.request.method} < 1 || true", true),
        ("!({http.request.port} > 8000)", false),
        ("{http.request.uri.path}.startsWith('/a')", true),
        ("{http.request.host}.upperAscii().endsWith(\"COM\")", true),
        ("{http.request.host}.size() == 11", true),
        ("{http.request.uri}.matches('page=[0-9]+$')", true),
        ("{http.request.uri}.contains('\\'')", false),
        ("path('/a/*') && method('GET', 'HEAD')", true),
        ("path('/x/*') || host('other.com')", false),
        (
            "header({'X-One': '1'}) && query({'page': ['1', '2']})",
            true,
        ),
        ("protocol('https')", false),
        ("remote_ip('192.0.2.0/24')", true),
        ("path_regexp('^/(.)/')", true),
        ("path_regexp('name', '^/(.)/')", true),
        ("header_regexp('X-One', '2')", false),
        ("int({http.request.uri.query.page}) + 1 == 3", true),
        ("double('1.5') * 2.0 == 3.0", true),
        ("7 / 2 == 3 && 7 % 2 == 1 && -1 < 0", true),
        ("1 / 0 == 0 || 1 == 1", true),
        ("1 == 1.0", true),
        ("'a' + {http.request.method} == 'aGET'", true),
        (
            "size({http.request.method}) == 3 && size([1, 2]) == 2",
            true,
        ),
        ("string(4) + 'x' in ['4x'] + ['y']", true),
        ("{http.request.method} == 'GET' ? false : true", false),
        ("path('/x') ? true : method('POST') ? true : 1 == 1", true),
        ("{http.request.uri.path}.startsWith('/' + 'a')", true),
    ] {
        let matcher = compile(expression).unwrap();
        assert_eq!(
            matcher.matches(&mut exchange).unwrap(),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn what_cannot_be_evaluated_is_an_error_of_the_request() {
    let site = Site::new(
        "http:// {
            @big expression int({query.n}) > 5
            @small not expression int({query.n}) > 5
            @mixed expression {method} < 1
            route /not/* {
                respond @small small
            }
            route /mixed/* {
                respond @mixed mixed
            }
            respond @big big
            respond small
            handle_errors {
                respond \"error {err.status_code}\"
            }
        }",
    );
    run(async {
        for (target, status, body) in [
            ("/?n=6", 200, "big"),
            ("/?n=5", 200, "small"),
            ("/?n=x", 500, "error 500"),
            ("/not/?n=x", 500, "error 500"),
            ("/mixed/", 500, "error 500"),
        ] {
            let answer = site.get(target).await;
            assert_eq!(answer.status, status, "{target}");
            assert_eq!(answer.body, body, "{target}");
        }
    });
}

#[test]
fn other_expressions_are_refused() {
    for (expression, problem) in [
        ("1 +", "it ends too early"),
        ("1 & 2", "`&` means nothing in it"),
        (
            "'a'.matches({http.request.method})",
            "`matches` takes a text as it is",
        ),
        ("{http.request.method} ==", "it ends too early"),
        ("now()", "the function `now` is not known"),
        (
            "{http.request.method}.split('')",
            "the function `split` is not known",
        ),
        ("('a'", "it ends too early"),
        ("'a", "a text has no end"),
        (
            "{nothing.at.all} == 1",
            "the placeholder `{nothing.at.all}` is not known",
        ),
        ("1 2", "`2` is not expected"),
    ] {
        let error = compile(expression).unwrap_err();
        assert_eq!(
            error,
            format!("the expression `{expression}` is not supported: {problem}")
        );
    }
    assert!(
        compile(&"(".repeat(1000))
            .unwrap_err()
            .ends_with("nested too deeply")
    );
}
