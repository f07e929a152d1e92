//! The time by which the caller of the running call wants its answer.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs a future as part of a call that must be answered by `deadline`. Calls to other services made inside carry
/// the deadline on. It interrupts nothing by itself.
pub async fn scope<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// Returns the running call's deadline; none outside of a call.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|d| *d).ok()
}

/// Returns how long the running call still has, at most `limit`; `limit` outside of a call.
pub fn remaining(limit: Duration) -> Duration {
    current().map_or(limit, |d| d.saturating_duration_since(Instant::now()).min(limit))
}

/// Reads the `grpc-timeout` header (gRPC over HTTP/2: at most eight digits and a unit).
pub(crate) fn from_headers(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(value)),
        "M" => Some(Duration::from_mins(value)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn read(text: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(text));
        from_headers(&headers)
    }

    #[test]
    fn timeouts_read_as_the_protocol_says() {
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for bad in ["", "S", "5", "123456789S", "-1S", "5X"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
