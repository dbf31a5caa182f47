use proptest::prelude::*;

use super::*;
use crate::diagnostic::render;
use crate::token::Sources;

fn lexed(text: &str) -> Vec<Token> {
    let source = Sources::new().add("Caddyfile", text);
    lex(text, source, &|_| None).expect("the text is right").0
}

/// `row:text` of each token, with the kind of quote.
fn tokens(text: &str) -> Vec<String> {
    let show = |token: Token| match token.quote {
        Quote::None => format!("{}:{}", token.row, token.text),
        quote => format!("{}:{:?}:{}", token.row, quote, token.text),
    };
    lexed(text).into_iter().map(show).collect()
}

fn error(text: &str) -> String {
    let mut sources = Sources::new();
    let source = sources.add("Caddyfile", text);
    let diagnostic = lex(text, source, &|_| None).expect_err("the text is wrong");
    render(&[diagnostic], &sources)
}

#[test]
fn words_are_split_at_white_space() {
    assert_eq!(
        tokens("a.com {\n\troot  *\t/srv\r\n}\n"),
        ["1:a.com", "1:{", "2:root", "2:*", "2:/srv", "3:}"]
    );
}

#[test]
fn a_byte_order_mark_is_dropped() {
    let tokens = lexed("\u{feff}a.com");
    assert_eq!(tokens[0].text, "a.com");
    assert_eq!((tokens[0].span.start, tokens[0].span.column), (3, 1));
}

#[test]
fn comments_start_with_a_word() {
    assert_eq!(tokens("a # b c\nd#e"), ["1:a", "2:d#e"]);
}

#[test]
fn a_backslash_joins_lines_and_is_text_elsewhere() {
    assert_eq!(
        tokens("a \\\nb\nc\\d e\\ f"),
        ["1:a", "1:b", "3:c\\d", "3:e", "3:f"]
    );
    assert_eq!(tokens("a # b\\c\nd\ne"), ["1:a", "1:d", "3:e"]);
}

#[test]
fn quotes_keep_space_and_lines() {
    assert_eq!(tokens("\"a \\\" \\n\" b"), ["1:Double:a \" \\n", "1:b"]);
    assert_eq!(tokens("\"a\nb\" c\nd"), ["1:Double:a\nb", "2:c", "3:d"]);
    assert_eq!(tokens("`a \"b\" \\` c"), ["1:Backtick:a \"b\" \\", "1:c"]);
    assert_eq!(tokens("a\"b c\" \"\""), ["1:a\"b", "1:c\"", "1:Double:"]);
}

#[test]
fn heredocs_lose_the_indent_of_the_closing_marker() {
    let text = "respond <<END\n\t\ta\n\t\t  b\r\n\n\t\tEND 200\nnext";
    assert_eq!(
        tokens(text),
        ["1:respond", "1:Heredoc:a\n  b\n", "5:200", "6:next"]
    );
    assert_eq!(
        tokens("a \\<<b c <<d e"),
        ["1:a", "1:<<b", "1:c", "1:<<d", "1:e"]
    );
    assert_eq!(tokens("<<E\nE"), ["1:Heredoc:"]);
}

#[test]
fn environment_variables_are_syntax_and_keep_their_place() {
    let text = "a {$X} b";
    let source = Sources::new().add("Caddyfile", text);
    let (tokens, _) = lex(text, source, &|_| Some("c\n\"d e\"".to_owned())).expect("right");
    let texts: Vec<_> = tokens
        .iter()
        .map(|token| (token.text.as_str(), token.row))
        .collect();
    assert_eq!(texts, [("a", 1), ("c", 1), ("d e", 2), ("b", 2)]);
    let spans: Vec<_> = tokens
        .iter()
        .map(|token| &text[token.span.start..token.span.end])
        .collect();
    assert_eq!(spans, ["a", "{$X}", "{$X}", "b"]);
    assert_eq!(tokens[3].span.line, 1);
    assert_eq!(tokens[1].written.as_deref(), Some("{$X}"));
    assert_eq!(tokens[3].written, None);
}

#[test]
fn an_open_quote_is_a_word_with_a_warning() {
    let text = "respond \"a\n}";
    let source = Sources::new().add("Caddyfile", text);
    let (tokens, warnings) = lex(text, source, &|_| None).expect("right");
    assert_eq!(tokens[1].text, "a\n}");
    assert_eq!(warnings[0].message, "the quote `\"` is never closed");
}

#[test]
fn heredoc_errors() {
    insta::assert_snapshot!(error("respond <<END\n\thi\n"), @"
    Caddyfile:1:9: incomplete heredoc <<END, expected ending marker END
      |
    1 | respond <<END
      |         ^^^^^
    ");
    insta::assert_snapshot!(error("respond <<E!\n\thi\n"), @"
    Caddyfile:1:9: heredoc marker on line #1 must contain only alphanumeric characters, dashes and underscores; got `E!`
      |
    1 | respond <<E!
      |         ^^^^
    ");
    insta::assert_snapshot!(error("respond <<\n\thi\n"), @"
    Caddyfile:1:9: missing opening heredoc marker on line #1; must contain only alphanumeric characters, dashes and underscores
      |
    1 | respond <<
      |         ^^
    ");
    insta::assert_snapshot!(error("respond <<<END\n\thi\n"), @"
    Caddyfile:1:9: too many '<' for heredoc on line #1; only use two, for example <<END
      |
    1 | respond <<<END
      |         ^^^^^^
    ");
    insta::assert_snapshot!(error("respond <<END\n    hi\n\tEND\n"), @"
    Caddyfile:2:1: mismatched leading whitespace in heredoc <<END on line #2 [    hi], expected whitespace [    ] to match the closing marker
      |
    2 |     hi
      | ^^^^^^
    ");
}

/// What may lie between tokens: white space, comments, backslashes and the byte order mark.
fn is_gap(text: &str) -> bool {
    let mut is_comment = false;
    text.chars().all(|character| {
        is_comment = character != '\n' && (is_comment || character == '#');
        is_comment || character.is_whitespace() || character == '\\' || character == BYTE_ORDER_MARK
    })
}

proptest! {
    #[test]
    fn no_byte_is_lost(text in "([a-z{}#<\"`\\\\ \t\n\r\u{e9}\u{feff}]|<<E\n|\nE|\\{\\$X\\}){0,40}") {
        let source = Sources::new().add("Caddyfile", &text);
        if let Ok((tokens, _)) = lex(&text, source, &|_| None) {
            let text = text.replace("{$X}", "    ");
            let mut end = 0;
            for token in &tokens {
                prop_assert!(token.span.start >= end && token.span.end <= text.len());
                prop_assert!(is_gap(&text[end..token.span.start]), "{:?}", &text[end..token.span.start]);
                end = token.span.end;
            }
            prop_assert!(is_gap(&text[end..]) || text[end..].contains('"') || text[end..].contains('`'));
        }
    }

    #[test]
    fn any_text_is_lexed(text in "\\PC*") {
        let source = Sources::new().add("Caddyfile", &text);
        let _ = lex(&text, source, &|name| Some(name.repeat(2)));
    }
}
