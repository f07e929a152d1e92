//! The refund service against the payment service, which moves its money.

use tael_proto::audit::v1::DisagreementKind as Kind;

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        kind: Kind::RefundWithoutMoney,
        sql: "
select r.merchant_id, array[r.refund_id, r.payment_id],
       case when m.refund_id is null then 'the refund succeeded, and the payment service does not know it'
            else 'the refund succeeded, and at the payment service it is ' || m.state end,
       r.currency, r.amount, null::bigint
from audit_refund r
left join audit_payment_refund m using (merchant_id, refund_id)
where r.state = 'succeeded' and m.state is distinct from 'succeeded'",
    },
    // Two kinds of refunds are not the refund service's: what channels give back in closing, and held money that the
    // order service gives back.
    Check {
        kind: Kind::MoneyWithoutRefund,
        sql: "
select m.merchant_id, array[m.refund_id, m.payment_id],
       case when r.refund_id is null then 'the refund is ' || m.state || ' at the payment service and unknown elsewhere'
            else 'the refund is ' || m.state || ' at the payment service and ' || r.state || ' at the refund service' end,
       m.currency, null::bigint, m.amount
from audit_payment_refund m
left join audit_refund r using (merchant_id, refund_id)
left join audit_held h using (merchant_id, refund_id)
where not m.reversal and h.refund_id is null
  and case m.state when 'succeeded' then r.state is distinct from 'succeeded'
                   when 'pending' then r.state is distinct from 'processing'
                   else r.state in ('succeeded', 'processing') end",
    },
    Check {
        kind: Kind::RefundAmount,
        sql: "
select r.merchant_id, array[r.refund_id, r.payment_id] || case when m.payment_id <> r.payment_id
                                                               then array[m.payment_id] else '{}' end,
       'refund and payment service know the refund with another amount or payment', r.currency, r.amount, m.amount
from audit_refund r
join audit_payment_refund m using (merchant_id, refund_id)
where (r.currency, r.amount, r.payment_id) is distinct from (m.currency, m.amount, m.payment_id)",
    },
    Check {
        kind: Kind::RefundCeiling,
        sql: "
select c.merchant_id, array[c.order_id],
       case when o.total is distinct from c.total then 'the refundable total is not the order''s'
            when coalesce(r.reserved, 0) <> c.reserved then 'the reserved sum is not that of the refunds'
            when coalesce(r.refunded, 0) <> c.refunded then 'the refunded sum is not that of the refunds'
            else 'refunds exceed the order' end,
       c.currency,
       case when o.total is distinct from c.total then o.total
            when coalesce(r.reserved, 0) <> c.reserved then coalesce(r.reserved, 0)
            when coalesce(r.refunded, 0) <> c.refunded then coalesce(r.refunded, 0) else c.total end,
       case when o.total is distinct from c.total then c.total
            when coalesce(r.reserved, 0) <> c.reserved then c.reserved
            when coalesce(r.refunded, 0) <> c.refunded then c.refunded else c.reserved + c.refunded end
from audit_refund_ceiling c
left join audit_order o using (merchant_id, order_id)
left join (select merchant_id, order_id,
                  sum(amount) filter (where state in ('pending_approval', 'processing'))::bigint as reserved,
                  sum(amount) filter (where state = 'succeeded')::bigint as refunded
           from audit_refund group by merchant_id, order_id) r using (merchant_id, order_id)
where o.total is distinct from c.total or coalesce(r.reserved, 0) <> c.reserved
   or coalesce(r.refunded, 0) <> c.refunded or c.reserved + c.refunded > c.total",
    },
    Check {
        kind: Kind::RefundCeiling,
        sql: "
select r.merchant_id, array[r.refund_id, r.order_id], 'the refund is of an order without a ceiling', r.currency,
       null::bigint, r.amount
from audit_refund r
left join audit_refund_ceiling c using (merchant_id, order_id)
where c.order_id is null",
    },
    Check {
        kind: Kind::Stuck,
        sql: "
select r.merchant_id, array[r.refund_id, r.payment_id], 'the refund has been under way since ' || r.create_time,
       r.currency, r.amount, null::bigint
from audit_refund r, audit_setting s
where r.state = 'processing' and r.create_time < s.stuck_before",
    },
    Check {
        kind: Kind::Stuck,
        sql: "
select h.merchant_id, array_remove(array[h.payment_id, h.order_id, h.refund_id], null),
       'held money has been on its way back since before ' || s.stuck_before, h.currency, h.amount, null::bigint
from audit_held h
cross join audit_setting s
left join audit_payment_refund m using (merchant_id, refund_id)
where h.state = 'refunding' and coalesce(m.create_time, h.hold_time) < s.stuck_before",
    },
];
