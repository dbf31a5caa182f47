use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::render;

/// Files in memory, by path.
struct Files(BTreeMap<&'static str, &'static str>);

impl Files {
    fn new<const N: usize>(files: [(&'static str, &'static str); N]) -> Self {
        Self(files.into())
    }
}

impl Loader for Files {
    fn glob(&self, importer: &str, pattern: &str) -> io::Result<Vec<String>> {
        let folder = importer.rsplit_once('/').map_or("", |(folder, _)| folder);
        let pattern = if folder.is_empty() {
            pattern.to_owned()
        } else {
            format!("{folder}/{pattern}")
        };
        let matches = |name: &str| match pattern.split_once('*') {
            Some((start, end)) => name
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end))
                .is_some_and(|matched| !matched.contains('/')),
            None => name == pattern,
        };
        Ok(self
            .0
            .keys()
            .filter(|name| matches(name))
            .map(|name| (*name).to_owned())
            .collect())
    }

    fn read(&self, name: &str) -> io::Result<String> {
        self.0
            .get(name)
            .map(|text| (*text).to_owned())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn parsed(text: &str, files: &dyn Loader) -> Parsed {
    parse("Caddyfile", text, files, &|_| None)
}

/// One line per block and directive: the words, quoted ones in quotes.
fn outline(parsed: &Parsed) -> String {
    let words = |tokens: &[Token]| {
        let word = |token: &Token| match token.quote {
            crate::token::Quote::None => token.text.clone(),
            _ => format!("{:?}", token.text),
        };
        tokens.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    let mut lines = Vec::new();
    for block in &parsed.blocks {
        let kind = if block.is_named_route {
            "route"
        } else {
            "block"
        };
        let braces = if block.has_braces { " braces" } else { "" };
        lines.push(format!("{kind} [{}]{braces}", words(&block.keys)));
        lines.extend(
            block
                .segments
                .iter()
                .map(|segment| format!("  {}", words(&segment.tokens))),
        );
    }
    lines.join("\n")
}

fn accepted(text: &str, files: &dyn Loader) -> String {
    let parsed = parsed(text, files);
    assert_eq!(render(&parsed.diagnostics, &parsed.sources), "");
    outline(&parsed)
}

fn findings(text: &str, files: &dyn Loader) -> String {
    let parsed = parsed(text, files);
    assert!(!parsed.diagnostics.is_empty());
    render(&parsed.diagnostics, &parsed.sources)
}

#[test]
fn blocks_and_directives() {
    let text = "{\n\tdebug\n}\n\na.com, b.com,\nc.com {\n\troot * /srv\n\thandle /x* {\n\t\trespond \"a b\" 200\n\t}\n\tfile_server\n}\n";
    insta::assert_snapshot!(accepted(text, &NoFiles), @r#"
    block [] braces
      debug
    block [a.com b.com c.com] braces
      root * /srv
      handle /x* { respond "a b" 200 }
      file_server
    "#);
}

#[test]
fn the_only_site_needs_no_braces() {
    insta::assert_snapshot!(accepted("localhost\n\nrespond hi\nlog {\n}\n", &NoFiles), @"
    block [localhost]
      respond hi
      log { }
    ");
    insta::assert_snapshot!(accepted("localhost", &NoFiles), @"block [localhost]");
    insta::assert_snapshot!(accepted("", &NoFiles), @"");
}

#[test]
fn addresses_are_split_by_space_comma_and_line() {
    insta::assert_snapshot!(accepted("a.com b.com ,\nc.com,\n\n:8080 {\n}\n", &NoFiles), @"block [a.com b.com c.com :8080] braces");
}

#[test]
fn snippets_are_imported_with_arguments() {
    let text = "(proxy) {\n\theader X {args[0]}\n\treverse_proxy {args[1:]}\n}\na.com {\n\timport proxy {host} web:1 web:2\n\trespond hi\n}\n";
    insta::assert_snapshot!(accepted(text, &NoFiles), @"
    block [a.com] braces
      header X {host}
      reverse_proxy web:1 web:2
      respond hi
    ");
}

#[test]
fn snippets_are_imported_with_blocks() {
    let text = "(site) {\n\thandle {\n\t\t{block}\n\t}\n\tlog {\n\t\t{blocks.log}\n\t}\n}\na.com {\n\timport site {\n\t\trespond hi\n\t\tlog {\n\t\t\toutput stdout\n\t\t}\n\t}\n\tencode gzip\n}\n";
    insta::assert_snapshot!(accepted(text, &NoFiles), @"
    block [a.com] braces
      handle { respond hi log { output stdout } }
      log { output stdout }
      encode gzip
    ");
}

#[test]
fn blocks_that_were_not_handed_over_are_empty() {
    let files = Files::new([("file", "(inner) {\n\t{block}\n\trespond {args[0]}\n}\n")]);
    let text = "(a) {\n\tlog {block}\n\t{blocks.x}\n}\na.com {\n\timport a {\n\t}\n}\n";
    insta::assert_snapshot!(accepted(text, &NoFiles), @"
    block [a.com] braces
      log
    ");
    let text = "import file zero\na.com {\n\timport inner x {\n\t\tlog\n\t}\n}\n";
    insta::assert_snapshot!(accepted(text, &files), @"
    block [a.com] braces
      log
      respond x
    ");
}

#[test]
fn snippets_may_import_snippets_and_named_routes_import_them() {
    let text = "(a) {\n\trespond {args[0]}\n}\n(b) {\n\timport a {args[0]}-b\n}\n&(route) {\n\timport b x\n}\na.com {\n\tinvoke route\n}\n";
    insta::assert_snapshot!(accepted(text, &NoFiles), @"
    route [route] braces
      route { respond x-b }
    block [a.com] braces
      invoke route
    ");
}

#[test]
fn files_are_imported_by_pattern() {
    let files = Files::new([
        ("common", "(log) {\n\tlog {args[0]}\n}\n"),
        ("sites/.hidden", "hidden.com {\n}\n"),
        ("sites/a", "a.com {\n\timport inner/x\n\timport log a\n}\n"),
        ("sites/b", "b.com {\n}\n"),
        ("sites/inner/x", "respond x\n"),
    ]);
    insta::assert_snapshot!(accepted("import common\nimport sites/*\n\nc.com {\n}\n", &files), @"
    block [a.com] braces
      respond x
      log a
    block [b.com] braces
    block [c.com] braces
    ");
}

#[test]
fn several_errors_are_found_at_once() {
    let text = "(a) {\n}\n(a) {\n}\na.com {\n\timport missing\n\timport b\n}\n(b) {\n}\n";
    insta::assert_snapshot!(findings(text, &NoFiles), @"
    Caddyfile:3:1: redeclaration of previously declared snippet `a`
      |
    3 | (a) {
      | ^^^

    Caddyfile:6:9: file to import not found: `missing`
      |
    6 |     import missing
      |            ^^^^^^^

    Caddyfile:7:9: file to import not found: `b`
      |
    7 |     import b
      |            ^
      |
      = hint: did you mean `a`?
    ");
}

#[test]
fn brace_errors() {
    insta::assert_snapshot!(findings("a.com {\n\trespond hi\n", &NoFiles), @"
    Caddyfile:1:7: this block is never closed: expecting `}`
      |
    1 | a.com {
      |       ^
    ");
    insta::assert_snapshot!(findings("a.com {\n\thandle {\n\t\trespond hi\n", &NoFiles), @"
    Caddyfile:2:9: this block is never closed: expecting `}`
      |
    2 |     handle {
      |            ^
    ");
    insta::assert_snapshot!(findings("a.com {\n\thandle {\n\t\trespond hi\n}\n", &NoFiles), @"
    Caddyfile:1:7: warning: this block is never closed: expecting `}`
      |
    1 | a.com {
      |       ^
    ");
    insta::assert_snapshot!(findings("a.com {\n\trespond hi }\n}\n", &NoFiles), @"
    Caddyfile:2:13: unexpected `}` because there is no matching opening brace
      |
    2 |     respond hi }
      |                ^
      |
      = hint: put the `}` that ends a block on a line of its own
    ");
    insta::assert_snapshot!(findings("a.com {\n}\n}\n", &NoFiles), @"
    Caddyfile:3:1: unexpected `}` because there is no block to close
      |
    3 | }
      | ^
    ");
    insta::assert_snapshot!(findings("a.com {\n\thandle { respond hi\n}\n}\n", &NoFiles), @"
    Caddyfile:2:11: unexpected token after `{` on the same line
      |
    2 |     handle { respond hi
      |              ^^^^^^^
      |
      = hint: put what the block holds on lines of its own
    ");
    insta::assert_snapshot!(findings("a.com {\n\thandle\n\t{\n\t}\n}\n", &NoFiles), @"
    Caddyfile:3:2: unexpected `{` on a new line
      |
    3 |     {
      |     ^
      |
      = hint: place the `{` at the end of the previous line
    ");
    insta::assert_snapshot!(findings("a.com {\n\thandle {}\n}\n", &NoFiles), @"
    Caddyfile:2:9: unexpected `{}` at the end of the line
      |
    2 |     handle {}
      |            ^^
      |
      = hint: leave an empty block out, or put a line break into it
    ");
    insta::assert_snapshot!(findings("a.com {\n\thandle{\n\t\trespond hi\n\t}\n}\n", &NoFiles), @"
    Caddyfile:5:1: unexpected `}` because there is no block to close
      |
    5 | }
      | ^
      |
      = hint: put a space before the brace of `handle{` in line 2, so that it opens a block
    ");
    insta::assert_snapshot!(findings("(a)\nrespond hi\n", &NoFiles), @"
    Caddyfile:1:1: expected `{` after `(a)`
      |
    1 | (a)
      | ^^^
    ");
}

#[test]
fn address_errors() {
    insta::assert_snapshot!(findings("a.com{\n}\n", &NoFiles), @"
    Caddyfile:1:1: site addresses cannot end with a curly brace: `a.com{`
      |
    1 | a.com{
      | ^^^^^^
      |
      = hint: put a space between the address and the brace
    ");
    insta::assert_snapshot!(findings("a.com,b.com {\n}\n", &NoFiles), @"
    Caddyfile:1:1: site addresses cannot contain a comma: `a.com,b.com`
      |
    1 | a.com,b.com {
      | ^^^^^^^^^^^
      |
      = hint: put a space after the comma to separate site addresses
    ");
    insta::assert_snapshot!(findings("a.com, {\n}\n", &NoFiles), @"
    Caddyfile:1:8: expected another address before `{`: check for extra comma
      |
    1 | a.com, {
      |        ^
    ");
    insta::assert_snapshot!(findings("respond hi\n", &NoFiles), @"
    Caddyfile:1:1: parsed `respond` as a site address, but it is a known directive; directives must appear in a site block
      |
    1 | respond hi
      | ^^^^^^^
      |
      = hint: look for a `}` too many before it, or for a missing site address
    ");
    insta::assert_snapshot!(findings("a.com,\n", &NoFiles), @"
    Caddyfile:1:1: expected another address after the comma
      |
    1 | a.com,
      | ^^^^^^
    ");
    insta::assert_snapshot!(findings("@api path /api\n", &NoFiles), @"
    Caddyfile:1:1: request matchers may not be defined globally, they must be in a site block; found `@api`
      |
    1 | @api path /api
      | ^^^^
    ");
}

#[test]
fn import_errors() {
    let files = Files::new([
        ("x", "respond <<END\n"),
        ("y", "import y\n"),
        ("empty", " \n"),
    ]);
    insta::assert_snapshot!(findings("a.com {\n\timport\n}\n", &files), @"
    Caddyfile:2:2: wrong argument count or unexpected line ending after `import`
      |
    2 |     import
      |     ^^^^^^
    ");
    insta::assert_snapshot!(findings("a.com {\n\timport \"\"\n}\n", &files), @r#"
    Caddyfile:2:9: import requires a non-empty file path
      |
    2 |     import ""
      |            ^^
    "#);
    insta::assert_snapshot!(findings("(log) {\n}\na.com {\n\timport lgo\n}\n", &files), @"
    Caddyfile:4:9: file to import not found: `lgo`
      |
    4 |     import lgo
      |            ^^^
      |
      = hint: did you mean `log`?
    ");
    insta::assert_snapshot!(findings("import sites*/*\n", &files), @"
    Caddyfile:1:8: glob pattern may only contain one wildcard (`*`), but has others: `sites*/*`
      |
    1 | import sites*/*
      |        ^^^^^^^^
    ");
    insta::assert_snapshot!(findings("import sites/*\n", &files), @"
    Caddyfile:1:8: warning: no files match the import pattern `sites/*`
      |
    1 | import sites/*
      |        ^^^^^^^
    ");
    insta::assert_snapshot!(findings("import empty\n", &files), @"
    Caddyfile:1:8: warning: the imported file `empty` is empty
      |
    1 | import empty
      |        ^^^^^
    ");
    insta::assert_snapshot!(findings("a.com {\n\timport x\n}\n", &files), @"
    x:1:9: incomplete heredoc <<END, expected ending marker END
      |
    1 | respond <<END
      |         ^^^^^
      |
      = note: imported at Caddyfile:2:2
    ");
    insta::assert_snapshot!(findings("import y\n", &files), @"
    y:1:1: a cycle of imports exists between `y` and `y`
      |
    1 | import y
      | ^^^^^^
      |
      = note: imported at Caddyfile:1:1
    ");
    insta::assert_snapshot!(findings("(a) {\n\timport b\n}\n(b) {\n\timport a\n}\na.com {\n\timport a\n}\n", &files), @"
    Caddyfile:5:2: a cycle of imports exists between `Caddyfile:b` and `Caddyfile:a`
      |
    5 |     import a
      |     ^^^^^^
      |
      = note: snippet `b` is imported at Caddyfile:2:2
      = note: snippet `a` is imported at Caddyfile:8:2
    ");
    insta::assert_snapshot!(findings("(a) {\n}\na.com {\n\timport a {\n\t\t{\n\t\t}\n\t}\n}\n", &files), @"
    Caddyfile:5:3: anonymous blocks are not supported
      |
    5 |         {
      |         ^
    ");
    insta::assert_snapshot!(findings("(a) {\n\trespond {args[1]} {args[3:]}\n}\na.com {\n\timport a x\n}\n", &files), @"
    Caddyfile:2:10: warning: `{args[1]}` is out of bounds: the import has 1 argument
      |
    2 |     respond {args[1]} {args[3:]}
      |             ^^^^^^^^^
      |
      = note: snippet `a` is imported at Caddyfile:5:2

    Caddyfile:2:20: warning: `{args[3:]}` is out of bounds: the import has 1 argument
      |
    2 |     respond {args[1]} {args[3:]}
      |                       ^^^^^^^^^^
      |
      = note: snippet `a` is imported at Caddyfile:5:2
    ");
}

#[test]
fn imports_that_multiply_are_stopped() {
    let mut text = String::from("(s0) {\n\trespond hi\n}\n");
    for level in 1..40 {
        text += &format!(
            "(s{level}) {{\n\timport s{0}\n\timport s{0}\n}}\n",
            level - 1
        );
    }
    text += "a.com {\n\timport s39\n}\n";
    let parsed = parsed(&text, &NoFiles);
    assert_eq!(parsed.diagnostics.len(), 1);
    assert_eq!(
        parsed.diagnostics[0].message,
        "the imports of this file grow too large"
    );
}

#[test]
fn arguments_and_blocks_that_multiply_are_stopped() {
    let twice = |what: &str| {
        let mut text = String::from("(s0) {\n\trespond x\n}\n");
        for level in 1..60 {
            text += &format!("(s{level}) {{\n\timport s{} {what}\n}}\n", level - 1);
        }
        text
    };
    for text in [
        twice("{args[0]}{args[0]}") + "a.com {\n\timport s59 twice\n}\n",
        twice("{args[:]} {args[:]}") + "a.com {\n\timport s59 a b\n}\n",
        twice("{\n\t\t{block}\n\t\t{block}\n\t}") + "a.com {\n\timport s59 {\n\t\tlog\n\t}\n}\n",
    ] {
        let parsed = parsed(&text, &NoFiles);
        assert_eq!(
            parsed.diagnostics[0].message,
            "the imports of this file grow too large"
        );
    }
}

#[test]
fn many_imports_are_no_bomb() {
    let mut text = String::from("(common) {\n\tencode gzip\n\tlog\n}\n");
    for number in 0..20_000 {
        text += &format!("site{number}.test {{\n\timport common\n}}\n");
    }
    let parsed = parsed(&text, &NoFiles);
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.blocks.len(), 20_000);
}

proptest! {
    #[test]
    fn any_text_is_parsed(
        text in "(a\\.com|,|import|\\(s\\)|&\\(r\\)|s|x|\\{block\\}|\\{args\\[0?:?1?\\]\\}| |\n|\\{\n|\n\\}\n|\\{|\\}|\"|`|@m|respond){0,60}"
    ) {
        let files = Files::new([("x", "respond {args[0]}\nimport s {\n a b\n}\n"), ("s", "import x y\n")]);
        let _ = parsed(&text, &files);
    }
}
