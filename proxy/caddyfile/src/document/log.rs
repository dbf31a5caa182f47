//! Logs: where entries go and what they look like.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Duration, Empty, Written, modules, object};

object! {
    /// Caddy: `logging`.
    pub struct Logging {
        /// Takes what the Go standard library's logger writes.
        pub sink: Option<Sink>,
        /// Logs by name; `default` takes every entry unless it says otherwise.
        pub logs: BTreeMap<String, CustomLog>,
    }
}

object! {
    /// Caddy: `logging/sink`.
    pub struct Sink {
        /// Where the entries go.
        pub writer: Option<LogWriter>,
    }
}

object! {
    /// One log: which entries it takes, where they go and how they look.
    pub struct CustomLog {
        /// Where the log was written.
        #[serde(skip)]
        pub written: Written,
        /// Where entries go; absent means standard error.
        pub writer: Option<LogWriter>,
        /// How entries look; absent means console on a terminal, else JSON.
        pub encoder: Option<LogEncoder>,
        /// Least level: `DEBUG`, `INFO`, `WARN`, `ERROR`, `PANIC` or `FATAL`; empty is `INFO`.
        pub level: String,
        /// Drops repeated entries.
        pub sampling: Option<Sampling>,
        /// Adds the place in the source to each entry.
        pub with_caller: bool,
        /// Adds stack traces from this level on.
        pub with_stacktrace: String,
        /// Core module, raw.
        pub core: Option<Value>,
        /// Logger names that are taken; empty means all.
        pub include: Vec<String>,
        /// Logger names that are not taken.
        pub exclude: Vec<String>,
    }
}

object! {
    /// Caddy: `sampling`.
    pub struct Sampling {
        /// Length of the window.
        pub interval: Duration,
        /// Entries of one message that are kept at the start of a window.
        pub first: i64,
        /// After those, one in this many is kept.
        pub thereafter: i64,
    }
}

modules! {
    /// Where entries go.
    pub enum LogWriter in "output" {
        /// Nowhere.
        "discard" => Discard(Empty),
        /// A file, rolled by size.
        "file" => File(FileWriter),
        /// A socket.
        "net" => Net(NetWriter),
        /// Standard error.
        "stderr" => Stderr(Empty),
        /// Standard output.
        "stdout" => Stdout(Empty),
    }
}

object! {
    /// Caddy: `logging.writers.file`.
    pub struct FileWriter {
        /// Path of the file.
        pub filename: String,
        /// Permissions in octal; Caddy's default is `0600`.
        pub mode: String,
        /// Permissions of folders that are created: octal, `inherit` or `from_file`.
        pub dir_mode: String,
        /// Whether files are rolled; absent means yes.
        pub roll: Option<bool>,
        /// Size at which a file is rolled, in MiB; 0 is Caddy's default of 100.
        pub roll_size_mb: i64,
        /// Age at which a file is rolled.
        pub roll_interval: Duration,
        /// Minutes of each hour at which a file is rolled.
        pub roll_minutes: Vec<i64>,
        /// Times of day (`HH:MM`) at which a file is rolled.
        pub roll_at: Vec<String>,
        /// Whether rolled files are compressed with gzip; absent means yes.
        pub roll_gzip: Option<bool>,
        /// Compression of rolled files: `gzip`, `zstd` or `none`.
        pub roll_compression: String,
        /// Names rolled files by local time instead of UTC.
        pub roll_local_time: bool,
        /// Number of rolled files that are kept; 0 is Caddy's default of 10.
        pub roll_keep: i64,
        /// Days that rolled files are kept; 0 is Caddy's default of 90.
        pub roll_keep_days: i64,
        /// Go time layout in the names of rolled files.
        pub backup_time_format: String,
    }
}

object! {
    /// Caddy: `logging.writers.net`.
    pub struct NetWriter {
        /// Network address.
        pub address: String,
        /// Time to connect; 0 is Caddy's default of 10 s.
        pub dial_timeout: Duration,
        /// Starts although the address does not answer.
        pub soft_start: bool,
    }
}

modules! {
    /// How entries look.
    pub enum LogEncoder in "format" {
        /// Adds fields to entries.
        "append" => Append(FilterEncoder),
        /// Text for people.
        "console" => Console(TextEncoder),
        /// Changes or removes fields of entries.
        "filter" => Filter(FilterEncoder),
        /// A line by a template (`caddyserver/format-encoder`); not of stock Caddy.
        "formatted" => Formatted(TemplateEncoder),
        /// One JSON object in a line.
        "json" => Json(TextEncoder),
        /// One field of an entry; of older versions of Caddy.
        "single_field" => SingleField(SingleFieldEncoder),
        /// A line by a template (`caddyserver/transform-encoder`); not of stock Caddy.
        "transform" => Transform(TemplateEncoder),
    }
}

object! {
    /// Caddy: `logging.encoders.console` and `logging.encoders.json`.
    pub struct TextEncoder {
        /// Name of the message field; absent is `msg`, empty leaves it out.
        pub message_key: Option<String>,
        /// Name of the level field.
        pub level_key: Option<String>,
        /// Name of the time field.
        pub time_key: Option<String>,
        /// Name of the logger field.
        pub name_key: Option<String>,
        /// Name of the caller field.
        pub caller_key: Option<String>,
        /// Name of the stack trace field.
        pub stacktrace_key: Option<String>,
        /// What ends an entry; absent is a line feed.
        pub line_ending: Option<String>,
        /// Format of times, such as `unix_seconds_float`, `rfc3339` or a Go layout.
        pub time_format: String,
        /// Writes local time instead of UTC.
        pub time_local: bool,
        /// Format of durations: `seconds`, `ms`, `nano` or `string`.
        pub duration_format: String,
        /// Format of levels: `lower`, `upper` or `color`.
        pub level_format: String,
    }
}

object! {
    /// The modules `formatted` and `transform`.
    pub struct TemplateEncoder {
        /// Text with fields in braces, such as `{request>uri}`; empty is `{common_log}`.
        pub template: String,
        /// What stands for a field that an entry does not have; empty is `-`.
        pub placeholder: String,
        /// Writes texts without JSON's escapes, so that they may have quotes and line ends.
        pub unescape_strings: bool,
        /// What ends an entry; absent is a line feed.
        pub line_ending: Option<String>,
        /// Format of times; empty is that of the common log format.
        pub time_format: String,
        /// Writes local time instead of UTC.
        pub time_local: bool,
        /// Format of durations: `seconds`, `ms`, `nano` or `string`.
        pub duration_format: String,
        /// Format of levels: `lower`, `upper` or `color`.
        pub level_format: String,
    }
}

object! {
    /// The module `single_field`.
    pub struct SingleFieldEncoder {
        /// Name of the field; `common_log` is a line in the common log format.
        pub field: String,
    }
}

object! {
    /// Caddy: `logging.encoders.filter` and `logging.encoders.append`.
    pub struct FilterEncoder {
        /// The encoder that writes the changed entry; absent is the log's default.
        pub wrap: Option<Box<LogEncoder>>,
        /// By field (`>` descends, as in `request>headers>Cookie`): an object whose `filter`
        /// names the change, raw; for `append` the value to add.
        pub fields: BTreeMap<String, Value>,
    }
}
