//! Which channel account takes a payment.

use tael_money::Money;

use super::channel_account::{AccountState, ChannelAccount, ChannelName, Method};

/// An account that can take a payment, and why it comes at its place.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) account: ChannelAccount,
    pub(crate) reason: String,
}

/// The accounts of a merchant (newest first) that can take the amount, best first: active ones of which `takes` says so,
/// the newest before the older. With a channel given, only that channel's.
pub(crate) fn rank(
    accounts: Vec<ChannelAccount>,
    channel: Option<&ChannelName>,
    method: Method,
    amount: Money,
    takes: impl Fn(&ChannelName, Method, Money) -> bool,
) -> Vec<Route> {
    let fitting: Vec<ChannelAccount> = accounts
        .into_iter()
        .filter(|account| account.state == AccountState::Active)
        .filter(|account| channel.is_none_or(|wanted| *wanted == account.channel))
        .filter(|account| takes(&account.channel, method, amount))
        .collect();
    let count = fitting.len();
    let what = format!("{} in {}", method.words(), amount.currency());
    let reason = |place: usize| match (place, count) {
        (_, 1) => format!("only account for {what}"),
        (0, _) => format!("newest of {count} accounts for {what}"),
        (_, _) => format!("number {} of {count} accounts for {what}: newer ones can't be called", place + 1),
    };
    fitting.into_iter().enumerate().map(|(place, account)| Route { account, reason: reason(place) }).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tael_ids::{ChannelAccountId, MerchantId};
    use tael_money::Currency;

    use super::*;

    fn account(state: AccountState) -> ChannelAccount {
        ChannelAccount {
            merchant_id: MerchantId::new(),
            id: ChannelAccountId::new(),
            channel: ChannelName::new("alipay"),
            label: String::new(),
            identity: serde_json::json!({}),
            state,
            create_time: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn active_accounts_that_fit_are_ranked_newest_first_and_say_why() {
        let amount = Money::new(1, Currency::CNY);
        let rank = |accounts: &[&ChannelAccount], channel: Option<&str>, fits: bool| {
            let accounts = accounts.iter().map(|account| (*account).clone()).collect();
            let channel = channel.map(ChannelName::new);
            rank(accounts, channel.as_ref(), Method::QrCode, amount, |_, _, _| fits)
        };
        let (newest, older) = (account(AccountState::Active), account(AccountState::Active));
        let (draft, disabled) = (account(AccountState::Draft), account(AccountState::Disabled));
        let routes = rank(&[&draft, &newest, &disabled, &older], None, true);
        let told: Vec<_> = routes.iter().map(|route| (route.account.id, route.reason.as_str())).collect();
        assert_eq!(
            told,
            [
                (newest.id, "newest of 2 accounts for QR code in CNY"),
                (older.id, "number 2 of 2 accounts for QR code in CNY: newer ones can't be called"),
            ]
        );
        assert_eq!(rank(&[&older], Some("alipay"), true)[0].reason, "only account for QR code in CNY");
        assert!(rank(&[&newest], Some("other"), true).is_empty());
        assert!(rank(&[&newest], None, false).is_empty() && rank(&[], None, true).is_empty());
    }
}
