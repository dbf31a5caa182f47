//! `try_files` in front of `file_server`: one request to the static-server instead of two.

use caddyfile::document::{FileMatcher, FileServer, Handler, MatcherSet, Rewrite, Route};

/// What a file server behind `routes[0]` can try by itself, if that route does nothing but rewrite
/// to a file that is there, and nothing comes between that could tell the difference.
pub(super) fn left_to_file_server(routes: &[Route]) -> Option<FileMatcher> {
    let (route, rest) = routes.split_first()?;
    let file = tried(route)?;
    for route in rest {
        if !route.r#match.is_empty() || !route.group.is_empty() {
            return None;
        }
        for handler in &route.handle {
            match handler {
                Handler::Encode(_) => {}
                Handler::FileServer(server) => return can_try(server, file).then(|| file.clone()),
                _ => return None,
            }
        }
    }
    None
}

/// What a route rewrites to, if it is what `try_files` becomes.
fn tried(route: &Route) -> Option<&FileMatcher> {
    let ([set], [Handler::Rewrite(rewrite)]) = (&*route.r#match, &*route.handle) else {
        return None;
    };
    let file = set.file.as_ref()?;
    let only_file = MatcherSet {
        file: Some(file.clone()),
        ..MatcherSet::default()
    };
    let only_rewrite = Rewrite {
        uri: "{http.matchers.file.relative}".to_owned(),
        ..Rewrite::default()
    };
    let is_plain = *set == only_file
        && *rewrite == only_rewrite
        && route.group.is_empty()
        && !route.terminal
        && file.fs.is_empty()
        && file.split_path.is_empty()
        && matches!(file.try_policy.as_str(), "" | "first_exist")
        && !file.try_files.is_empty();
    is_plain.then_some(file)
}

fn can_try(server: &FileServer, file: &FileMatcher) -> bool {
    // Who comes after a file server that passes on sees the path as it was rewritten.
    !server.pass_thru && root(&server.root) == root(&file.root)
}

fn root(text: &str) -> &str {
    if text.is_empty() {
        "{http.vars.root}"
    } else {
        text
    }
}
