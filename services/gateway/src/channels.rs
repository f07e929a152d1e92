//! The channels whose callbacks are taken: one line for each.

/// A channel as its callbacks show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    /// Its name in the path of its callbacks.
    pub(crate) name: &'static str,
    /// The header fields, in lower case, that its messages consist of, or that help to tell whose one was. Nothing else is
    /// handed on: what proxies add, cookies and credentials are nobody's business.
    pub(crate) headers: &'static [&'static str],
}

const CHANNELS: &[Channel] = &[Channel { name: "alipay", headers: &["content-type", "user-agent"] }];

/// Finds a channel by its name in a path.
pub(crate) fn find(name: &str) -> Option<Channel> {
    CHANNELS.iter().find(|channel| channel.name == name).copied()
}
