//! How log entries look: JSON, or text for people.

use std::io::Write;

use caddyfile::document::{FilterEncoder, LogEncoder, TemplateEncoder, TextEncoder};
use serde::Serialize as _;
use serde_json::ser::Formatter;

use super::filter::{self, Change};
use super::template::LineTemplate;
use super::time_format::TimeFormat;
use super::writer::Writer;
use super::{Level, Node};
use crate::compile::Scope;

/// How entries look.
#[derive(Debug)]
pub(super) struct Encoder {
    changes: Box<[Change]>,
    text: Text,
    shape: Shape,
}

/// What entries are written as.
#[derive(Debug)]
enum Shape {
    Console,
    Json,
    Line(LineTemplate),
}

/// Names of the usual fields (`None` leaves a field out), and forms of values.
#[derive(Debug)]
struct Text {
    message: Option<String>,
    level: Option<String>,
    time: Option<String>,
    logger: Option<String>,
    line_ending: String,
    time_format: TimeFormat,
    duration: DurationFormat,
    level_format: LevelFormat,
}

#[derive(Clone, Copy, Debug)]
enum DurationFormat {
    Milliseconds,
    Nanoseconds,
    Seconds,
    Text,
}

#[derive(Clone, Copy, Debug)]
enum LevelFormat {
    Color,
    Lower,
    Upper,
}

impl Encoder {
    /// Compiles an encoder; without one, a terminal gets text and anything else JSON.
    pub(super) fn compile(
        document: Option<&LogEncoder>,
        writer: &Writer,
        scope: &mut Scope,
    ) -> Self {
        let mut changes = Vec::new();
        let mut document = document;
        loop {
            let (shape, text) = match document {
                None if writer.is_terminal() => (Shape::Console, &TextEncoder::default()),
                None => (Shape::Json, &TextEncoder::default()),
                Some(LogEncoder::Console(text)) => (Shape::Console, text),
                Some(LogEncoder::Json(text)) => (Shape::Json, text),
                Some(LogEncoder::Formatted(line) | LogEncoder::Transform(line)) => {
                    let escapes = !line.unescape_strings;
                    let template =
                        LineTemplate::compile(&line.template, &line.placeholder, escapes);
                    (Shape::Line(template), &text_of(line))
                }
                Some(LogEncoder::SingleField(field)) => {
                    let template = format!("{{{}}}", field.field);
                    let line = TemplateEncoder::default();
                    let shape = Shape::Line(LineTemplate::compile(&template, "", true));
                    (shape, &text_of(&line))
                }
                Some(LogEncoder::Filter(FilterEncoder { wrap, fields })) => {
                    changes.extend(filter::compile(fields, scope));
                    document = wrap.as_deref();
                    continue;
                }
                Some(LogEncoder::Append(FilterEncoder { wrap, fields })) => {
                    changes.extend(filter::appended(fields, scope));
                    document = wrap.as_deref();
                    continue;
                }
                Some(other @ LogEncoder::Other(_)) => {
                    scope.error_with_hint(
                        format!("the log format `{}` is not supported", other.module()),
                        "use `json`, `console`, `transform`, `filter` or `append`",
                    );
                    (Shape::Json, &TextEncoder::default())
                }
            };
            let text = Text::compile(text, matches!(shape, Shape::Console), scope);
            return Self {
                changes: changes.into(),
                text,
                shape,
            };
        }
    }

    /// An entry as it is written, with its line's end.
    pub(super) fn encode(
        &self,
        level: Level,
        logger: &str,
        message: &str,
        fields: &Node,
    ) -> Vec<u8> {
        let mut fields = fields.clone();
        for change in &self.changes {
            change.apply(&mut fields);
        }
        self.text.format_duration(&mut fields);
        let mut line = Vec::with_capacity(1024);
        // Writing to memory does not fail, and every key of an entry is text.
        match &self.shape {
            Shape::Console => {
                let _ = self.console(&mut line, level, logger, message, &fields);
            }
            Shape::Json => {
                let entry = self.entry(level, logger, message, &mut fields);
                let _ = serde_json::to_writer(&mut line, &entry);
            }
            Shape::Line(template) => {
                template.write(&mut line, &self.entry(level, logger, message, &mut fields));
            }
        }
        line.extend_from_slice(self.text.line_ending.as_bytes());
        line
    }

    /// The entry with its usual fields in front.
    fn entry(&self, level: Level, logger: &str, message: &str, fields: &mut Node) -> Node {
        let text = &self.text;
        let mut entry = Vec::with_capacity(fields.fields().len() + 4);
        let mut usual = |name: &Option<String>, value: Node| {
            entry.extend(name.clone().map(|name| (name.into(), value)));
        };
        usual(&text.level, Node::text(text.level_format.of(level)));
        usual(&text.time, text.time_format.now());
        usual(&text.logger, Node::text(logger.to_owned()));
        usual(&text.message, Node::text(message.to_owned()));
        entry.append(fields.fields_mut().unwrap_or(&mut Vec::new()));
        Node::Object(entry)
    }

    fn console(
        &self,
        line: &mut Vec<u8>,
        level: Level,
        logger: &str,
        message: &str,
        fields: &Node,
    ) -> std::io::Result<()> {
        let text = &self.text;
        if text.time.is_some() {
            match text.time_format.now() {
                Node::Text(time) => write!(line, "{time}\t")?,
                Node::Float(time) => write!(line, "{}\t", go_float(time))?,
                time => {
                    serde_json::to_writer(&mut *line, &time)?;
                    line.push(b'\t');
                }
            }
        }
        if text.level.is_some() {
            write!(line, "{}\t", text.level_format.of(level))?;
        }
        if text.logger.is_some() {
            write!(line, "{logger}\t")?;
        }
        if text.message.is_some() {
            write!(line, "{message}\t")?;
        }
        fields.serialize(&mut serde_json::Serializer::with_formatter(line, Spaced))?;
        Ok(())
    }
}

/// The forms of values in a line by a template: times are those of the common log format.
fn text_of(line: &TemplateEncoder) -> TextEncoder {
    let time_format = match line.time_format.as_str() {
        "" => "common_log",
        format => format,
    };
    TextEncoder {
        line_ending: line.line_ending.clone(),
        time_format: time_format.to_owned(),
        time_local: line.time_local,
        duration_format: line.duration_format.clone(),
        level_format: line.level_format.clone(),
        ..TextEncoder::default()
    }
}

/// JSON on one line with a space behind each comma and colon (zap's console encoder).
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// A number as Go prints it: large ones with an exponent of two digits.
fn go_float(number: f64) -> String {
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            format!("{digits}e+{exponent:0>2}")
        }
        _ => text,
    }
}

impl Text {
    fn compile(document: &TextEncoder, is_console: bool, scope: &mut Scope) -> Self {
        let name = |name: &Option<String>, default: &str| {
            let name = name.clone().unwrap_or_else(|| default.to_owned());
            (!name.is_empty()).then_some(name)
        };
        let duration = match document.duration_format.as_str() {
            "" | "s" | "second" | "seconds" => DurationFormat::Seconds,
            "ms" | "milli" | "millis" => DurationFormat::Milliseconds,
            "ns" | "nano" | "nanos" => DurationFormat::Nanoseconds,
            "string" => DurationFormat::Text,
            other => {
                scope.error_with_hint(
                    format!("the duration format `{other}` is not supported"),
                    "use `seconds`, `ms`, `nano` or `string`",
                );
                DurationFormat::Seconds
            }
        };
        let level_format = match document.level_format.as_str() {
            "" if is_console => LevelFormat::Upper,
            "" | "lower" => LevelFormat::Lower,
            "upper" => LevelFormat::Upper,
            "color" => LevelFormat::Color,
            other => {
                scope.error_with_hint(
                    format!("the level format `{other}` is not supported"),
                    "use `lower`, `upper` or `color`",
                );
                LevelFormat::Lower
            }
        };
        let default = if is_console {
            "wall_milli"
        } else {
            "unix_seconds_float"
        };
        Self {
            message: name(&document.message_key, "msg"),
            level: name(&document.level_key, "level"),
            time: name(&document.time_key, "ts"),
            logger: name(&document.name_key, "logger"),
            line_ending: document
                .line_ending
                .clone()
                .unwrap_or_else(|| "\n".to_owned()),
            time_format: TimeFormat::compile(
                &document.time_format,
                document.time_local,
                default,
                scope,
            ),
            duration,
            level_format,
        }
    }

    fn format_duration(&self, fields: &mut Node) {
        let fields = fields.fields_mut().into_iter().flatten();
        for (_, value) in fields.filter(|(name, _)| name == "duration") {
            let Node::Float(seconds) = *value else {
                continue;
            };
            let duration = std::time::Duration::from_secs_f64(seconds.max(0.0));
            *value = match self.duration {
                DurationFormat::Seconds => continue,
                DurationFormat::Milliseconds => {
                    Node::Integer(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
                }
                DurationFormat::Nanoseconds => {
                    Node::Integer(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
                }
                DurationFormat::Text => Node::text(crate::placeholder::go_duration(duration)),
            };
        }
    }
}

impl LevelFormat {
    fn of(self, level: Level) -> String {
        let name = level.as_str();
        match self {
            Self::Lower => name.to_owned(),
            Self::Upper => name.to_uppercase(),
            Self::Color => {
                let color = if level == Level::Error { 31 } else { 34 };
                format!("\x1b[{color}m{}\x1b[0m", name.to_uppercase())
            }
        }
    }
}
