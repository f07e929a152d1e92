//! The ledger against its causes, and in itself.

use tael_proto::audit::v1::DisagreementKind as Kind;

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        kind: Kind::PaymentNotPosted,
        sql: "
select p.merchant_id, array[p.payment_id], 'the payment succeeded and is not in the ledger', p.currency, p.amount,
       null::bigint
from audit_payment p
left join audit_transfer t on t.merchant_id = p.merchant_id and t.payment_id = p.payment_id and t.kind = 'payment'
where p.state = 'succeeded' and t.transfer_id is null",
    },
    Check {
        kind: Kind::RefundNotPosted,
        sql: "
select r.merchant_id, array[r.refund_id, r.payment_id], 'the refund succeeded and is not in the ledger', r.currency,
       r.amount, null::bigint
from audit_payment_refund r
left join audit_transfer t on t.merchant_id = r.merchant_id and t.refund_id = r.refund_id and t.kind = 'refund'
where r.state = 'succeeded' and t.transfer_id is null",
    },
    Check {
        kind: Kind::PostedTwice,
        sql: "
select merchant_id, array[coalesce(refund_id, batch_id, payment_id)] || array_agg(transfer_id order by transfer_id),
       'the ' || kind || ' is posted ' || count(*) || ' times', min(currency), max(gross), sum(gross)::bigint
from audit_transfer
group by merchant_id, kind, coalesce(refund_id, batch_id, payment_id)
having count(*) > 1",
    },
    Check {
        kind: Kind::PostedTwice,
        sql: "
select merchant_id, array[event_id] || array_agg(transfer_id order by transfer_id),
       'the event is posted ' || count(*) || ' times', null, null::bigint, null::bigint
from audit_transfer where event_id is not null
group by merchant_id, event_id
having count(*) > 1",
    },
    Check {
        kind: Kind::PostedAmount,
        sql: "
select t.merchant_id, array[t.transfer_id, p.payment_id], 'the payment is posted with another amount', t.currency,
       p.amount, t.gross
from audit_transfer t join audit_payment p using (merchant_id, payment_id)
where t.kind = 'payment' and (t.currency, t.gross) is distinct from (p.currency, p.amount)
union all
select t.merchant_id, array[t.transfer_id, r.refund_id, t.payment_id],
       'the refund is posted with another amount or payment', t.currency, r.amount, t.gross
from audit_transfer t join audit_payment_refund r using (merchant_id, refund_id)
where t.kind = 'refund' and (t.currency, t.gross, t.payment_id) is distinct from (r.currency, r.amount, r.payment_id)",
    },
    Check {
        kind: Kind::PostedWithoutCause,
        sql: "
select t.merchant_id, array[t.transfer_id, t.payment_id],
       'a payment is posted that is ' || coalesce(p.state, 'unknown'), t.currency, null::bigint, t.gross
from audit_transfer t left join audit_payment p using (merchant_id, payment_id)
where t.kind = 'payment' and p.state is distinct from 'succeeded'
union all
select t.merchant_id, array[t.transfer_id, t.refund_id, t.payment_id],
       'a refund is posted that is ' || coalesce(r.state, 'unknown'), t.currency, null::bigint, t.gross
from audit_transfer t left join audit_payment_refund r using (merchant_id, refund_id)
where t.kind = 'refund' and r.state is distinct from 'succeeded'
union all
select t.merchant_id, array[t.transfer_id, t.payment_id],
       'a ' || t.kind || ' is posted of money that is ' || coalesce(h.state, 'held nowhere'), t.currency,
       null::bigint, t.gross
from audit_transfer t left join audit_held h using (merchant_id, payment_id)
where t.kind in ('hold', 'release')
  and (h.payment_id is null or t.kind = 'release' and h.state not in ('refunded', 'accepted'))",
    },
    Check {
        kind: Kind::Fee,
        sql: "
select merchant_id, array[transfer_id, payment_id], 'the fee is not what its terms make it (' || fee_rate || ')', currency,
       expected_fee, fee
from audit_transfer where kind = 'payment' and fee is distinct from expected_fee
union all
select merchant_id, array[transfer_id, payment_id],
       'the channel''s fee is not what its terms make it (' || channel_rate || ')', currency, expected_channel_fee,
       channel_fee
from audit_transfer where kind = 'payment' and channel_fee is distinct from expected_channel_fee",
    },
    // However a payment is refunded, what is given back of its fees is their share of the whole, or nothing of those kept.
    Check {
        kind: Kind::Fee,
        sql: "
select p.merchant_id, array[p.transfer_id, p.payment_id], 'refunds gave back another share of the fees', p.currency,
       s.fee::bigint + s.channel_fee::bigint, (r.fee + r.channel_fee)::bigint
from audit_transfer p
join (select merchant_id, payment_id, sum(gross) as gross, sum(fee) as fee, sum(channel_fee) as channel_fee
      from audit_transfer where kind = 'refund' group by merchant_id, payment_id) r using (merchant_id, payment_id)
cross join lateral (
    select case when p.fee_kept then 0 else round(p.fee::numeric * r.gross / p.gross) end as fee,
           case when p.channel_fee_kept then 0 else round(p.channel_fee::numeric * r.gross / p.gross) end as channel_fee
) s
where p.kind = 'payment' and (r.fee <> s.fee or r.channel_fee <> s.channel_fee)",
    },
    Check {
        kind: Kind::Unbalanced,
        sql: "
select merchant_id, array[transfer_id],
       case when foreign_entries > 0 then 'the transfer has entries in other currencies'
            when debits + credits = 0 then 'the transfer has no entries'
            else 'the transfer''s debits and credits differ' end,
       currency, debits, credits
from audit_transfer where debits <> credits or debits = 0 or foreign_entries > 0",
    },
    Check {
        kind: Kind::AccountSum,
        sql: "
select merchant_id, array[account_id],
       case when debits <> entry_debits then 'the account''s debits are not the sum of its entries'
            else 'the account''s credits are not the sum of its entries' end,
       currency, case when debits <> entry_debits then entry_debits else entry_credits end,
       case when debits <> entry_debits then debits else credits end
from audit_ledger_account where debits <> entry_debits or credits <> entry_credits",
    },
    Check {
        kind: Kind::Suspense,
        sql: "
select h.merchant_id, array[h.payment_id, h.order_id],
       case when t.transfer_id is null then 'held money was not posted to suspense'
            else 'held money was posted to suspense with another amount' end,
       h.currency, h.amount, t.gross
from audit_held h
left join audit_transfer t on t.merchant_id = h.merchant_id and t.payment_id = h.payment_id and t.kind = 'hold'
where (t.currency, t.gross) is distinct from (h.currency, h.amount)
union all
select h.merchant_id, array[h.payment_id, h.order_id],
       'money that is no longer held was not released from suspense in its amount', h.currency, h.amount, t.gross
from audit_held h
left join audit_transfer t on t.merchant_id = h.merchant_id and t.payment_id = h.payment_id and t.kind = 'release'
where h.state in ('refunded', 'accepted') and (t.currency, t.gross) is distinct from (h.currency, h.amount)",
    },
];
