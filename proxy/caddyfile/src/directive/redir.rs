//! `redir`: redirects.

use std::collections::BTreeMap;

use super::Context;
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Handler, StaticResponse};
use crate::token::Token;

/// `redir [<matcher>] <to> [permanent|temporary|html|<status>]`
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    _context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let to = cursor.expect_arg()?.text.clone();
    let status = match cursor.next_arg() {
        None => "302",
        Some(code) => match code.text.as_str() {
            "permanent" => "301",
            "temporary" => "302",
            "html" => return Ok(Handler::StaticResponse(html_redirect(&to))),
            other => {
                check_status(code)?;
                other
            }
        },
    };
    Ok(Handler::StaticResponse(StaticResponse {
        status_code: status.into(),
        headers: BTreeMap::from([("Location".to_owned(), vec![to])]),
        ..StaticResponse::default()
    }))
}

/// 3xx, or 401: scripts never see a 3xx but can follow the `Location` of a 401.
fn check_status(token: &Token) -> Result<(), Diagnostic> {
    let text = &token.text;
    if text.starts_with('{') {
        return Ok(());
    }
    let help = "use `permanent`, `temporary`, `html` or a status such as `308`";
    match text.parse::<i32>() {
        Ok(300..=399 | 401) => Ok(()),
        Ok(_) => {
            let message = format!("redir code not in the 3xx range or 401: `{text}`");
            Err(Diagnostic::error_at(token, message).with_help(help))
        }
        Err(_) => {
            let message = format!("not a supported redir code type or not valid integer: `{text}`");
            Err(Diagnostic::error_at(token, message).with_help(help))
        }
    }
}

/// A page that redirects browsers only, in Caddy's words so that documents are the same.
fn html_redirect(to: &str) -> StaticResponse {
    let to = escape_html(to);
    let body = format!(
        "<!DOCTYPE html>\n<html>\n\t<head>\n\t\t<title>Redirecting...</title>\n\
         \t\t<script>window.location.replace(\"{to}\");</script>\n\
         \t\t<meta http-equiv=\"refresh\" content=\"0; URL='{to}'\">\n\t</head>\n\
         \t<body>Redirecting to <a href=\"{to}\">{to}</a>...</body>\n</html>\n"
    );
    let content_type = (
        "Content-Type".to_owned(),
        vec!["text/html; charset=utf-8".to_owned()],
    );
    StaticResponse {
        status_code: "200".into(),
        headers: BTreeMap::from([content_type]),
        body,
        ..StaticResponse::default()
    }
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '\'' => escaped.push_str("&#39;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            other => escaped.push(other),
        }
    }
    escaped
}
