//! Session tickets, as the document has them.

use caddyfile::document::TlsApp;
use serde_json::Value;

use super::super::CompileError;

const PATH: &str = "apps.tls.session_tickets";

/// Whether they are switched off. The keys come from cert-manager, which rotates them and gives them
/// to every proxy, so there is nothing else to choose.
pub(super) fn are_disabled(tls: &TlsApp, errors: &mut Vec<CompileError>) -> bool {
    let Some(settings) = &tls.session_tickets else {
        return false;
    };
    let Some(settings) = settings.as_object() else {
        errors.push(CompileError::new(PATH, "this must be an object"));
        return false;
    };
    let mut is_disabled = false;
    for (field, value) in settings {
        let is_understood = match (field.as_str(), value) {
            ("disabled", Value::Bool(disabled)) => {
                is_disabled = *disabled;
                true
            }
            // Caddy's own keys, and those that several Caddys share: these are both.
            ("key_source", source) => {
                matches!(
                    source["provider"].as_str(),
                    Some("distributed" | "standard")
                )
            }
            _ => false,
        };
        if !is_understood {
            errors.push(
                CompileError::new(
                    format_args!("{PATH}.{field}"),
                    format!("this `{field}` of session tickets is not supported"),
                )
                .with_hint("remove it: cert-manager rotates the keys every 12 hours"),
            );
        }
    }
    is_disabled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn are_disabled(settings: Value) -> (bool, Vec<String>) {
        let tls = TlsApp {
            session_tickets: Some(settings),
            ..TlsApp::default()
        };
        let mut errors = Vec::new();
        let is_disabled = super::are_disabled(&tls, &mut errors);
        (
            is_disabled,
            errors.into_iter().map(|error| error.path).collect(),
        )
    }

    #[test]
    fn tickets_can_be_switched_off_and_nothing_else_be_chosen() {
        assert_eq!(are_disabled(json!({"disabled": true})), (true, vec![]));
        let shared = json!({"key_source": {"provider": "distributed"}});
        assert_eq!(are_disabled(shared), (false, vec![]));
        for (field, value) in [
            ("rotation_interval", json!("1h")),
            ("disable_rotation", json!(true)),
            ("max_keys", json!(2)),
            ("key_source", json!({"provider": "mine"})),
        ] {
            let (_, errors) = are_disabled(json!({field: value}));
            assert_eq!(errors, [format!("{PATH}.{field}")]);
        }
    }
}
