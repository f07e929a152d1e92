//! Times as Alipay writes them: Beijing time (UTC+8) without an offset.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{Offset, TimeZone},
};

const BEIJING: Offset = Offset::constant(8);

/// `2019-08-15 15:56:22`
pub(crate) fn wire(at: Timestamp) -> String {
    local(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2020-03-27 18:19:15.143`, the form of `gmt_refund` alone (seen in public refund notifications).
pub(crate) fn wire_millis(at: Timestamp) -> String {
    local(at).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

/// `2019年05月10日 07:27:37`, the form of statements.
pub(crate) fn chinese(at: Timestamp) -> String {
    local(at).strftime("%Y年%m月%d日 %H:%M:%S").to_string()
}

/// Reads `yyyy-MM-dd HH:mm:ss`.
pub(crate) fn from_wire(text: &str) -> Option<Timestamp> {
    let local = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    BEIJING.to_timestamp(local).ok()
}

/// The Beijing day in which `at` lies.
pub(crate) fn day(at: Timestamp) -> Date {
    local(at).date()
}

/// The first instant of a Beijing day; `None` outside the representable range.
pub(crate) fn day_start(day: Date) -> Option<Timestamp> {
    BEIJING.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok()
}

/// The midnight that ends the Beijing day in which `at` lies.
pub(crate) fn next_midnight(at: Timestamp) -> Timestamp {
    day(at).checked_add(1.day()).ok().and_then(day_start).unwrap_or(Timestamp::MAX)
}

fn local(at: Timestamp) -> DateTime {
    TimeZone::fixed(BEIJING).to_datetime(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_time_is_beijing_time() {
        let at: Timestamp = "2019-08-15T07:56:22.25Z".parse().unwrap();
        assert_eq!(wire(at), "2019-08-15 15:56:22");
        assert_eq!(wire_millis(at), "2019-08-15 15:56:22.250");
        assert_eq!(chinese(at), "2019年08月15日 15:56:22");
        assert_eq!(from_wire("2019-08-15 15:56:22").unwrap().to_string(), "2019-08-15T07:56:22Z");
        assert_eq!(from_wire("2019-08-15T15:56:22Z"), None);
        assert_eq!(from_wire("2019-02-30 00:00:00"), None);
    }

    #[test]
    fn the_day_is_cut_at_beijing_midnight() {
        let before: Timestamp = "2019-08-15T15:59:59Z".parse().unwrap();
        let after: Timestamp = "2019-08-15T16:00:00Z".parse().unwrap();
        assert_eq!(day(before).to_string(), "2019-08-15");
        assert_eq!(day(after).to_string(), "2019-08-16");
        assert_eq!(next_midnight(before), after);
        assert_eq!(day_start(day(after)), Some(after));
    }
}
