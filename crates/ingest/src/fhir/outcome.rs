//! What a sender is told: issues of an `OperationOutcome`. No value of a resource is quoted in them.

use domain::parse::FieldError;
use serde::Serialize;
use serde_json::{Value, json};

/// How grave an issue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Error,
    Information,
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    pub severity: Severity,
    /// Of the value set issue-type.
    pub code: &'static str,
    /// FHIRPath to the element.
    pub expression: String,
    /// What is wrong, in words.
    pub diagnostics: String,
}

impl Issue {
    /// Something is wrong with an element.
    pub(super) fn new(code: &'static str, expression: impl Into<String>, diagnostics: impl Into<String>) -> Self {
        let (expression, diagnostics) = (expression.into(), diagnostics.into());
        Self { severity: Severity::Error, code, expression, diagnostics }
    }

    /// An element has a code that isn't of its value set.
    pub(super) fn unknown_code(expression: impl Into<String>) -> Self {
        Self::new("code-invalid", expression, "is no code that R4 or R5 has here")
    }

    /// An element is too long.
    pub(super) fn too_long(expression: impl Into<String>, most_bytes: usize) -> Self {
        Self::new("too-long", expression, format!("is longer than {most_bytes} bytes"))
    }

    /// Nothing is wrong, and this is why nothing was published.
    pub(super) fn nothing(expression: impl Into<String>, reason: &str) -> Self {
        let diagnostics = format!("no journey event: {reason}");
        Self { severity: Severity::Information, ..Self::new("informational", expression, diagnostics) }
    }

    /// A rule of the event that a resource became.
    pub(super) fn of_field(e: &FieldError, kind: &str, resource: &str, time: &str) -> Self {
        let code = if e.reason.starts_with("is required") { "required" } else { "value" };
        match e.pointer.as_str() {
            "/header/occurred_at" | "/header/recorded_at" => Self::new(code, time, e.reason.clone()),
            pointer => Self::new(code, resource, format!("as {kind}{pointer}: {}", e.reason)),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut v = json!({"severity": self.severity, "code": self.code, "diagnostics": self.diagnostics});
        if !self.expression.is_empty() {
            v["expression"] = json!([self.expression]);
        }
        v
    }
}

/// An `OperationOutcome`.
pub(super) fn outcome(issues: &[Issue]) -> Value {
    of(issues.iter().map(Issue::json).collect())
}

/// An `OperationOutcome` of issues that are JSON already.
pub(super) fn of(issues: Vec<Value>) -> Value {
    json!({"resourceType": "OperationOutcome", "issue": issues})
}

impl Issue {
    /// The same, as of the resource of a bundle's entry.
    pub(super) fn within(mut self, entry: usize) -> Self {
        if self.expression.starts_with("Bundle") {
            return self;
        }
        let rest = self.expression.split_once('.').map(|(_, rest)| format!(".{rest}")).unwrap_or_default();
        self.expression = format!("Bundle.entry[{entry}].resource{rest}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_is_found_in_its_bundle() {
        let at = |e: &str| Issue::new("value", e, "x").within(3).expression;
        assert_eq!(at("Appointment.start"), "Bundle.entry[3].resource.start");
        assert_eq!(at("Appointment"), "Bundle.entry[3].resource");
        assert_eq!(at("Bundle.entry[3].request.method"), "Bundle.entry[3].request.method");
    }
}
