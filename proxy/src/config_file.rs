//! The configuration file: read with all that it imports, and made into Caddy's document.

mod imports;

use std::fmt;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use caddyfile::diagnostic::{Diagnostic, render, render_coloured};
use caddyfile::document::Document;
use caddyfile::token::Sources;
use sha2::{Digest as _, Sha256};

use crate::app::listeners::{TlsSources, listeners};
use crate::compile::{CompileContext, CompileError, Config, compile};
use imports::Imports;

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// A Caddyfile, or a document if the name ends in `.json`.
    Path(PathBuf),
    /// A Caddyfile on standard input.
    StandardInput,
}

/// A document and what it was made from.
#[derive(Debug)]
pub struct Loaded {
    /// Caddy's document.
    pub document: Document,
    /// Warnings, rendered; empty when there are none.
    pub warnings: Report,
    /// What was read.
    pub inputs: Inputs,
    /// The texts of a Caddyfile, which the document's origins refer to.
    pub sources: Sources,
}

/// The files that a configuration was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// The folders that were searched or that the files are in.
    pub folders: Vec<PathBuf>,
    /// Changes whenever a text that was read changes.
    pub fingerprint: [u8; 32],
}

/// Diagnostics as a person reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Without colours.
    pub plain: String,
    /// With colours where standard error is a terminal.
    pub coloured: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", report.plain.trim_end())]
pub struct LoadError {
    /// Every error, and the warnings.
    pub report: Report,
    /// What was read until then, as far as it is known.
    pub inputs: Box<Inputs>,
}

impl ConfigFile {
    /// The file that `argument` names; `-` is standard input.
    pub fn from_argument(argument: &Path) -> Self {
        if argument.as_os_str() == "-" {
            Self::StandardInput
        } else {
            Self::Path(argument.to_owned())
        }
    }

    /// The path, unless it is standard input.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::StandardInput => None,
        }
    }

    /// Reads its text. Blocks.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8, in words for an operator.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Self::Path(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {} (--config): {error}", path.display())),
            Self::StandardInput => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|error| format!("cannot read standard input: {error}"))?;
                Ok(text)
            }
        }
    }

    /// Reads it and makes it a document. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let text = self.read().map_err(|message| LoadError {
            report: Report::error(&message),
            inputs: Box::default(),
        })?;
        if self
            .path()
            .and_then(Path::extension)
            .is_some_and(|extension| extension == "json")
        {
            return self.load_document(&text);
        }
        let imports = Imports::default();
        let environment = |name: &str| std::env::var(name).ok();
        let adapted = caddyfile::adapt(&self.to_string(), &text, &imports, &environment);
        let inputs = self.inputs(&text, imports);
        let report = Report::render(&adapted.diagnostics, &adapted.sources);
        let is_fatal = adapted.diagnostics.iter().any(Diagnostic::is_fatal);
        match adapted.document {
            Some(document) if !is_fatal => Ok(Loaded {
                document,
                warnings: report,
                inputs,
                sources: adapted.sources,
            }),
            _ => Err(LoadError {
                report,
                inputs: Box::new(inputs),
            }),
        }
    }

    fn load_document(&self, text: &str) -> Result<Loaded, LoadError> {
        let inputs = self.inputs(text, Imports::default());
        match serde_json::from_str(text) {
            Ok(document) => Ok(Loaded {
                document,
                warnings: Report::default(),
                inputs,
                sources: Sources::default(),
            }),
            Err(error) => {
                let report = Report::plain(format!(
                    "{self}:{}:{}: {error}\n",
                    error.line(),
                    error.column()
                ));
                Err(LoadError {
                    report,
                    inputs: Box::new(inputs),
                })
            }
        }
    }

    fn inputs(&self, text: &str, imports: Imports) -> Inputs {
        let mut digest = Sha256::new();
        digest.update(text);
        let mut inputs = Inputs::default();
        let path = self.path().map(Path::to_owned);
        let (files, folders) = imports.into_seen(&mut digest);
        inputs.files = path.into_iter().chain(files).collect();
        inputs.folders = folders;
        inputs.folders.extend(
            inputs
                .files
                .iter()
                .map(|file| imports::folder_of(file).to_owned()),
        );
        inputs.folders.sort();
        inputs.folders.dedup();
        inputs.fingerprint = digest.finalize().into();
        inputs
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::StandardInput => f.write_str("Caddyfile"),
        }
    }
}

impl Loaded {
    /// Compiles the document. Blocks, since certificate files are read.
    ///
    /// # Errors
    /// Every part of it that cannot be run.
    pub fn compile(self) -> Result<(Config, Inputs, Report), LoadError> {
        self.compile_for(&CompileContext::default())
    }

    /// Compiles the document as `context` says. Blocks.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_for(
        self,
        context: &CompileContext,
    ) -> Result<(Config, Inputs, Report), LoadError> {
        let Self {
            document,
            warnings,
            inputs,
            sources,
        } = self;
        // What listeners cannot do is found here too, where its place is known.
        let compiled = compile(document, context).and_then(|config| {
            listeners(&config, &TlsSources::default())?;
            Ok(config)
        });
        match compiled {
            Ok(config) => Ok((config, inputs, warnings)),
            Err(errors) => {
                let mut report = warnings;
                report.push(&Report::compile_errors(&errors, &sources));
                Err(LoadError {
                    report,
                    inputs: Box::new(inputs),
                })
            }
        }
    }
}

impl Report {
    /// A single error without a place.
    pub fn error(message: &str) -> Self {
        Self::plain(format!("error: {message}\n"))
    }

    fn plain(text: String) -> Self {
        Self {
            coloured: text.clone(),
            plain: text,
        }
    }

    fn render(diagnostics: &[Diagnostic], sources: &Sources) -> Self {
        let plain = render(diagnostics, sources);
        let coloured = if std::io::stderr().is_terminal() {
            render_coloured(diagnostics, sources)
        } else {
            plain.clone()
        };
        Self { plain, coloured }
    }

    /// The errors of a document: by their place in `sources` where they have one, else by their
    /// path in the document.
    pub fn compile_errors(errors: &[CompileError], sources: &Sources) -> Self {
        let placed: Vec<Diagnostic> = errors.iter().filter_map(diagnostic).collect();
        let mut report = Self::render(&placed, sources);
        let mut text = String::new();
        for error in errors.iter().filter(|error| error.origin.is_none()) {
            text.push_str(&format!("error: {error}\n"));
            if let Some(hint) = &error.hint {
                text.push_str(&format!("  hint: {hint}\n"));
            }
        }
        report.push(&Self::plain(text));
        report
    }

    fn push(&mut self, other: &Self) {
        self.plain.push_str(&other.plain);
        self.coloured.push_str(&other.coloured);
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }
}

/// An error at its place, if it has one.
fn diagnostic(error: &CompileError) -> Option<Diagnostic> {
    let diagnostic = Diagnostic::error(&error.message).at_origin(error.origin?);
    Some(match &error.hint {
        Some(hint) => diagnostic.with_help(hint),
        None => diagnostic,
    })
}
