//! Client certificates, and pools of trusted roots.

use serde_json::{Map, Value as Json, json};

use crate::cursor::Cursor;
use crate::diagnostic::Diagnostic;
use crate::document::ClientAuthentication;
use crate::options;

/// ```text
/// client_auth {
///     mode       request|require|verify_if_given|require_and_verify
///     trust_pool <source> ...
///     verifier   <verifier> ...
/// }
/// ```
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<ClientAuthentication, Diagnostic> {
    cursor.next_token();
    cursor.remaining_args();
    let mut client = ClientAuthentication::default();
    let mut inline = Vec::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "mode" => {
                let mode = cursor.expect_arg()?;
                let known = [
                    "request",
                    "require",
                    "require_and_verify",
                    "verify_if_given",
                ];
                if !known.contains(&mode.text.as_str()) {
                    let message = format!("client auth mode not recognized: `{}`", mode.text);
                    return Err(
                        Diagnostic::error_at(mode, message).with_suggestion(&mode.text, known)
                    );
                }
                client.mode = mode.text.clone();
                cursor.expect_end_of_args()?;
            }
            "trust_pool" => {
                if !inline.is_empty() || !client.trusted_ca_certs_pem_files.is_empty() {
                    let message = "cannot specify both `trust_pool` and `trusted_ca_cert` or \
                                   `trusted_ca_cert_file`";
                    return Err(cursor.error_here(message));
                }
                cursor.expect_arg()?;
                client.ca = Some(parse_trust_pool(&mut cursor.from_next_segment())?);
            }
            "trusted_ca_cert" => inline.push(cursor.expect_arg()?.text.clone()),
            "trusted_ca_cert_file" => {
                let file = cursor.expect_arg()?.text.clone();
                client.trusted_ca_certs_pem_files.push(file);
            }
            "trusted_leaf_cert" => {
                client
                    .trusted_leaf_certs
                    .push(cursor.expect_arg()?.text.clone());
            }
            "trusted_leaf_cert_file" => {
                let file = cursor.expect_arg()?.text.clone();
                client
                    .verifiers
                    .push(leaf_verifier(vec![loader("file", vec![file])]));
            }
            "verifier" => {
                cursor.expect_arg()?;
                client
                    .verifiers
                    .push(parse_verifier(&mut cursor.from_next_segment())?);
            }
            _ => {
                let known = ["mode", "trust_pool", "verifier"];
                return Err(cursor.unknown_subdirective("client_auth", known));
            }
        }
    }
    if !inline.is_empty() {
        client.ca = Some(json!({ "provider": "inline", "trusted_ca_certs": inline }));
    }
    Ok(client)
}

/// Reads a source of trusted roots from its name on.
///
/// # Errors
///
/// There is no such source, or it has wrong options.
pub(crate) fn parse_trust_pool(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    cursor.next_token();
    let provider = cursor.value();
    let mut pool = Map::new();
    let arguments = cursor.remaining_values();
    // The list that arguments and the block's one subdirective add to.
    let (field, subdirective) = match provider {
        "system" => ("", ""),
        "inline" => ("trusted_ca_certs", "trust_der"),
        "file" => ("pem_files", "pem_file"),
        "http" => ("endpoints", "endpoints"),
        "pki_root" | "pki_intermediate" => ("authority", "authority"),
        "storage" => ("pem_keys", "keys"),
        "combined" => ("sources", "source"),
        _ => {
            let known = [
                "combined",
                "file",
                "http",
                "inline",
                "pki_intermediate",
                "pki_root",
                "storage",
            ];
            let diagnostic = cursor.error_here(format!("unknown trust pool `{provider}`"));
            return Err(diagnostic.with_suggestion(provider, known));
        }
    };
    let mut values: Vec<Json> = arguments.into_iter().map(Json::from).collect();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match (provider, token.text.as_str()) {
            ("combined", "source") => {
                cursor.expect_arg()?;
                values.push(parse_trust_pool(&mut cursor.from_next_segment())?);
            }
            ("storage", "storage") => {
                cursor.expect_arg()?;
                let storage = options::parse_storage(&mut cursor.from_next_segment())?;
                pool.insert("storage".to_owned(), Json::Object(storage));
            }
            ("http", "tls") => {
                let tls = parse_http_tls(cursor)?;
                pool.insert("tls".to_owned(), tls);
            }
            (_, name) if !subdirective.is_empty() && name == subdirective => {
                values.extend(cursor.remaining_values().into_iter().map(Json::from));
            }
            _ => return Err(cursor.unknown_subdirective("trust_pool", [subdirective])),
        }
    }
    if !field.is_empty() {
        if values.is_empty() {
            let message = format!("trust pool `{provider}` names nothing to trust");
            return Err(cursor.error_here(message));
        }
        pool.insert(field.to_owned(), values.into());
    }
    pool.insert("provider".to_owned(), provider.into());
    Ok(Json::Object(pool))
}

fn parse_http_tls(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    let mut tls = Map::new();
    let nesting = cursor.nesting();
    while let Some(token) = cursor.next_block(nesting) {
        match token.text.as_str() {
            "ca" => {
                cursor.expect_arg()?;
                let pool = parse_trust_pool(&mut cursor.from_next_segment())?;
                tls.insert("ca".to_owned(), pool);
            }
            "insecure_skip_verify" => {
                tls.insert("insecure_skip_verify".to_owned(), true.into());
            }
            key @ ("server_name" | "renegotiation") => {
                let value = cursor.expect_arg()?.text.clone();
                tls.insert(key.to_owned(), value.into());
            }
            "handshake_timeout" => {
                let timeout = crate::directive::duration(cursor)?;
                tls.insert("handshake_timeout".to_owned(), json!(timeout));
            }
            _ => {
                let known = [
                    "ca",
                    "handshake_timeout",
                    "insecure_skip_verify",
                    "renegotiation",
                    "server_name",
                ];
                return Err(cursor.unknown_subdirective("tls", known));
            }
        }
    }
    Ok(Json::Object(tls))
}

/// Reads a verifier from its name on.
fn parse_verifier(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    cursor.next_token();
    let name = cursor.value();
    if name != "leaf" {
        // Verifiers are modules that others add; which ones there are is not known here.
        return Ok(json!({ "verifier": name }));
    }
    let mut loaders = Vec::new();
    if cursor.next_arg().is_some() {
        loaders.push(parse_loader(cursor)?);
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting).is_some() {
        loaders.push(parse_loader(cursor)?);
    }
    Ok(leaf_verifier(loaders))
}

fn leaf_verifier(loaders: Vec<Json>) -> Json {
    json!({ "leaf_certs_loaders": loaders, "verifier": "leaf" })
}

fn parse_loader(cursor: &mut Cursor<'_>) -> Result<Json, Diagnostic> {
    let name = cursor.value();
    if !matches!(name, "file" | "folder" | "pem" | "storage") {
        return Err(cursor.unknown_subdirective("verifier leaf", ["file", "folder"]));
    }
    Ok(loader(name, cursor.remaining_values()))
}

fn loader(name: &str, values: Vec<String>) -> Json {
    let field = match name {
        "file" => "files",
        "folder" => "folders",
        _ => "certificates",
    };
    let mut loader = Map::new();
    loader.insert(field.to_owned(), json!(values));
    loader.insert("loader".to_owned(), name.into());
    Json::Object(loader)
}
