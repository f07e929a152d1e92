//! The paths that are served, as routes and as names in spans and metrics.

/// Where a channel account's callbacks come in, by any method.
pub(crate) const CALLBACK: &str = "/callbacks/{channel}/{channel_account_id}";
/// The payer's page.
pub(crate) const CHECKOUT: &str = "/checkout/{payment_id}";
/// What the payer's page asks for while it is open.
pub(crate) const CHECKOUT_STATE: &str = "/checkout/{payment_id}/state";

/// Finds a route's name in spans and metrics.
pub(crate) fn known(route: &str) -> Option<&'static str> {
    [CALLBACK, CHECKOUT, CHECKOUT_STATE].into_iter().find(|known| *known == route)
}
