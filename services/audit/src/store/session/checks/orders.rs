//! Orders against the money that came and went.

use tael_proto::audit::v1::DisagreementKind as Kind;

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check {
        kind: Kind::OrderWithoutMoney,
        sql: "
select o.merchant_id, array_remove(array[o.order_id, o.payment_id], null),
       case when p.payment_id is null then 'the order is paid by an unknown payment'
            when p.state <> 'succeeded' then 'the order is paid by a payment that is ' || p.state
            when p.order_id <> o.order_id then 'the order is paid by a payment of ' || p.order_id
            else 'the order is paid by a payment of another amount, in ' || p.currency end,
       o.currency, o.total, p.amount
from audit_order o
left join audit_payment p on p.merchant_id = o.merchant_id and p.payment_id = o.payment_id
where o.state = 'paid'
  -- Of an order with nothing to pay there is no payment.
  and (o.total <> 0 or o.payment_id is not null)
  and (p.state, p.order_id, p.currency, p.amount) is distinct from ('succeeded', o.order_id, o.currency, o.total)",
    },
    // What the channel gave back at once paid nothing and is held nowhere.
    Check {
        kind: Kind::MoneyWithoutOrder,
        sql: "
select p.merchant_id, array[p.payment_id, p.order_id],
       case when o.order_id is null then 'the payment succeeded for an unknown order'
            else 'the payment succeeded, and its order, which is ' || o.state || ', knows nothing of it' end,
       p.currency, p.amount, null::bigint
from audit_payment p
left join audit_order o on o.merchant_id = p.merchant_id and o.order_id = p.order_id
left join audit_held h on h.merchant_id = p.merchant_id and h.payment_id = p.payment_id
where p.state = 'succeeded' and o.payment_id is distinct from p.payment_id and h.payment_id is null
  and not exists (select from audit_payment_refund r
                  where r.merchant_id = p.merchant_id and r.payment_id = p.payment_id and r.reversal
                    and r.state = 'succeeded')",
    },
    Check {
        kind: Kind::OrderRefunded,
        sql: "
select o.merchant_id, array_remove(array[o.order_id, o.payment_id], null),
       'the order shows another sum refunded than its payment''s refunds', o.currency, coalesce(r.amount, 0),
       o.refunded
from audit_order o
left join (select merchant_id, payment_id, sum(amount)::bigint as amount
           from audit_payment_refund where state = 'succeeded' group by merchant_id, payment_id) r
    on r.merchant_id = o.merchant_id and r.payment_id = o.payment_id
where o.refunded <> coalesce(r.amount, 0)",
    },
    Check {
        kind: Kind::CountedRefund,
        sql: "
select c.merchant_id, array[c.refund_id, c.order_id],
       case when r.refund_id is null then 'the order counted a refund that the payment service does not know'
            when r.state <> 'succeeded' then 'the order counted a refund that is ' || r.state
            else 'the order counted a refund with another amount' end,
       c.currency, r.amount, c.amount
from audit_counted_refund c
left join audit_payment_refund r on r.merchant_id = c.merchant_id and r.refund_id = c.refund_id
where (r.state, r.currency, r.amount) is distinct from ('succeeded', c.currency, c.amount)",
    },
    Check {
        kind: Kind::CountedRefund,
        sql: "
select o.merchant_id, array[o.order_id], 'the order shows another sum refunded than the refunds it counted',
       o.currency, coalesce(c.amount, 0), o.refunded
from audit_order o
left join (select merchant_id, order_id, sum(amount)::bigint as amount
           from audit_counted_refund group by merchant_id, order_id) c using (merchant_id, order_id)
where o.refunded <> coalesce(c.amount, 0)",
    },
    Check {
        kind: Kind::HeldMoney,
        sql: "
select h.merchant_id, array_remove(array[h.payment_id, h.order_id, h.refund_id], null),
       case when p.payment_id is null then 'money is held of an unknown payment'
            when p.state <> 'succeeded' then 'money is held of a payment that is ' || p.state
            when (p.currency, p.amount, p.order_id) is distinct from (h.currency, h.amount, h.order_id)
                then 'money is held in another amount or for another order than its payment''s'
            when h.state = 'accepted' then 'money was taken by an order that is not paid by it'
            when o.order_id is not null then 'money is ' || h.state || ' and pays its order as well'
            when h.state = 'refunded' then 'money was given back without a refund of all of it'
            else 'money is held that was given back' end,
       h.currency, p.amount, h.amount
from audit_held h
left join audit_payment p on p.merchant_id = h.merchant_id and p.payment_id = h.payment_id
left join audit_order o on o.merchant_id = h.merchant_id and o.payment_id = h.payment_id and o.state = 'paid'
where (p.state, p.currency, p.amount, p.order_id)
      is distinct from ('succeeded', h.currency, h.amount, h.order_id)
   or (h.state = 'accepted') <> (o.order_id is not null)
   or (h.state = 'refunded') <> (p.refunded = p.amount) and h.state <> 'accepted'",
    },
];
