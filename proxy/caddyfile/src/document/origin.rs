//! Where parts of a document were written, for what is found wrong with them later.
//!
//! Origins are no part of the document: they are neither written nor read, and two parts that
//! differ in nothing else are equal.

use crate::token::{ImportId, Span, Token};

/// A place in a Caddyfile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The place.
    pub span: Span,
    /// The imports that brought it into the configuration.
    pub imports: Option<ImportId>,
}

impl From<&Token> for Origin {
    fn from(token: &Token) -> Self {
        Self {
            span: token.span,
            imports: token.imports,
        }
    }
}

/// The place of one part; absent for a document that came as JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written(pub Option<Origin>);

impl From<&Token> for Written {
    fn from(token: &Token) -> Self {
        Self(Some(token.into()))
    }
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The places of the parts of a list, by position.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<Option<Origin>>);

impl Origins {
    /// The place of the part at `index`.
    pub fn get(&self, index: usize) -> Option<Origin> {
        self.0.get(index).copied().flatten()
    }

    /// Gives those of `count` parts that have no place yet the place `origin`.
    pub(crate) fn fill(&mut self, count: usize, origin: Origin) {
        self.0.resize(count, None);
        for place in &mut self.0 {
            place.get_or_insert(origin);
        }
    }

    /// Adds the places of parts that come behind the first `count` ones.
    pub(crate) fn append(&mut self, count: usize, others: Self) {
        self.0.resize(count, None);
        self.0.extend(others.0);
    }
}

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
