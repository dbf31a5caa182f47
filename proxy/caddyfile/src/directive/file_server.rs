//! `file_server`: serves files.

use globset::GlobBuilder;

use super::{Context, one_value};
use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{Browse, Empty, FileServer, Handler};

/// ```text
/// file_server [<matcher>] [browse] {
///     fs            <file system>
///     root          <path>
///     hide          <files...>
///     index         <files...>
///     browse        [<template file>] { ... }
///     precompressed [<encodings...>]
///     status        <status>
///     etag_file_extensions <extensions...>
///     disable_canonical_uris
///     pass_thru
/// }
/// ```
pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
) -> Result<Handler, Diagnostic> {
    cursor.next_token();
    let mut server = FileServer::default();
    if let Some(token) = cursor.next_arg() {
        if token.text != "browse" {
            let message = format!("unexpected argument `{}`", token.text);
            let help = "the folder to serve is set with `root`: `root * /srv` before it";
            return Err(Diagnostic::error_at(token, message).with_help(help));
        }
        server.browse = Some(Browse::default());
        cursor.expect_end_of_args()?;
    }

    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "fs" => {
                context.use_feature(token, "file_server fs");
                server.fs = cursor.expect_arg()?.text.clone();
            }
            "hide" => server.hide.extend(at_least_one(cursor)?),
            "index" => server.index_names = Some(at_least_one(cursor)?),
            "root" => server.root = cursor.expect_arg()?.text.clone(),
            "browse" => {
                if server.browse.is_some() {
                    return Err(cursor.error_here("browsing is already configured"));
                }
                server.browse = Some(parse_browse(cursor, context)?);
            }
            "precompressed" => parse_precompressed(cursor, &mut server)?,
            "status" => server.status_code = cursor.expect_arg()?.text.clone().into(),
            "disable_canonical_uris" => {
                cursor.expect_end_of_args()?;
                server.canonical_uris = Some(false);
            }
            "pass_thru" => {
                cursor.expect_end_of_args()?;
                server.pass_thru = true;
            }
            "etag_file_extensions" => server.etag_file_extensions = at_least_one(cursor)?,
            _ => {
                let known = [
                    "browse",
                    "disable_canonical_uris",
                    "etag_file_extensions",
                    "fs",
                    "hide",
                    "index",
                    "pass_thru",
                    "precompressed",
                    "root",
                    "status",
                ];
                return Err(cursor.unknown_subdirective("file_server", known));
            }
        }
    }
    hide_configuration(&mut server.hide, context.files);
    Ok(Handler::FileServer(server))
}

fn at_least_one(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Diagnostic> {
    let values = cursor.remaining_values();
    if values.is_empty() {
        Err(cursor.argument_error())
    } else {
        Ok(values)
    }
}

fn parse_browse(cursor: &mut Cursor<'_>, context: &mut Context<'_>) -> Result<Browse, Diagnostic> {
    let mut browse = Browse::default();
    if let Some(file) = cursor.next_arg() {
        context.use_feature(file, "file_server browse template");
        browse.template_file = file.text.clone();
    }
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "reveal_symlinks" => browse.reveal_symlinks = true,
            "sort" => {
                let known = ["name", "namedirfirst", "size", "time", "asc", "desc"];
                for option in cursor.remaining_args() {
                    if !known.contains(&option.text.as_str()) {
                        let message = format!("unknown sort option `{}`", option.text);
                        return Err(Diagnostic::error_at(option, message)
                            .with_suggestion(&option.text, known));
                    }
                    browse.sort.push(option.text.clone());
                }
            }
            "file_limit" => {
                let limit = one_value(cursor)?;
                browse.file_limit = limit
                    .parse()
                    .map_err(|_| cursor.error_here("file_limit should have an integer value"))?;
            }
            _ => {
                let known = ["file_limit", "reveal_symlinks", "sort"];
                return Err(cursor.unknown_subdirective("browse", known));
            }
        }
    }
    Ok(browse)
}

fn parse_precompressed(cursor: &mut Cursor<'_>, server: &mut FileServer) -> Result<(), Diagnostic> {
    let known = ["br", "gzip", "zstd"];
    let encodings = cursor.remaining_args();
    if let Some(unknown) = encodings
        .iter()
        .find(|token| !known.contains(&token.text.as_str()))
    {
        let message = format!("unknown encoding `{}`", unknown.text);
        return Err(Diagnostic::error_at(unknown, message).with_suggestion(&unknown.text, known));
    }
    server.precompressed_order = if encodings.is_empty() {
        ["br", "zstd", "gzip"].map(str::to_owned).to_vec()
    } else {
        encodings.iter().map(|token| token.text.clone()).collect()
    };
    for encoding in &server.precompressed_order {
        server.precompressed.insert(encoding.clone(), Empty {});
    }
    Ok(())
}

/// Hides the files that the configuration comes from, in case they lie in the root.
fn hide_configuration(hide: &mut Vec<String>, files: &[String]) {
    for file in files {
        let file = clean(file);
        if is_hidden(&file, hide) {
            continue;
        }
        // A pattern without a separator would hide every file of that name.
        hide.push(if file.contains('/') {
            file
        } else {
            format!("./{file}")
        });
    }
}

/// Removes what changes nothing from a path (Go: `filepath.Clean`).
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if is_absolute => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn is_hidden(file: &str, hide: &[String]) -> bool {
    let matches = |pattern: &str, text: &str| {
        GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(text))
    };
    hide.iter().any(|pattern| {
        if !pattern.contains('/') {
            return file.split('/').any(|component| matches(pattern, component));
        }
        file.strip_prefix(pattern.as_str())
            .is_some_and(|rest| rest.starts_with('/'))
            || matches(pattern, file)
    })
}
