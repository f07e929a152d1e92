//! Which channel account takes a payment.

use tael_money::Money;

use super::channel_account::{Channel, ChannelAccount, Method};

/// The account chosen, and why.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) account: ChannelAccount,
    pub(crate) reason: String,
}

/// Chooses among a merchant's accounts (newest first): the newest of those that `takes` says can take the amount.
/// With a channel given, only that channel's.
pub(crate) fn choose(
    accounts: Vec<ChannelAccount>,
    channel: Option<Channel>,
    method: Method,
    amount: Money,
    takes: impl Fn(Channel, Method, Money) -> bool,
) -> Option<Route> {
    let mut fitting: Vec<ChannelAccount> = accounts
        .into_iter()
        .filter(|account| channel.is_none_or(|wanted| wanted == account.channel()))
        .filter(|account| takes(account.channel(), method, amount))
        .collect();
    let count = fitting.len();
    let what = format!("{} in {}", method_words(method), amount.currency());
    let reason = match count {
        0 => return None,
        1 => format!("only account for {what}"),
        _ => format!("newest of {count} accounts for {what}"),
    };
    Some(Route { account: fitting.swap_remove(0), reason })
}

fn method_words(method: Method) -> &'static str {
    match method {
        Method::QrCode => "QR code",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tael_ids::{ChannelAccountId, MerchantId};
    use tael_money::Currency;

    use super::super::channel_account::{AlipayIdentity, Identity};
    use super::*;

    fn account() -> ChannelAccount {
        ChannelAccount {
            merchant_id: MerchantId::new(),
            id: ChannelAccountId::new(),
            label: String::new(),
            identity: Identity::Alipay(AlipayIdentity {
                app_id: "1".to_owned(),
                seller_id: "2".to_owned(),
                gateway_url: "http://x".to_owned(),
            }),
            create_time: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_newest_that_fits_is_chosen_and_says_why() {
        let amount = Money::new(1, Currency::CNY);
        let choose = |accounts, fits: bool| choose(accounts, None, Method::QrCode, amount, |_, _, _| fits);
        let (newest, older) = (account(), account());
        let route = choose(vec![newest.clone(), older.clone()], true).unwrap();
        assert_eq!(
            (route.account.id, route.reason.as_str()),
            (newest.id, "newest of 2 accounts for QR code in CNY")
        );
        assert_eq!(choose(vec![older], true).unwrap().reason, "only account for QR code in CNY");
        assert!(choose(vec![newest], false).is_none());
        assert!(choose(Vec::new(), true).is_none());
    }
}
