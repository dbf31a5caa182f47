//! Likely mistakes in the directives of one block. Each is a warning: the file means what it means.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::Diagnostic;
use crate::directive::Context;
use crate::token::Token;

/// Directives that use the site's root.
const USES_ROOT: [&str; 6] = [
    "file",
    "file_server",
    "php_fastcgi",
    "php_server",
    "templates",
    "try_files",
];

/// Directives whose path matcher is hardly meant for one path alone.
const SERVES_FOLDERS: [&str; 3] = ["handle", "handle_path", "reverse_proxy"];

/// Directives that take every request that they match, so that a second one gets none.
const TAKES_ALL: [&str; 6] = [
    "abort",
    "handle",
    "handle_path",
    "redir",
    "respond",
    "reverse_proxy",
];

/// Directives that answer every request that they match, each with the subdirective by which it may
/// pass some on.
const ANSWERS_ALL: [(&str, Option<&str>); 6] = [
    ("abort", None),
    ("error", None),
    ("file_server", Some("pass_thru")),
    ("redir", None),
    ("respond", None),
    ("reverse_proxy", Some("handle_response")),
];

/// Looks for mistakes among the directives of a block, each as its own list of tokens.
///
/// `definitions` are the named matchers of the same block.
pub(super) fn check(
    definitions: &[Vec<&Token>],
    directives: &[Vec<&Token>],
    context: &mut Context<'_>,
) {
    unused_matchers(definitions, directives, context);
    repeated_encode(directives, context);
    never_reached(directives, context);
    for directive in directives {
        exact_path(directive, directives, context);
    }
}

/// Looks for a directive behind one that answers every request, where they run as they are written.
pub(super) fn check_order(directives: &[Vec<&Token>], context: &mut Context<'_>) {
    let answers_all = |directive: &Vec<&Token>| {
        let [name, rest @ ..] = &directive[..] else {
            return false;
        };
        let found = ANSWERS_ALL.iter().find(|(known, _)| *known == name.text);
        found.is_some_and(|(_, passes_on)| {
            let is_for_some = matcher_of(directive).is_some();
            !is_for_some && !rest.iter().any(|token| Some(&*token.text) == *passes_on)
        })
    };
    let Some(at) = directives.iter().position(answers_all) else {
        return;
    };
    let taker = directives[at][0];
    let behind = directives[at + 1..]
        .iter()
        .filter_map(|directive| directive.first());
    // Definitions of matchers run nowhere, and a second one of the same name is found elsewhere.
    let mut lost = behind
        .filter(|name| !name.text.starts_with('@') && name.text != taker.text && is_own(name));
    if let Some(name) = lost.next() {
        let message = format!("this `{}` is never reached", name.text);
        let help = format!(
            "`{}` in line {} answers every request, and directives of a `route` run as they are \
             written: write this one before it",
            taker.text, taker.span.line
        );
        context.report(Diagnostic::warning_at(name, message).with_help(help));
    }
}

/// Looks for a `root` that nothing in its site uses; `directives` are those of the whole site.
pub(crate) fn check_site(directives: &[Vec<&Token>], context: &mut Context<'_>) {
    let tokens = || directives.iter().flatten();
    let is_used = tokens().any(|token| {
        USES_ROOT.contains(&&*token.text)
            || token.text.contains("{http.vars.root}")
            || token.text.contains("{vars.root}")
    });
    let root = directives
        .iter()
        .find_map(|directive| directive.first().filter(|name| name.text == "root"));
    if let Some(root) = root.filter(|root| !is_used && is_own(root)) {
        let message = "nothing uses this `root`";
        let help = "add `file_server` to serve its files, or remove it";
        context.report(Diagnostic::warning_at(root, message).with_help(help));
    }
}

fn unused_matchers(
    definitions: &[Vec<&Token>],
    directives: &[Vec<&Token>],
    context: &mut Context<'_>,
) {
    let words: HashSet<&str> = directives
        .iter()
        .flatten()
        .map(|token| &*token.text)
        .collect();
    for definition in definitions {
        let Some(name) = definition.first().filter(|name| is_own(name)) else {
            continue;
        };
        if !words.contains(&*name.text) {
            let message = format!("the matcher `{}` is never used", name.text);
            context.report(Diagnostic::warning_at(name, message));
        }
    }
}

fn repeated_encode(directives: &[Vec<&Token>], context: &mut Context<'_>) {
    let mut all = directives.iter().filter(|directive| {
        let for_some = |token: &&&Token| token.text.starts_with(['/', '@']);
        let name = directive.first();
        name.is_some_and(|name| name.text == "encode")
            && directive.get(1).filter(for_some).is_none()
    });
    if let (Some(_), Some(second)) = (all.next(), all.next())
        && let Some(name) = second.first()
    {
        let message = "`encode` is here twice: a response is compressed once";
        let help = "write all encodings in one: `encode zstd gzip`";
        context.report(Diagnostic::warning_at(name, message).with_help(help));
    }
}

/// A directive behind one of the same name with the same matcher: a `handle` that was meant for
/// another path, or a `reverse_proxy` that was meant as a second upstream.
fn never_reached(directives: &[Vec<&Token>], context: &mut Context<'_>) {
    let mut first: HashMap<(&str, &str), &Token> = HashMap::new();
    for directive in directives {
        let Some(name) = directive
            .first()
            .filter(|name| TAKES_ALL.contains(&&*name.text))
        else {
            continue;
        };
        let matcher = matcher_of(directive);
        let Some(taken) = first.get(&(&*name.text, matcher.unwrap_or("*"))) else {
            // What an upstream answers may be passed on to the next one.
            let passes_on = |token: &&Token| token.text == "handle_response";
            if !directive.iter().any(passes_on) {
                first.insert((&name.text, matcher.unwrap_or("*")), name);
            }
            continue;
        };
        if !is_own(name) {
            continue;
        }
        let what = match matcher {
            Some(matcher) => format!("all that `{matcher}` matches"),
            None => "every request".to_owned(),
        };
        let message = format!("this `{}` is never reached", name.text);
        let help = format!("the one in line {} takes {what}", taken.span.line);
        context.report(Diagnostic::warning_at(name, message).with_help(help));
    }
}

/// `handle /static` where `handle /static/*` was meant: a path without a wildcard is that path
/// alone.
fn exact_path(directive: &[&Token], directives: &[Vec<&Token>], context: &mut Context<'_>) {
    let [name, path, ..] = directive else {
        return;
    };
    let last = path.text.rsplit('/').next().unwrap_or_default();
    let is_exact = path.text.len() > 1
        && path.text.starts_with('/')
        && !path.text.contains(['*', '{'])
        // A file is one path.
        && !last.contains('.');
    if !SERVES_FOLDERS.contains(&&*name.text) || !is_exact || !is_own(path) {
        return;
    }
    let forwards = |token: &&Token| matches!(&*token.text, "reverse_proxy" | "file_server");
    if name.text != "reverse_proxy" && !directive.iter().any(forwards) {
        return;
    }
    let stem = path.text.trim_end_matches('/');
    let has_wildcard_beside = directives.iter().flatten().any(|token| {
        token
            .text
            .strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with('*') || rest.starts_with("/*"))
    });
    if has_wildcard_beside {
        return;
    }
    let message = format!(
        "`{}` matches this path alone, and nothing below it",
        path.text
    );
    let help = format!("write `{stem}/*` for everything below, or `{stem}*` for both");
    context.report(Diagnostic::warning_at(path, message).with_help(help));
}

/// What a directive's first argument matches, if it is a matcher that does not match everything.
fn matcher_of<'t>(directive: &[&'t Token]) -> Option<&'t str> {
    let text = &*directive.get(1)?.text;
    text.starts_with(['/', '@']).then_some(text)
}

/// Whether a token is the site's own: what is imported may be meant for others too.
fn is_own(token: &Token) -> bool {
    token.imports.is_none()
}
