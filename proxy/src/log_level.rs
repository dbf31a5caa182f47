//! The level that the program logs at: the flag's, or the configuration's where no flag is given.

use proto::sidecar::cli::CommonArgs;
use proto::sidecar::logs::{self, Level};

use crate::compile::Config;

/// What `--log-level` is when it is not given.
const DEFAULT: &str = "info";

/// Follows the configuration that is in force.
#[derive(Clone, Debug)]
pub struct LogLevel {
    flag: String,
    level: Level,
}

impl LogLevel {
    /// Starts logging, as the flags and `config` say.
    ///
    /// # Errors
    /// When the flag's level cannot be parsed.
    pub fn start(flags: &CommonArgs, config: &Config) -> Result<Self, String> {
        let directives = directives(&flags.log_level, &config.log_level);
        Ok(Self {
            level: logs::start(flags.log_format, &directives)?,
            flag: flags.log_level.clone(),
        })
    }

    /// Logs as `config` says from now on.
    pub(crate) fn follow(&self, config: &Config) {
        if let Err(error) = self.level.set(&directives(&self.flag, &config.log_level)) {
            tracing::warn!(error, "the log level stays as it was");
        }
    }
}

/// The configuration's level is about this program, and not about the libraries in it.
fn directives(flag: &str, configured: &str) -> String {
    match configured {
        level @ ("debug" | "error" | "warn") if flag == DEFAULT => {
            let libraries = if level == "debug" { DEFAULT } else { level };
            format!("{libraries},proxy={level},downstream={level},upstream={level}")
        }
        _ => flag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_flag_goes_before_the_configuration() {
        let debug = "info,proxy=debug,downstream=debug,upstream=debug";
        for (flag, configured, expected) in [
            ("info", "", "info"),
            ("info", "info", "info"),
            ("info", "debug", debug),
            ("warn", "debug", "warn"),
            ("proxy=trace", "error", "proxy=trace"),
        ] {
            assert_eq!(directives(flag, configured), expected);
        }
    }
}
