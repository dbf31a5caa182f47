//! `doctor`: why a name has no certificate, one line for each thing that was looked at.

use std::io::Write;
use std::path::Path;

use proto::certs::v1::{Check, DiagnoseRequest, Severity};
use serde_json::{Value, json};

use super::{DoctorArgs, call_failed, operator};
use crate::finding::severity_label;

/// Has a running service examine a name, and prints what it found.
///
/// # Errors
/// That there is a problem, or why nothing can be said, in words for an operator.
pub async fn run(control: &Path, args: &DoctorArgs, out: &mut impl Write) -> Result<(), String> {
    let request = DiagnoseRequest {
        name: args.operator.name.clone(),
    };
    let checks = operator::client(control, args.operator.service.listen)?
        .diagnose(request)
        .await
        .map_err(|status| call_failed(args.operator.service.listen, "--listen", &status))?
        .into_inner()
        .checks;
    let text = if args.json {
        format!("{:#}\n", json(&args.operator.name, &checks))
    } else {
        render(&checks)
    };
    write!(out, "{text}").map_err(|error| format!("cannot print: {error}"))?;
    let problems = checks
        .iter()
        .filter(|check| check.severity() == Severity::Problem);
    match problems.count() {
        0 => Ok(()),
        1 => Err("1 problem found".to_owned()),
        count => Err(format!("{count} problems found")),
    }
}

/// One line for each check, and below it what to do.
fn render(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let label = severity_label(check.severity());
        text.push_str(&format!(
            "{label:<8} {:<13} {}\n",
            check.subject, check.message
        ));
        for (what, more) in [("do", &check.hint), ("document", &check.document)] {
            if !more.is_empty() {
                text.push_str(&format!("{:<22} {what}: {more}\n", ""));
            }
        }
    }
    text
}

fn json(name: &str, checks: &[Check]) -> Value {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({
                "subject": check.subject,
                "severity": severity_label(check.severity()),
                "message": check.message,
                "hint": check.hint,
                "document": serde_json::from_str(&check.document).unwrap_or(Value::Null),
            })
        })
        .collect();
    json!({ "name": name, "checks": checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_with_what_to_do_below() {
        let checks = [
            Check {
                subject: "dns".to_owned(),
                severity: Severity::Ok.into(),
                message: "quiz.school.org resolves to 203.0.113.7".to_owned(),
                ..Check::default()
            },
            Check {
                subject: "caa".to_owned(),
                severity: Severity::Problem.into(),
                message: "forbidden".to_owned(),
                hint: "allow it".to_owned(),
                document: r#"{"type":"caa"}"#.to_owned(),
            },
        ];
        insta::assert_snapshot!(render(&checks), @r#"
        ok       dns           quiz.school.org resolves to 203.0.113.7
        problem  caa           forbidden
                               do: allow it
                               document: {"type":"caa"}
        "#);
        let json = json("quiz.school.org", &checks);
        assert_eq!(json["checks"][1]["document"]["type"], "caa");
        assert_eq!(json["checks"][0]["document"], Value::Null);
    }
}
