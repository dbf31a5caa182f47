//! `proxy validate`, `adapt` and `fmt`: what needs no running proxy.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proto::sidecar::cli::Exit;

use super::{FileArgs, complain, print};
use crate::config_file::{ConfigFile, Loaded};

impl FileArgs {
    fn config_file(&self) -> ConfigFile {
        ConfigFile::from_argument(self.file.as_deref().unwrap_or(&self.config))
    }
}

pub(super) fn validate(args: &FileArgs) -> Exit {
    let file = args.config_file();
    match file.load().and_then(Loaded::compile) {
        Ok((_, _, warnings)) => {
            complain(&warnings.coloured);
            print("Valid configuration\n");
            Exit::Done
        }
        Err(error) => {
            complain(&error.report.coloured);
            Exit::Usage
        }
    }
}

pub(super) fn adapt(args: &FileArgs, pretty: bool) -> Exit {
    let loaded = match args.config_file().load() {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error.report.coloured);
            return Exit::Usage;
        }
    };
    complain(&loaded.warnings.coloured);
    match to_json(&loaded, pretty) {
        Ok(json) => {
            print(&json);
            Exit::Done
        }
        Err(error) => {
            complain(&format!(
                "error: the document cannot be written as JSON: {error}\n"
            ));
            Exit::Failed
        }
    }
}

/// JSON as Caddy prints it: on one line, or indented by tabs.
fn to_json(loaded: &Loaded, pretty: bool) -> serde_json::Result<String> {
    if !pretty {
        return serde_json::to_string(&loaded.document).map(|json| json + "\n");
    }
    let mut json = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
    serde::Serialize::serialize(&loaded.document, &mut serializer)?;
    json.push(b'\n');
    Ok(String::from_utf8_lossy(&json).into_owned())
}

pub(super) fn format(args: &FileArgs, overwrite: bool) -> Exit {
    let file = args.config_file();
    let text = match file.read() {
        Ok(text) => text,
        Err(message) => {
            complain(&format!("error: {message}\n"));
            return Exit::Usage;
        }
    };
    let formatted = caddyfile::format::format(&text);
    match file.path().filter(|_| overwrite) {
        Some(_) if formatted == text => Exit::Done,
        Some(path) => match replace(path, &formatted) {
            Ok(()) => Exit::Done,
            Err(error) => {
                complain(&format!(
                    "error: cannot write {}: {error}\n",
                    path.display()
                ));
                Exit::Failed
            }
        },
        None => {
            print(&formatted);
            Exit::Done
        }
    }
}

/// Replaces a file by one with the same permissions, never leaving half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // Behind a link it is the file that is replaced, not the link.
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let permissions = std::fs::metadata(&path)?.permissions();
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file()
        .set_permissions(std::fs::Permissions::from_mode(permissions.mode()))?;
    new.as_file().sync_all()?;
    new.persist(&path)?;
    Ok(())
}
