//! Where in the document the compiler is, and what it found wrong so far.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use caddyfile::document::{FileMatcher, Origin, Route};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{CompileContext, CompileError};
use crate::placeholder::{Key, Template, Unknown};
use crate::reverse_proxy::Check;

/// The state of compiling one server.
#[derive(Debug, Default)]
pub struct Scope {
    /// What the program was told at its start.
    pub context: CompileContext,
    /// Routes that `invoke` names.
    pub named_routes: BTreeMap<String, Route>,
    /// Literal values that `vars` handlers hereabouts give `root`: what files are served from.
    pub(crate) roots: Vec<String>,
    /// Placeholders that some `map` handler sets, without their braces.
    pub mapped: HashSet<String>,
    /// What the next file server is to try in place of the path, where that takes the place of a
    /// `file` matcher and a rewrite.
    pub(crate) tried: Option<FileMatcher>,
    /// Names of the named routes that are being compiled, the innermost last.
    pub(crate) invoked: Vec<String>,
    /// Health checks of the upstreams so far.
    pub(crate) checks: Vec<Arc<Check>>,
    /// What tells the site's routes from others, and where in the path they begin; only where
    /// something of theirs outlives a reload that changes nothing of them.
    pub(crate) site: Option<(u64, usize)>,
    groups: HashMap<String, u32>,
    origin: Option<Origin>,
    path: String,
    errors: Vec<CompileError>,
}

impl Scope {
    /// Compiling begins at `path`.
    pub fn new(path: impl Into<String>, context: CompileContext) -> Self {
        Self {
            path: path.into(),
            context,
            ..Self::default()
        }
    }

    /// Compiles a part of what is being compiled: `segment` is added to the path meanwhile.
    pub fn within<T>(
        &mut self,
        segment: impl fmt::Display,
        compile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let length = self.path.len();
        // Writing to a string does not fail.
        let _ = write!(self.path, "{segment}");
        let result = compile(self);
        self.path.truncate(length);
        result
    }

    /// Compiles a part that was written at `origin`, or where the part around it was.
    pub fn written<T>(
        &mut self,
        origin: Option<Origin>,
        compile: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer = self.origin;
        self.origin = origin.or(outer);
        let result = compile(self);
        self.origin = outer;
        result
    }

    /// Where what is being compiled was written.
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Where in the document this is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What tells this part from all others, also after a reload that moves its site's routes but
    /// changes nothing of them.
    pub(crate) fn owner(&self) -> String {
        match self.site {
            Some((site, begin)) => format!("{site:x}{}", &self.path[begin..]),
            None => self.path.clone(),
        }
    }

    /// Records that this part cannot be run.
    pub fn error(&mut self, message: impl Into<String>) {
        let error = CompileError::new(&self.path, message).with_origin(self.origin);
        self.errors.push(error);
    }

    /// Records that this part cannot be run, and what to do.
    pub fn error_with_hint(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.error(message);
        if let Some(error) = self.errors.last_mut() {
            error.hint = Some(hint.into());
        }
    }

    /// Ends compiling: everything that was wrong.
    pub fn into_errors(self) -> Vec<CompileError> {
        self.errors
    }

    /// Parses a text with placeholders. One that the proxy has no value for, though Caddy has, is
    /// an error; one that means nothing in Caddy either is left out or kept, as there.
    pub fn template(&mut self, text: &str, unknown: Unknown) -> Template {
        for name in ["{http.request.body}", "{http.request.body_base64}"] {
            if text.contains(name) {
                self.error_with_hint(
                    format!("the placeholder `{name}` is not supported"),
                    "request bodies are streamed and never held as text",
                );
            }
        }
        Template::compile_with(text, unknown, &|name| self.mapped.contains(name))
    }

    /// A text whose placeholders are all constant, such as `{env.*}`.
    pub fn constant(&mut self, text: &str) -> String {
        let template = self.template(text, Unknown::Empty);
        if let Some(literal) = template.as_literal() {
            return literal.to_owned();
        }
        self.error(format!(
            "`{text}` has a placeholder that changes with each request"
        ));
        String::new()
    }

    /// Reads the name of a field.
    pub fn header_name(&mut self, name: &str) -> Option<HeaderName> {
        match name.parse() {
            Ok(name) => Some(name),
            Err(_) => {
                self.error(format!("`{name}` is no name of a field"));
                None
            }
        }
    }

    /// Reads the value of a field.
    pub fn header_value(&mut self, value: &str) -> Option<HeaderValue> {
        match HeaderValue::from_str(value) {
            Ok(value) => Some(value),
            Err(_) => {
                self.error(format!("`{value}` is no value of a field"));
                None
            }
        }
    }

    /// Reads a status, which may be a placeholder. Empty is none.
    pub fn status(&mut self, text: &str) -> Option<Status> {
        if text.is_empty() {
            return None;
        }
        let template = self.template(text, Unknown::Empty);
        let Some(literal) = template.as_literal() else {
            return Some(Status::Template(template));
        };
        match literal
            .parse()
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
        {
            Some(status) => Some(Status::Fixed(status)),
            None => {
                self.error_with_hint(
                    format!("`{text}` is no status"),
                    "write a number from 100 to 999",
                );
                None
            }
        }
    }

    /// The number of a group of routes.
    pub fn group(&mut self, name: &str) -> Option<u32> {
        if name.is_empty() {
            return None;
        }
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        Some(*self.groups.entry(name.to_owned()).or_insert(next))
    }
}

/// A status that is fixed or comes with the request.
#[derive(Clone, Debug)]
pub enum Status {
    /// Always the same.
    Fixed(StatusCode),
    /// What the placeholders say.
    Template(Template),
}

impl Status {
    /// Whether it tells the error that is being answered.
    pub fn is_of_error(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Template(template) => template.keys().any(|key| matches!(key, Key::Error(_))),
        }
    }
}
