//! The `file` matcher, which `try_files` is made of: whether a file is there.

use caddyfile::document;
use http::StatusCode;
use proto::file_request::{FileMatch, FileRequest};

use crate::compile::Scope;
use crate::error::{Error, Side};
use crate::exchange::Exchange;
use crate::handler::file_server::{Candidate, absolute, probe};
use crate::placeholder::{Template, Unknown};
use crate::reverse_proxy::SplitPath;

/// Matches if one of the files is there, and says which in `{http.matchers.file.*}`.
#[derive(Debug)]
pub struct FileMatcher {
    root: Template,
    candidates: Box<[Candidate]>,
    policy: Policy,
    /// Where names are split into a file and what follows it.
    split: SplitPath,
    /// What is answered if none of the files is there (`=404`).
    otherwise: Option<StatusCode>,
}

/// Which file is taken if several are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    First,
    Largest,
    Latest,
    Smallest,
}

impl FileMatcher {
    pub(super) fn compile(document: &document::FileMatcher, scope: &mut Scope) -> Self {
        if !document.fs.is_empty() {
            scope.within(".fs", |scope| {
                scope.error("files are looked for in the static-server's volumes alone");
            });
        }
        let policy = match document.try_policy.as_str() {
            // Caddy: the last one must be there too, since names are looked for as patterns.
            "" | "first_exist" | "first_exist_fallback" => Policy::First,
            "largest_size" => Policy::Largest,
            "most_recently_modified" => Policy::Latest,
            "smallest_size" => Policy::Smallest,
            other => {
                scope.within(".try_policy", |scope| {
                    scope.error_with_hint(
                        format!("the policy `{other}` is not supported"),
                        "use `first_exist`, `first_exist_fallback`, `smallest_size`, \
                         `largest_size` or `most_recently_modified`",
                    );
                });
                Policy::First
            }
        };
        let root = if document.root.is_empty() {
            "{http.vars.root}"
        } else {
            &document.root
        };
        let mut names: Vec<&str> = document.try_files.iter().map(String::as_str).collect();
        if names.is_empty() {
            names.push("{http.request.uri.path}");
        }
        let otherwise = names
            .last()
            .and_then(|name| name.strip_prefix('=')?.parse().ok())
            .and_then(|code| StatusCode::from_u16(code).ok());
        if otherwise.is_some() {
            names.pop();
        }
        Self {
            root: scope.template(root, Unknown::Empty),
            candidates: names
                .into_iter()
                .map(|name| Candidate::compile(name, scope))
                .collect(),
            policy,
            split: scope.within(".split_path", |scope| {
                SplitPath::compile(&document.split_path, scope)
            }),
            otherwise,
        }
    }

    pub(super) async fn matches(&self, exchange: &mut Exchange) -> Result<bool, Error> {
        let root = absolute(&self.root.expand(exchange)).into_owned();
        let (names, remainders) = self.names(exchange);
        let found = match self.policy {
            Policy::First => ask(exchange, &root, names).await?,
            Policy::Largest | Policy::Latest | Policy::Smallest => {
                let mut best: Option<FileMatch> = None;
                for name in names {
                    let Some(found) = ask(exchange, &root, vec![name]).await? else {
                        continue;
                    };
                    let is_better = best.as_ref().is_none_or(|best| match self.policy {
                        Policy::Largest => found.size > best.size,
                        Policy::Latest => found.modified > best.modified,
                        _ => found.size < best.size,
                    });
                    if is_better {
                        best = Some(found);
                    }
                }
                best
            }
        };
        let Some(found) = found else {
            return match self.otherwise {
                None => Ok(false),
                Some(status) => Err(Error::new(
                    status,
                    Side::Downstream,
                    "none of the files is there",
                )),
            };
        };
        let kind = if found.is_directory {
            "directory"
        } else {
            "file"
        };
        let remainder = remainders.into_iter().find(|(name, _)| *name == found.path);
        let remainder = remainder.map_or_else(String::new, |(_, remainder)| remainder);
        let absolute = format!("{}{}", root.trim_end_matches('/'), found.path);
        exchange.set_replacement("http.matchers.file.relative", found.path);
        exchange.set_replacement("http.matchers.file.absolute", absolute);
        exchange.set_replacement("http.matchers.file.type", kind.to_owned());
        exchange.set_replacement("http.matchers.file.remainder", remainder);
        Ok(true)
    }

    /// The names to look for, and what follows those that are split.
    fn names(&self, exchange: &Exchange) -> (Vec<String>, Vec<(String, String)>) {
        let mut names = Vec::with_capacity(self.candidates.len());
        let mut remainders = Vec::new();
        for candidate in &self.candidates {
            let mut name = candidate.expand(exchange);
            if candidate.is_vain(&name) {
                continue;
            }
            // Caddy: below the root, also without a slash in front.
            if !name.starts_with(['/', '=']) {
                name.insert(0, '/');
            }
            if let Some((file, remainder)) = self.split.at_segment(&name) {
                remainders.push((file.to_owned(), remainder.to_owned()));
                let length = file.len();
                name.truncate(length);
            }
            names.push(name);
        }
        (names, remainders)
    }
}

/// Asks the static-server, once for each question of a request.
async fn ask(
    exchange: &mut Exchange,
    root: &str,
    names: Vec<String>,
) -> Result<Option<FileMatch>, Error> {
    if names.is_empty() {
        return Ok(None);
    }
    let question = FileRequest {
        root: root.to_owned(),
        try_files: names,
        probe: true,
        ..FileRequest::default()
    };
    let known = exchange.rare.as_ref().and_then(|rare| {
        let found = rare.probes.iter().find(|(asked, _)| *asked == question);
        found.map(|(_, found)| found.clone())
    });
    if let Some(found) = known {
        return Ok(found);
    }
    let found = probe(exchange, &question).await?;
    exchange.rare_mut().probes.push((question, found.clone()));
    Ok(found)
}
