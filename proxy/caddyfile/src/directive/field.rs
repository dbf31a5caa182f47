//! Operations on header fields, as `header`, `header_up` and others share them.

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::{HeaderOps, Replacement};
use crate::token::Token;
use crate::value::canonical_field_name;

/// One operation: what its field's prefix says, with its arguments.
#[derive(Debug)]
pub(super) struct FieldOp<'t> {
    /// The field with its prefix.
    pub(super) field: &'t str,
    /// New value, or a regular expression to find; empty where there is none.
    pub(super) value: &'t str,
    /// What replaces what is found.
    pub(super) replacement: Option<&'t str>,
}

impl<'t> FieldOp<'t> {
    /// The operation of one to three arguments.
    pub(super) fn of(arguments: &[&'t Token]) -> Option<Self> {
        let (field, rest) = arguments.split_first()?;
        if rest.len() > 2 {
            return None;
        }
        Some(Self {
            field: &field.text,
            value: rest.first().map_or("", |token| token.text.as_str()),
            replacement: rest.get(1).map(|token| token.text.as_str()),
        })
    }

    /// The same without a colon at the field's end: people write `Name: value` as for curl.
    pub(super) fn without_colon(self) -> Self {
        Self {
            field: self.field.strip_suffix(':').unwrap_or(self.field),
            ..self
        }
    }

    /// Whether responses must be complete before it: removals and fields with `>`.
    pub(super) fn is_deferred(&self) -> bool {
        self.field.starts_with('-') || self.field.starts_with('>')
    }

    /// Adds the operation; `?` is left to the caller.
    pub(super) fn apply(&self, ops: &mut HeaderOps) {
        let value = self.value.to_owned();
        if let Some(name) = self.field.strip_prefix('+') {
            ops.add
                .entry(canonical_field_name(name))
                .or_default()
                .push(value);
        } else if let Some(name) = self.field.strip_prefix('-') {
            ops.delete.push(name.to_owned());
        } else if let Some(replacement) = self.replacement {
            let name = self.field.trim_start_matches(['+', '-', '?', '>']);
            ops.replace
                .entry(name.to_owned())
                .or_default()
                .push(Replacement {
                    search_regexp: value,
                    replace: replacement.to_owned(),
                    ..Replacement::default()
                });
        } else {
            let name = self.field.strip_prefix('>').unwrap_or(self.field);
            ops.set.insert(canonical_field_name(name), vec![value]);
        }
    }
}

/// Reads the rest of the line as an operation on request fields and adds it.
///
/// `without_colon` drops a colon at the end of the field's name.
///
/// # Errors
///
/// There are none or more than three arguments, or the field has a `?`.
pub(super) fn parse_request_op(
    cursor: &mut Cursor<'_>,
    ops: &mut HeaderOps,
    without_colon: bool,
) -> Result<(), Diagnostic> {
    let before = cursor.clone();
    let arguments = cursor.remaining_args();
    let op = FieldOp::of(&arguments).ok_or_else(|| before.argument_error())?;
    let op = if without_colon {
        op.without_colon()
    } else {
        op
    };
    if op.field.starts_with('?') {
        let message = "the default value prefix `?` works on response fields only";
        return Err(Diagnostic::error_at(arguments[0], message)
            .with_help("use a matcher to change request fields conditionally"));
    }
    op.apply(ops);
    Ok(())
}
