//! The time by which the caller of the running call wants its answer, and the permit that the call takes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tael_proto::r#type::v1::ErrorReason;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::status;

tokio::task_local! {
    static CALL: Call;
}

#[derive(Clone, Debug)]
struct Call {
    deadline: Instant,
    /// One of the server's permits; it is free when the last who holds it has ended.
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

/// Runs a future as part of a call that must be answered by `deadline`. Calls to other services made inside carry
/// the deadline on. It interrupts nothing by itself.
pub async fn scope<F: Future>(deadline: Instant, work: F) -> F::Output {
    let permit = CALL.try_with(|call| call.permit.clone()).ok().flatten();
    CALL.scope(Call { deadline, permit }, work).await
}

/// Runs a future as the work of a call that has one of the server's permits.
pub(crate) fn scope_with_permit<F: Future>(
    deadline: Instant,
    permit: Arc<OwnedSemaphorePermit>,
    work: F,
) -> impl Future<Output = F::Output> {
    CALL.scope(Call { deadline, permit: Some(permit) }, work)
}

/// Makes work that will go on in a task of its own, also when its caller has gone, part of the running call: it has
/// the call's deadline, and it keeps the call's permit, so that what runs is bounded by the server's limit and not only
/// what is waited for. Outside of a call the work is left as it is.
pub fn detach_with_permit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let call = CALL.try_with(Call::clone).ok();
    async move {
        match call {
            Some(call) => CALL.scope(call, work).await,
            None => work.await,
        }
    }
}

/// Returns the running call's deadline; none outside of a call.
pub fn current() -> Option<Instant> {
    CALL.try_with(|call| call.deadline).ok()
}

/// Returns how long the running call still has, at most `limit`; `limit` outside of a call.
pub fn remaining(limit: Duration) -> Duration {
    current().map_or(limit, |d| d.saturating_duration_since(Instant::now()).min(limit))
}

/// Refuses the running call when it has less time left than the answer needs, with the reason `DEADLINE_TOO_SHORT`: to
/// be asked right before something is done whose answer must be heard, as a channel is called. Outside of a call there is
/// time.
pub fn require(needed: Duration) -> Result<(), Status> {
    if remaining(needed) >= needed {
        return Ok(());
    }
    let needed_ms = needed.as_millis().to_string();
    Err(status::error(
        Code::DeadlineExceeded,
        status::SHARED_DOMAIN,
        ErrorReason::DeadlineTooShort.as_str_name(),
        format!("the call has less than the {needed_ms} ms left that its answer takes; nothing was done"),
        [("needed_ms", needed_ms)],
    ))
}

/// The header that says how long a call has (gRPC over HTTP/2: at most eight digits and a unit).
pub(crate) const HEADER: &str = "grpc-timeout";

/// Reads the header.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
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

/// Writes the header's value as precisely as eight digits allow, and never more time than there is.
pub(crate) fn to_header(timeout: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [(timeout.as_micros(), 'u'), (timeout.as_millis(), 'm'), (timeout.as_secs().into(), 'S')];
    let fitting = units.into_iter().find(|(value, _)| *value <= MOST);
    let (value, unit) = fitting.unwrap_or((MOST, 'S'));
    HeaderValue::try_from(format!("{value}{unit}")).expect("digits and a letter are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(text));
        from_headers(&headers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_the_time_for_an_answer_is_refused() {
        let needed = Duration::from_millis(100);
        assert!(require(needed).is_ok(), "outside of a call");
        for (left, enough) in [(16, false), (52, false), (99, false), (100, true), (5000, true)] {
            let deadline = Instant::now() + Duration::from_millis(left);
            let answer = scope(deadline, async { require(needed) }).await;
            assert_eq!(answer.is_ok(), enough, "{left} ms");
            let Err(refused) = answer else { continue };
            assert_eq!(refused.code(), Code::DeadlineExceeded);
            assert_eq!(status::reason(&refused).as_deref(), Some("DEADLINE_TOO_SHORT"));
        }
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

    #[test]
    fn a_timeout_is_written_as_precisely_as_there_is_room() {
        for (timeout, text) in [
            (Duration::ZERO, "0u"),
            (Duration::from_nanos(2_999), "2u"),
            (Duration::from_secs(10), "10000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_hours(6), "21600000m"),
            (Duration::from_hours(100), "360000S"),
            (Duration::MAX, "99999999S"),
        ] {
            let header = to_header(timeout);
            assert_eq!(header, text);
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(HEADER), header)]);
            assert!(from_headers(&headers).is_some_and(|read| read <= timeout), "{text}");
        }
    }
}
