//! Who calls: the names that certificates give.

use std::fmt;

use crate::server::Peer;

/// Where the names are: the SPIFFE ID (<https://spiffe.io/docs/latest/spiffe-about/spiffe-concepts/#spiffe-id>) in the
/// certificate's subject alternative names is `spiffe://tael/<name>`.
const TRUST_DOMAIN: &str = "spiffe://tael/";

/// Someone who may call a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The HTTP edge.
    Gateway,
    /// The merchant service.
    Merchant,
    /// The order service.
    Order,
    /// The payment service.
    Payment,
    /// The refund service.
    Refund,
    /// The settlement service.
    Settlement,
    /// The notification service.
    Notification,
    /// The money audit.
    Audit,
    /// The merchant's own back-end, which uses the platform.
    Backend,
    /// Whoever runs the platform: the `tael` command line, consoles.
    Operator,
}

impl Caller {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Gateway,
        Self::Merchant,
        Self::Order,
        Self::Payment,
        Self::Refund,
        Self::Settlement,
        Self::Notification,
        Self::Audit,
        Self::Backend,
        Self::Operator,
    ];

    /// Returns the name in the certificate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Merchant => "merchant",
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Settlement => "settlement",
            Self::Notification => "notification",
            Self::Audit => "audit",
            Self::Backend => "backend",
            Self::Operator => "operator",
        }
    }

    /// Returns who makes a call; none without TLS, where that is not known.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get::<Peer>()?.caller
    }

    /// Reads a SPIFFE ID; none when it is no caller's.
    pub(crate) fn from_uri(uri: &str) -> Option<Self> {
        let name = uri.strip_prefix(TRUST_DOMAIN)?;
        Self::ALL.into_iter().find(|caller| caller.name() == name)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others_are() {
        for caller in Caller::ALL {
            assert_eq!(Caller::from_uri(&format!("spiffe://tael/{caller}")), Some(caller));
        }
        let others = [
            "order",
            "spiffe://other/order",
            "spiffe://tael/Order",
            "spiffe://tael/order/",
            "spiffe://tael/",
        ];
        for other in others {
            assert_eq!(Caller::from_uri(other), None, "{other}");
        }
    }
}
