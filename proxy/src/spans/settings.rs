//! What the environment says of traces, by OpenTelemetry's names.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

/// How long a collector may take, unless the environment says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What the environment says of traces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where spans are sent, if anywhere.
    pub collector: Option<Collector>,
    /// Whether the trace that a request is part of is told and heard of (W3C Trace Context).
    pub propagates: bool,
}

/// Where spans are sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Collector {
    pub transport: Transport,
    /// Scheme, host and port.
    pub name: String,
    pub is_encrypted: bool,
    pub timeout: Duration,
    /// File with the authority's certificates, in place of the public ones.
    authority: Option<PathBuf>,
}

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Grpc,
    /// Protocol buffers over HTTP.
    Http,
}

impl Settings {
    /// What this process's environment says.
    ///
    /// # Errors
    /// The variable, its value, and what it may be.
    pub(crate) fn from_environment() -> Result<Self, String> {
        Self::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let sampler = variable("OTEL_TRACES_SAMPLER");
        if let Some(sampler) = &sampler {
            one_of("OTEL_TRACES_SAMPLER", sampler, &SAMPLERS)?;
        }
        if sampler.is_some_and(|sampler| sampler.ends_with("traceidratio"))
            && let Some(share) = variable("OTEL_TRACES_SAMPLER_ARG")
            && !share
                .parse()
                .is_ok_and(|share| (0.0..=1.0).contains(&share))
        {
            return Err(format!(
                "OTEL_TRACES_SAMPLER_ARG is `{share}`: it must be a share between 0 and 1"
            ));
        }
        let propagates = match variable("OTEL_PROPAGATORS") {
            None => true,
            Some(names) => {
                let names: Vec<&str> = names.split(',').map(str::trim).collect();
                for name in &names {
                    one_of(
                        "OTEL_PROPAGATORS",
                        name,
                        &["tracecontext", "baggage", "none"],
                    )?;
                }
                names.contains(&"tracecontext")
            }
        };
        Ok(Self {
            collector: Collector::read(&variable)?,
            propagates,
        })
    }
}

impl Collector {
    fn read(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let is_disabled = variable("OTEL_SDK_DISABLED")
            .is_some_and(|disabled| disabled.eq_ignore_ascii_case("true"));
        let exporter = variable("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
        one_of("OTEL_TRACES_EXPORTER", &exporter, &["otlp", "none"])?;
        if is_disabled || exporter == "none" {
            return Ok(None);
        }
        // Each has a form for all signals, and one for traces that goes before it.
        let either = |rest: &str| {
            let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"]
                .map(|prefix| format!("{prefix}{rest}"));
            names.into_iter().find_map(|name| {
                let value = variable(&name)?;
                Some((name, value))
            })
        };
        let transport = match either("PROTOCOL") {
            None => Transport::Http,
            Some((name, value)) => {
                one_of(&name, &value, &["grpc", "http/protobuf"])?;
                if value == "grpc" {
                    Transport::Grpc
                } else {
                    Transport::Http
                }
            }
        };
        let (name, is_encrypted) = match either("ENDPOINT") {
            Some((name, value)) => endpoint(&name, &value)?,
            None if transport == Transport::Grpc => ("http://localhost:4317".to_owned(), false),
            None => ("http://localhost:4318".to_owned(), false),
        };
        let timeout = match either("TIMEOUT") {
            None => TIMEOUT,
            Some((name, value)) => Duration::from_millis(
                value
                    .parse()
                    .map_err(|_| format!("{name} is `{value}`: it must be milliseconds"))?,
            ),
        };
        if let Some((name, value)) = either("COMPRESSION") {
            one_of(&name, &value, &["gzip", "none"])?;
        }
        Ok(Some(Self {
            transport,
            name,
            is_encrypted,
            timeout,
            authority: either("CERTIFICATE").map(|(_, file)| file.into()),
        }))
    }

    /// The authority's certificates, where the environment names a file with them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn authority(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = &self.authority else {
            return Ok(None);
        };
        let read = std::fs::read(file).map(Some);
        read.map_err(|error| {
            format!(
                "{} (OTEL_EXPORTER_OTLP_CERTIFICATE): {error}",
                file.display()
            )
        })
    }
}

/// Scheme, host and port of an endpoint, and whether connections to it are encrypted.
fn endpoint(name: &str, value: &str) -> Result<(String, bool), String> {
    // Endpoints can hold credentials.
    let wrong = || format!("{name} is no URL such as http://collector:4318");
    let uri: Uri = value.parse().map_err(|_| wrong())?;
    let scheme = uri.scheme_str().ok_or_else(wrong)?;
    if !["http", "https"].contains(&scheme) {
        return Err(wrong());
    }
    let host = uri.host().ok_or_else(wrong)?;
    let port = uri.port().map_or(String::new(), |port| format!(":{port}"));
    Ok((format!("{scheme}://{host}{port}"), scheme == "https"))
}

fn one_of(name: &str, value: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{name} is `{value}`: it can be {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn collector(variables: &[(&str, &str)]) -> Collector {
        read(variables).unwrap().collector.unwrap()
    }

    #[test]
    fn without_variables_a_collector_on_this_host_is_told_over_http() {
        let settings = read(&[]).unwrap();
        assert!(settings.propagates);
        let collector = settings.collector.unwrap();
        assert_eq!(collector.transport, Transport::Http);
        assert_eq!(collector.name, "http://localhost:4318");
        assert_eq!(collector.timeout, TIMEOUT);
    }

    #[test]
    fn variables_for_traces_go_before_those_for_everything() {
        let collector = collector(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "https://user:secret@collector:4317/x?token=1",
            ),
        ]);
        assert_eq!(collector.transport, Transport::Grpc);
        assert_eq!(collector.timeout, Duration::from_millis(2500));
        assert!(collector.is_encrypted);
        assert_eq!(collector.name, "https://collector:4317");
    }

    #[test]
    fn nothing_is_sent_where_that_is_wanted() {
        for variable in [
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_SDK_DISABLED", "true"),
        ] {
            assert_eq!(read(&[variable]).unwrap().collector, None, "{variable:?}");
        }
        let none = read(&[("OTEL_PROPAGATORS", "none")]).unwrap();
        assert!(!none.propagates);
        assert!(
            read(&[("OTEL_PROPAGATORS", "baggage, tracecontext")])
                .unwrap()
                .propagates
        );
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_the_variable() {
        for variables in [
            [("OTEL_TRACES_EXPORTER", "zipkin")].as_slice(),
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:/run/collector")],
            &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")],
            &[("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")],
            &[("OTEL_PROPAGATORS", "b3")],
            &[("OTEL_TRACES_SAMPLER", "sometimes")],
            &[
                ("OTEL_TRACES_SAMPLER_ARG", "7"),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ],
        ] {
            let error = read(variables).unwrap_err();
            assert!(error.starts_with(variables[0].0), "{error}");
        }
    }
}
