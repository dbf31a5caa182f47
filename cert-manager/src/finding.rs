//! What is found out about a name: for the record, before an order, and for `doctor`.

use proto::certs::v1;
use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// May be the reason of a failure.
    Warning,
    /// Is the reason of a failure.
    Problem,
}

/// Something that was found out about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// One line: what was found.
    pub message: String,
    /// What the operator can do about it; may be empty.
    pub hint: String,
}

impl Finding {
    /// All is well.
    pub fn ok(message: impl Into<String>) -> Self {
        Self::new(Severity::Ok, message, "")
    }

    /// Something that may be the reason of a failure.
    pub fn warning(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message, hint)
    }

    /// Something that is the reason of a failure.
    pub fn problem(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Severity::Problem, message, hint)
    }

    fn new(severity: Severity, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// As it is reported.
    pub fn to_wire(&self) -> v1::Finding {
        v1::Finding {
            severity: self.severity.to_wire().into(),
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }
}

impl Severity {
    /// As it is reported.
    pub fn to_wire(self) -> v1::Severity {
        match self {
            Self::Ok => v1::Severity::Ok,
            Self::Warning => v1::Severity::Warning,
            Self::Problem => v1::Severity::Problem,
        }
    }
}

/// A severity in lower case.
pub(crate) fn severity_label(severity: v1::Severity) -> &'static str {
    match severity {
        v1::Severity::Unspecified => "unknown",
        v1::Severity::Ok => "ok",
        v1::Severity::Warning => "warning",
        v1::Severity::Problem => "problem",
    }
}
