//! Numbers in Alipay's shapes. A random run number keeps those of different sandbox processes apart, because the other
//! side's database outlives this one's memory.

use jiff::Timestamp;

use super::time;

/// Makes numbers.
#[derive(Debug)]
pub(crate) struct Ids {
    /// Seven digits, different in (nearly) every process.
    run: u32,
    next: u64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self { run: u32::from_le_bytes(random()) % 10_000_000, next: 0 }
    }

    /// 28 digits, beginning with the day: `trade_no`.
    pub(crate) fn trade_no(&mut self, now: Timestamp) -> String {
        format!("{}22001{}", day(now), self.unique())
    }

    /// 34 digits, beginning with the second: `notify_id`.
    pub(crate) fn notify_id(&mut self, now: Timestamp) -> String {
        let time: String = time::wire(now).chars().filter(char::is_ascii_digit).skip(8).collect();
        format!("{}00222{time}{}", day(now), self.unique())
    }

    /// 16 digits from 2021: `app_id`.
    pub(crate) fn app_id(&mut self) -> String {
        self.sixteen("2021")
    }

    /// 16 digits from 2088: a PID.
    pub(crate) fn seller_id(&mut self) -> String {
        self.sixteen("2088")
    }

    fn unique(&mut self) -> String {
        self.next += 1;
        format!("{:07}{:08}", self.run, self.next % 100_000_000)
    }

    fn sixteen(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{:07}{:05}", self.run, self.next % 100_000)
    }
}

fn day(now: Timestamp) -> String {
    time::day(now).strftime("%Y%m%d").to_string()
}

/// The code of a QR code: unguessable, like the real ones.
pub(crate) fn qr_code() -> String {
    format!("bax{}", hex::encode(random::<10>()))
}

/// The id of a coupon: 16 digits.
pub(crate) fn coupon_id() -> String {
    format!("{:016}", u64::from_le_bytes(random()) % 10_000_000_000_000_000)
}

/// A token that opens a statement's download.
pub(crate) fn download_token() -> String {
    hex::encode(random::<16>())
}

/// The value of the `trace_id` header of answers.
pub(crate) fn trace_id() -> String {
    hex::encode(random::<16>())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_documented_lengths_and_never_repeat() {
        let now = "2026-03-01T04:05:06Z".parse().unwrap();
        let mut ids = Ids::new();
        let trade_no = ids.trade_no(now);
        assert!(trade_no.starts_with("20260301") && trade_no.len() == 28, "{trade_no}");
        assert_ne!(trade_no, ids.trade_no(now));
        let notify_id = ids.notify_id(now);
        assert!(notify_id.starts_with("2026030100222120506") && notify_id.len() == 34, "{notify_id}");
        assert_eq!((ids.app_id().len(), ids.seller_id().len()), (16, 16));
    }
}
