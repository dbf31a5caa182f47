use super::*;
use crate::diagnostic::render;
use crate::lexer::lex;
use crate::token::Sources;

fn parse(text: &str, sources: &mut Sources) -> Result<(String, MatcherSet), Diagnostic> {
    let source = sources.add("Caddyfile", text);
    let (tokens, _) = lex(text, source, &|_| None).expect("the text can be lexed");
    let mut findings = Vec::new();
    let parsed = parse_definition(Cursor::new(&tokens), &mut findings)?;
    findings.pop().map_or(Ok(parsed), Err)
}

fn json(text: &str) -> String {
    let (_, set) = parse(text, &mut Sources::new()).expect("the definition is right");
    serde_json::to_string(&set).expect("a set can be written")
}

fn error(text: &str) -> String {
    let mut sources = Sources::new();
    let diagnostic = parse(text, &mut sources).expect_err("the definition is wrong");
    render(&[diagnostic], &sources)
}

#[test]
fn one_matcher_stands_in_the_line_of_the_name() {
    insta::assert_snapshot!(json("@a path /x /y*"), @r#"{"path":["/x","/y*"]}"#);
    insta::assert_snapshot!(json("@a method GET POST"), @r#"{"method":["GET","POST"]}"#);
    insta::assert_snapshot!(json("@a protocol http/2+"), @r#"{"protocol":"http/2+"}"#);
    insta::assert_snapshot!(json("@a tls early_data"), @r#"{"tls":{"handshake_complete":false}}"#);
}

#[test]
fn several_matchers_stand_in_a_block() {
    insta::assert_snapshot!(json("@a {\n\tpath /a\n\thost a.com\n\tpath /b\n}"), @r#"{"host":["a.com"],"path":["/a","/b"]}"#);
    insta::assert_snapshot!(json("@a {\n}"), @"{}");
    insta::assert_snapshot!(json("@a"), @"{}");
}

#[test]
fn regular_expressions_are_called_as_their_matcher() {
    insta::assert_snapshot!(json("@a path_regexp ^/x"), @r#"{"path_regexp":{"name":"a","pattern":"^/x"}}"#);
    insta::assert_snapshot!(json("@a path_regexp n ^/x"), @r#"{"path_regexp":{"name":"n","pattern":"^/x"}}"#);
    insta::assert_snapshot!(json("@a header_regexp X-A ^b"), @r#"{"header_regexp":{"X-A":{"name":"a","pattern":"^b"}}}"#);
    insta::assert_snapshot!(json("@a vars_regexp n {http.request.uri} ^b"), @r#"{"vars_regexp":{"{http.request.uri}":{"name":"n","pattern":"^b"}}}"#);
    insta::assert_snapshot!(json("@a not path_regexp ^/x"), @r#"{"not":[{"path_regexp":{"pattern":"^/x"}}]}"#);
}

#[test]
fn expressions_are_quoted_or_not() {
    insta::assert_snapshot!(json("@a `path('/x')`"), @r#"{"expression":{"expr":"path('/x')","name":"a"}}"#);
    insta::assert_snapshot!(json("@a expression `path('/x')`"), @r#"{"expression":{"expr":"path('/x')","name":"a"}}"#);
    insta::assert_snapshot!(json("@a expression {path} == \"/x\""), @r#"{"expression":"{path} == \"/x\""}"#);
    insta::assert_snapshot!(json("@a not {\n\t`a`\n\tfile /x\n}"), @r#"{"not":[{"expression":"a","file":{"try_files":["/x"]}}]}"#);
    insta::assert_snapshot!(json("@a not `path('/x')`"), @r#"{"not":[{"expression":"path('/x')"}]}"#);
}

#[test]
fn not_has_a_set_for_each_use() {
    insta::assert_snapshot!(json("@a {\n\tnot path /x\n\tnot {\n\t\thost a\n\t\tmethod GET\n\t}\n}"), @r#"{"not":[{"path":["/x"]},{"host":["a"],"method":["GET"]}]}"#);
}

#[test]
fn headers_queries_and_variables_collect_values() {
    insta::assert_snapshot!(json("@a {\n\theader x-a b\n\theader X-A c*\n\theader !X-B\n}"), @r#"{"header":{"X-A":["b","c*"],"X-B":null}}"#);
    insta::assert_snapshot!(json("@a query a=b a=c d= \"\""), @r#"{"query":{"a":["b","c"],"d":[""]}}"#);
    insta::assert_snapshot!(json("@a {\n\tvars k v w\n\tvars k x\n}"), @r#"{"vars":{"k":["v","w","x"]}}"#);
}

#[test]
fn addresses_and_files() {
    insta::assert_snapshot!(json("@a remote_ip 1.2.3.4 private_ranges"), @r#"{"remote_ip":{"ranges":["1.2.3.4","192.168.0.0/16","172.16.0.0/12","10.0.0.0/8","127.0.0.1/8","fd00::/8","::1"]}}"#);
    insta::assert_snapshot!(json("@a client_ip 10.0.0.0/8"), @r#"{"client_ip":{"ranges":["10.0.0.0/8"]}}"#);
    insta::assert_snapshot!(json("@a file"), @r#"{"file":{}}"#);
    insta::assert_snapshot!(json("@a file {\n\troot /srv\n\ttry_files {path} =404\n\ttry_policy first_exist\n\tsplit_path .php\n}"), @r#"{"file":{"root":"/srv","try_files":["{path}","=404"],"try_policy":"first_exist","split_path":[".php"]}}"#);
}

#[test]
fn mistakes_are_shown() {
    insta::assert_snapshot!(error("@a paht /x"), @"
    Caddyfile:1:4: unknown matcher `paht`
      |
    1 | @a paht /x
      |    ^^^^
      |
      = hint: did you mean `path`?
    ");
    insta::assert_snapshot!(error("@a {\n\tpath_regexp a\n\tpath_regexp b\n}"), @"
    Caddyfile:3:2: regular expression can only be used once per named matcher
      |
    3 |     path_regexp b
      |     ^^^^^^^^^^^
    ");
    insta::assert_snapshot!(error("@a path_regexp a b c"), @"
    Caddyfile:1:20: wrong argument count or unexpected line ending after `c`
      |
    1 | @a path_regexp a b c
      |                    ^
    ");
    insta::assert_snapshot!(error("@a not `a` `b`"), @"
    Caddyfile:1:12: only one expression can be here
      |
    1 | @a not `a` `b`
      |            ^^^
      |
      = hint: join expressions by `&&` or `||`
    ");
    insta::assert_snapshot!(error("@a path_regexp ^/(x"), @"
    Caddyfile:1:16: `^/(x` is no regular expression
      |
    1 | @a path_regexp ^/(x
      |                ^^^^
      |
      = hint: unclosed group
    ");
    insta::assert_snapshot!(error("@a header X-A"), @"
    Caddyfile:1:11: malformed header matcher: expected both field and value
      |
    1 | @a header X-A
      |           ^^^
    ");
    insta::assert_snapshot!(error("@a header X-A b c"), @"
    Caddyfile:1:17: malformed header matcher: only one value per line
      |
    1 | @a header X-A b c
      |                 ^
      |
      = hint: write one line per value, or quote a value with spaces
    ");
    insta::assert_snapshot!(error("@a header !X-A b"), @"
    Caddyfile:1:16: malformed header matcher: null matching headers cannot have a field value
      |
    1 | @a header !X-A b
      |                ^
    ");
    insta::assert_snapshot!(error("@a {\n\theader_regexp X a\n\theader_regexp X b\n}"), @"
    Caddyfile:3:18: header_regexp matcher can only be used once per named matcher, per header field: X
      |
    3 |     header_regexp X b
      |                     ^
    ");
    insta::assert_snapshot!(error("@a query a"), @"
    Caddyfile:1:10: malformed query matcher token: a; must be in param=val format
      |
    1 | @a query a
      |          ^
    ");
    insta::assert_snapshot!(error("@a vars k"), @"
    Caddyfile:1:9: malformed vars matcher: expected at least one value to match against
      |
    1 | @a vars k
      |         ^
    ");
    insta::assert_snapshot!(error("@a protocol"), @"
    Caddyfile:1:4: expected exactly one protocol
      |
    1 | @a protocol
      |    ^^^^^^^^
    ");
    insta::assert_snapshot!(error("@a remote_ip forwarded 10.0.0.0/8"), @"
    Caddyfile:1:14: the `forwarded` option is no longer supported
      |
    1 | @a remote_ip forwarded 10.0.0.0/8
      |              ^^^^^^^^^
      |
      = hint: use the `client_ip` matcher instead
    ");
    insta::assert_snapshot!(error("@a client_ip 10.0.0.0/8 10.0.0.0/40"), @"
    Caddyfile:1:25: `10.0.0.0/40` is no IP address and no CIDR range
      |
    1 | @a client_ip 10.0.0.0/8 10.0.0.0/40
      |                         ^^^^^^^^^^^
      |
      = hint: write for example `192.0.2.7`, `10.0.0.0/8` or `private_ranges`
    ");
    insta::assert_snapshot!(error("@a expression"), @"
    Caddyfile:1:4: wrong argument count or unexpected line ending after `expression`
      |
    1 | @a expression
      |    ^^^^^^^^^^
    ");
    insta::assert_snapshot!(error("@a file {\n\ttry_file a\n}"), @"
    Caddyfile:2:2: unrecognized subdirective `try_file` of `file`
      |
    2 |     try_file a
      |     ^^^^^^^^
      |
      = hint: did you mean `try_files`?
    ");
    insta::assert_snapshot!(error("@a path /x {\n\ty\n}"), @"
    Caddyfile:2:2: malformed path matcher: blocks are not supported
      |
    2 |     y
      |     ^
    ");
    insta::assert_snapshot!(error("@a tls early"), @"
    Caddyfile:1:8: unrecognized option `early`
      |
    1 | @a tls early
      |        ^^^^^
    ");
}
