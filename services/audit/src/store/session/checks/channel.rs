//! The channels' statements against what we hold to have moved.

use tael_proto::audit::v1::DisagreementKind as Kind;

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    // An attempt that has no final state yet is not known to have failed: it is in flight, or stuck.
    Check {
        kind: Kind::ChannelPaymentUnknown,
        sql: "
select b.merchant_id, array_remove(array[coalesce(a.attempt_id, b.number), a.payment_id, b.owner,
                                         nullif(b.channel_transaction_id, '')], null),
       case when a.attempt_id is null then 'the channel took money for a number that we never gave it'
            else 'the channel took money for an attempt that is ' || a.state end,
       b.currency, null::bigint, b.amount
from audit_statement_line b
left join (select a.*, c.channel || ':' || c.statement_owner as owner
           from audit_attempt a join audit_channel_account c using (merchant_id, channel_account_id)) a
    on a.owner = b.owner and a.number = b.number
where b.kind = 'payment' and (a.state is null or a.state not in ('succeeded', 'initiated', 'pending'))",
    },
    Check {
        kind: Kind::ChannelRefundUnknown,
        sql: "
select b.merchant_id, array_remove(array[coalesce(r.refund_id, b.number), r.payment_id, b.owner,
                                         nullif(b.channel_transaction_id, '')], null),
       case when r.refund_id is null then 'the channel gave back money under a number that we never gave it'
            else 'the channel gave back money for a refund that is ' || r.state end,
       b.currency, null::bigint, b.amount
from audit_statement_line b
left join audit_payment_refund r on r.merchant_id = b.merchant_id and r.number = b.number
left join audit_attempt a on a.merchant_id = b.merchant_id and a.number = b.number
where b.kind = 'refund' and (r.state is null or r.state not in ('succeeded', 'pending'))
  and (a.state is null or a.state not in ('initiated', 'pending'))",
    },
    Check {
        kind: Kind::ChannelAmount,
        sql: "
select b.merchant_id, array[a.attempt_id, a.payment_id], 'the channel took another amount', b.currency, p.amount,
       b.amount
from audit_statement_line b
join audit_attempt a on a.merchant_id = b.merchant_id and a.number = b.number and a.state = 'succeeded'
join audit_payment p on p.merchant_id = a.merchant_id and p.payment_id = a.payment_id
where b.kind = 'payment' and (p.currency, p.amount) is distinct from (b.currency, b.amount)
union all
select b.merchant_id, array[r.refund_id, r.payment_id], 'the channel gave back another amount', b.currency, r.amount,
       b.amount
from audit_statement_line b
join audit_payment_refund r on r.merchant_id = b.merchant_id and r.number = b.number and r.state = 'succeeded'
where b.kind = 'refund' and (r.currency, r.amount) is distinct from (b.currency, b.amount)",
    },
    // A movement near midnight may stand in the statement of the day before or after: it is missed only when the statements of both
    // sides were read.
    Check {
        kind: Kind::ChannelMissing,
        sql: "
select m.merchant_id, m.ids, m.kind || ' of ' || m.at || ' is not in the channel''s statement', m.currency, m.amount,
       null::bigint
from (
    select p.merchant_id, c.channel || ':' || c.statement_owner as owner, 'payment' as kind, a.number, array[a.attempt_id, p.payment_id] as ids,
           p.currency, p.amount, p.pay_time as at
    from audit_payment p join audit_attempt a using (merchant_id, payment_id)
         join audit_channel_account c using (merchant_id, channel_account_id)
    where p.state = 'succeeded' and a.state = 'succeeded'
    union all
    select r.merchant_id, c.channel || ':' || c.statement_owner, 'refund', r.number, array[r.refund_id, r.payment_id], r.currency,
           r.amount, r.refund_time
    from audit_payment_refund r join audit_attempt a using (merchant_id, attempt_id)
         join audit_channel_account c using (merchant_id, channel_account_id)
    where r.state = 'succeeded'
) m
join audit_statement_day before on before.owner = m.owner and before.complete
    and m.at - interval '1 hour' >= before.begin_time and m.at - interval '1 hour' < before.end_time
join audit_statement_day after on after.owner = m.owner and after.complete
    and m.at + interval '1 hour' >= after.begin_time and m.at + interval '1 hour' < after.end_time
left join audit_statement_line b on b.owner = m.owner
    and b.kind = m.kind and b.number = m.number
where b.number is null",
    },
    Check {
        kind: Kind::ChannelTwice,
        sql: "
select min(merchant_id), array[number, owner], 'the channel has the ' || kind || ' ' || count(*) || ' times',
       min(currency), max(amount), sum(amount)::bigint
from audit_statement_line
where kind in ('payment', 'refund')
group by owner, kind, number
having count(*) > 1",
    },
    Check {
        kind: Kind::StatementUnread,
        sql: "
select merchant_id, array[owner, day::text], problem, null::text, null::bigint, null::bigint
from audit_statement_day where problem is not null",
    },
    Check {
        kind: Kind::StatementLineUnreadable,
        sql: "
select merchant_id, array[owner, day::text, 'line ' || line], coalesce(problem, 'it can''t be read'), null::text,
       null::bigint, null::bigint
from audit_statement_line where kind = 'unreadable'",
    },
];
