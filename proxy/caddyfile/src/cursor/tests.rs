use proptest::prelude::*;

use super::*;
use crate::lexer::lex;
use crate::token::Sources;

fn tokens(text: &str) -> Vec<Token> {
    let source = Sources::new().add("Caddyfile", text);
    lex(text, source, &|_| None).map_or_else(|_| Vec::new(), |(tokens, _)| tokens)
}

fn texts<'t>(tokens: impl IntoIterator<Item = &'t Token>) -> Vec<&'t str> {
    tokens
        .into_iter()
        .map(|token| token.text.as_str())
        .collect()
}

#[test]
fn arguments_end_with_the_line_or_at_a_block() {
    let tokens = tokens("root * /srv\nlog a {\n}");
    let mut cursor = Cursor::new(&tokens);
    assert_eq!(
        cursor.next_token().map(|token| token.text.as_str()),
        Some("root")
    );
    assert_eq!(cursor.count_remaining_args(), 2);
    assert_eq!(texts(cursor.remaining_args()), ["*", "/srv"]);
    assert!(cursor.next_arg().is_none());
    assert_eq!(
        cursor.next_line().map(|token| token.text.as_str()),
        Some("log")
    );
    assert_eq!(texts(cursor.remaining_args()), ["a"]);
    assert_eq!(cursor.value(), "a");
}

#[test]
fn blocks_are_walked_without_their_braces() {
    let tokens = tokens("a {\n\tb c\n\td {\n\t\te\n\t}\n}\nf");
    let mut cursor = Cursor::new(&tokens);
    cursor.next_token();
    let mut lines = Vec::new();
    while let Some(token) = cursor.next_block(0) {
        let mut line = vec![token.text.clone()];
        line.extend(cursor.remaining_values());
        let nesting = cursor.nesting();
        while let Some(inner) = cursor.next_block(nesting) {
            line.push(format!("+{}", inner.text));
        }
        lines.push(line.join(" "));
    }
    assert_eq!(lines, ["b c", "d +e"]);
    assert_eq!(cursor.value(), "}");
    assert_eq!(
        cursor.next_token().map(|token| token.text.as_str()),
        Some("f")
    );
}

#[test]
fn an_empty_block_has_no_tokens() {
    let tokens = tokens("a {\n}\nb");
    let mut cursor = Cursor::new(&tokens);
    cursor.next_token();
    assert!(cursor.next_block(0).is_none());
    assert_eq!(cursor.nesting(), 0);
    assert_eq!(
        cursor.next_token().map(|token| token.text.as_str()),
        Some("b")
    );
}

#[test]
fn quoted_braces_are_arguments() {
    let tokens = tokens("respond \"{\" `}`");
    let mut cursor = Cursor::new(&tokens);
    cursor.next_token();
    assert_eq!(texts(cursor.remaining_args()), ["{", "}"]);
}

#[test]
fn segments_have_their_block() {
    let tokens = tokens("a {\n\tb c {\n\t\td\n\t}\n\te\n}");
    let mut cursor = Cursor::new(&tokens);
    cursor.next_token();
    let mut segments = Vec::new();
    while cursor.next_block(0).is_some() {
        segments.push(texts(cursor.next_segment()).join(" "));
    }
    assert_eq!(segments, ["b c { d }", "e"]);
}

#[test]
fn expectations_say_what_is_wrong() {
    let tokens = tokens("a b c {\n}");
    let mut cursor = Cursor::new(&tokens);
    cursor.next_token();
    let extra = cursor
        .clone()
        .expect_args::<1>()
        .expect_err("there are two");
    assert_eq!(extra.message, "unexpected argument");
    let missing = cursor
        .clone()
        .expect_args::<3>()
        .expect_err("there are two");
    assert!(missing.message.starts_with("wrong argument count"));
    let [first, second] = cursor.clone().expect_args().expect("there are two");
    assert_eq!((first.text.as_str(), second.text.as_str()), ("b", "c"));
    assert_eq!(
        cursor
            .expect_end_of_args()
            .expect_err("there are two")
            .message,
        "unexpected argument `b`"
    );
    cursor.remaining_args();
    assert!(cursor.expect_end_of_args().is_ok());
    assert!(cursor.expect_no_block().is_err());
    assert!(cursor.expect_arg().is_err());
}

#[test]
fn tokens_can_be_deleted_and_read_again() {
    let tokens = tokens("respond @a hi");
    let mut cursor = Cursor::new(&tokens);
    cursor.next_token();
    cursor.next_arg();
    cursor.delete();
    cursor.reset();
    assert_eq!(texts(cursor.tokens().iter().copied()), ["respond", "hi"]);
    assert_eq!(texts(cursor.remaining_args()), ["respond", "hi"]);
}

proptest! {
    #[test]
    fn any_walk_ends(
        text in "(a| |\n|\\{|\\}|\\{\n|\n\\}){0,24}",
        steps in proptest::collection::vec(0..8u8, 0..64),
    ) {
        let tokens = tokens(&text);
        let mut cursor = Cursor::new(&tokens);
        for step in steps {
            match step {
                0 => drop(cursor.next_token()),
                1 => drop(cursor.next_arg()),
                2 => drop(cursor.next_line()),
                3 => drop(cursor.next_block(0)),
                4 => drop(cursor.next_block(cursor.nesting())),
                5 => drop(cursor.next_segment()),
                6 => cursor.delete(),
                _ => cursor.previous(),
            }
            drop(cursor.argument_error());
        }
        while cursor.next_block(0).is_some() {}
    }
}
