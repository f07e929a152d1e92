use std::str::FromStr;

use tael_config::Env;
use tracing_subscriber::filter::Targets;

/// Where telemetry goes and what it contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// OpenTelemetry's `service.name` of this process.
    pub service: String,
    /// The OTLP/gRPC collector, for example `http://otel-collector:4317`. `None` switches traces and
    /// metrics off.
    pub otlp_endpoint: Option<String>,
    /// How a line of the log looks.
    pub log_format: LogFormat,
    /// Which events are logged, by level and target, in the syntax of [`Targets`]: for example `info,tael_payment=debug`.
    pub log_filter: String,
}

impl TelemetryConfig {
    /// Reads the configuration of the process called `service`; problems are noted in `env`.
    ///
    /// | variable | meaning | default |
    /// | --- | --- | --- |
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | collector for traces and metrics | neither |
    /// | `OTEL_SERVICE_NAME` | replaces `service` | |
    /// | `TAEL_LOG_FORMAT` | `json` or `text` | `json` |
    /// | `TAEL_LOG` | filter for logs | `info` |
    ///
    /// The OpenTelemetry SDK itself reads further standard variables, among them `OTEL_BSP_SCHEDULE_DELAY`
    /// (milliseconds a span may wait to be sent; 1000 here), `OTEL_BSP_MAX_QUEUE_SIZE` (how many may wait; 16384 here),
    /// `OTEL_METRIC_EXPORT_INTERVAL` (milliseconds between two exports of metrics; 10000 here), `OTEL_TRACES_SAMPLER` and
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn from_env(env: &mut Env, service: &str) -> TelemetryConfig {
        let ValidEndpoint(otlp_endpoint) = env.or("OTEL_EXPORTER_OTLP_ENDPOINT", ValidEndpoint(None));
        let ValidFilter(log_filter) = env.or("TAEL_LOG", ValidFilter("info".to_owned()));
        TelemetryConfig {
            service: env.or("OTEL_SERVICE_NAME", service.to_owned()),
            otlp_endpoint,
            log_format: env.or("TAEL_LOG_FORMAT", LogFormat::Json),
            log_filter,
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one readable line per event.
    Text,
    /// For machines: one JSON object per event, with the trace id.
    Json,
}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<LogFormat, UnknownLogFormat> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(UnknownLogFormat),
        }
    }
}

/// The text names no [`LogFormat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected text or json")]
pub struct UnknownLogFormat;

/// A filter that parses, so that a mistake in it is reported with those in other variables.
struct ValidFilter(String);

#[derive(Debug, thiserror::Error)]
enum InvalidFilter {
    #[error(transparent)]
    Malformed(#[from] tracing_subscriber::filter::ParseError),
    #[error("logs are filtered by level and target, not by span or field")]
    BySpan,
}

impl FromStr for ValidFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<ValidFilter, InvalidFilter> {
        // Taken for the name of a target, a span in brackets would match nothing and nobody would notice.
        if text.contains('[') {
            return Err(InvalidFilter::BySpan);
        }
        text.parse::<Targets>()?;
        Ok(ValidFilter(text.to_owned()))
    }
}

/// An absolute URL, checked for the same reason.
struct ValidEndpoint(Option<String>);

impl FromStr for ValidEndpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ValidEndpoint, Self::Err> {
        match text.parse::<http::Uri>() {
            Ok(uri) if uri.scheme().is_some() => Ok(ValidEndpoint(Some(text.to_owned()))),
            Ok(_) | Err(_) => Err("expected a URL such as http://localhost:4317"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::from_map(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn defaults_are_json_logs_and_no_tracing() {
        let mut env = env(&[]);
        assert_eq!(
            TelemetryConfig::from_env(&mut env, "order"),
            TelemetryConfig {
                service: "order".to_owned(),
                otlp_endpoint: None,
                log_format: LogFormat::Json,
                log_filter: "info".to_owned(),
            }
        );
    }

    #[test]
    fn every_variable_is_read() {
        let mut env = env(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ("OTEL_SERVICE_NAME", "order-blue"),
            ("TAEL_LOG_FORMAT", "text"),
            ("TAEL_LOG", "warn,tael_order=debug"),
        ]);
        assert_eq!(
            TelemetryConfig::from_env(&mut env, "order"),
            TelemetryConfig {
                service: "order-blue".to_owned(),
                otlp_endpoint: Some("http://collector:4317".to_owned()),
                log_format: LogFormat::Text,
                log_filter: "warn,tael_order=debug".to_owned(),
            }
        );
    }

    #[test]
    fn mistakes_are_noted_in_the_environment() {
        let mut env = env(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
            ("TAEL_LOG", "tael=loud"),
            ("TAEL_LOG_FORMAT", "xml"),
        ]);
        TelemetryConfig::from_env(&mut env, "order");
        let errors = env.finish(|| Some(())).unwrap_err().to_string();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 3, "{errors}");
        assert!(
            lines[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT is \"collector\": expected a URL"),
            "{errors}"
        );
        assert!(lines[1].starts_with("TAEL_LOG is \"tael=loud\": "), "{errors}");
        assert_eq!(lines[2], "TAEL_LOG_FORMAT is \"xml\": expected text or json");
    }

    #[test]
    fn a_filter_by_span_is_refused() {
        for filter in ["tael[audit.run]=debug", "[{tael.payment_id}]=debug"] {
            let mut env = env(&[("TAEL_LOG", filter)]);
            TelemetryConfig::from_env(&mut env, "order");
            let error = env.finish(|| Some(())).unwrap_err().to_string();
            assert!(error.ends_with("by level and target, not by span or field"), "{error}");
        }
    }
}
