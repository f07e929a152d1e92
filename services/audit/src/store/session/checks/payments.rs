//! Payments against their attempts and refunds, within the payment service.

use tael_proto::audit::v1::DisagreementKind as Kind;

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        kind: Kind::PaymentAttempt,
        sql: "
select p.merchant_id, array[p.payment_id] || coalesce(a.ids, '{}'),
       'the payment is ' || p.state || ' with ' || coalesce(a.count, 0) || ' attempts that succeeded',
       null, null::bigint, null::bigint
from audit_payment p
left join (select merchant_id, payment_id, count(*), array_agg(attempt_id order by attempt_id) as ids
           from audit_attempt where state = 'succeeded' group by merchant_id, payment_id) a
    using (merchant_id, payment_id)
where coalesce(a.count, 0) <> case p.state when 'succeeded' then 1 else 0 end",
    },
    Check {
        kind: Kind::PaymentRefunded,
        sql: "
select p.merchant_id, array[p.payment_id], 'the payment shows another sum refunded than its refunds that succeeded',
       p.currency, coalesce(r.amount, 0), p.refunded
from audit_payment p
left join (select merchant_id, payment_id, currency, sum(amount)::bigint as amount
           from audit_payment_refund where state = 'succeeded' group by merchant_id, payment_id, currency) r
    using (merchant_id, payment_id, currency)
where p.refunded <> coalesce(r.amount, 0)",
    },
    Check {
        kind: Kind::PaymentReserved,
        sql: "
select p.merchant_id, array[p.payment_id], 'the payment shows another sum reserved than its refunds under way',
       p.currency, coalesce(r.amount, 0), p.reserved
from audit_payment p
left join (select merchant_id, payment_id, currency, sum(amount)::bigint as amount
           from audit_payment_refund where state = 'pending' group by merchant_id, payment_id, currency) r
    using (merchant_id, payment_id, currency)
where p.reserved <> coalesce(r.amount, 0)",
    },
    // By the rows themselves, so that it also holds when the payment's own sums are wrong.
    Check {
        kind: Kind::PaymentCeiling,
        sql: "
select p.merchant_id, array[p.payment_id], 'more was refunded or reserved than the payment took', p.currency,
       case p.state when 'succeeded' then p.amount else 0 end, greatest(r.amount, p.refunded + p.reserved)
from audit_payment p
join (select merchant_id, payment_id, sum(amount)::bigint as amount
      from audit_payment_refund where state in ('succeeded', 'pending') group by merchant_id, payment_id
      union all
      select merchant_id, payment_id, refunded + reserved from audit_payment where refunded + reserved > amount) r
    using (merchant_id, payment_id)
where greatest(r.amount, p.refunded + p.reserved) > case p.state when 'succeeded' then p.amount else 0 end
group by 1, 2, 3, 4, 5, 6",
    },
    Check {
        kind: Kind::Orphan,
        sql: "
select a.merchant_id, array[a.attempt_id, a.payment_id], 'the attempt is of an unknown payment', null,
       null::bigint, null::bigint
from audit_attempt a left join audit_payment p using (merchant_id, payment_id)
where p.payment_id is null",
    },
    Check {
        kind: Kind::Orphan,
        sql: "
select r.merchant_id, array[r.refund_id, r.payment_id, r.attempt_id],
       'the refund is of an unknown payment or attempt', r.currency, null::bigint, r.amount
from audit_payment_refund r
left join audit_attempt a using (merchant_id, payment_id, attempt_id)
left join audit_payment p using (merchant_id, payment_id)
where a.attempt_id is null or p.payment_id is null",
    },
    Check {
        kind: Kind::Stuck,
        sql: "
select a.merchant_id, array[a.attempt_id, a.payment_id],
       'the attempt has been ' || a.state || case when a.in_doubt then ' and in doubt' else '' end || ' since '
           || a.create_time, null, null::bigint, null::bigint
from audit_attempt a, audit_setting s
where a.state in ('initiated', 'pending') and (a.state = 'initiated' or a.in_doubt)
  and a.create_time < s.stuck_before",
    },
    Check {
        kind: Kind::Stuck,
        sql: "
select r.merchant_id, array[r.refund_id, r.payment_id], 'the refund has been under way at the channel since '
           || r.create_time, r.currency, r.amount, null::bigint
from audit_payment_refund r, audit_setting s
where r.state = 'pending' and r.create_time < s.stuck_before",
    },
];
