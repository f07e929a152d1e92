//! Logs against the states that they tell of, and what became of the events.

use tael_proto::audit::v1::DisagreementKind as Kind;

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    // What retention removed is not missed. Times are those of services and channels, whose clocks may differ by less
    // than an hour.
    Check {
        kind: Kind::EventMissing,
        sql: "
select w.merchant_id, array_remove(w.ids, null), w.kind || ' is not in the log of ' || w.service, null, null::bigint,
       null::bigint
from (
    select 'order' as service, 'order.paid' as kind, merchant_id, coalesce(payment_id, order_id) as key,
           array[order_id, payment_id] as ids, pay_time as since from audit_order where state = 'paid'
    union all
    select 'order', 'order.payment_held', merchant_id, payment_id, array[payment_id, order_id], hold_time
    from audit_held
    union all
    select 'order', 'order.payment_released', merchant_id, payment_id, array[payment_id, order_id], hold_time
    from audit_held where state in ('refunded', 'accepted')
    union all
    select 'order', 'order.refunded', merchant_id, refund_id, array[refund_id, order_id], count_time
    from audit_counted_refund
    union all
    select 'payment', 'payment.succeeded', merchant_id, payment_id, array[payment_id, order_id], pay_time
    from audit_payment where state = 'succeeded'
    union all
    select 'payment', 'payment.refunded', merchant_id, refund_id, array[refund_id, payment_id], refund_time
    from audit_payment_refund where state = 'succeeded'
    union all
    select 'payment', 'payment.refund_failed', merchant_id, refund_id, array[refund_id, payment_id], create_time
    from audit_payment_refund where state = 'failed'
    union all
    select 'refund', 'refund.succeeded', merchant_id, refund_id, array[refund_id, payment_id], end_time
    from audit_refund where state = 'succeeded'
    union all
    select 'refund', 'refund.failed', merchant_id, refund_id, array[refund_id, payment_id], end_time
    from audit_refund where state in ('failed', 'rejected')
    union all
    select 'settlement', 'batch.closed', merchant_id, batch_id, array[batch_id, transfer_id], post_time
    from audit_transfer where kind = 'batch'
) w
left join audit_event e
    on e.service = w.service and e.kind = w.kind and e.merchant_id = w.merchant_id and e.key = w.key
left join audit_log l on l.service = w.service
where e.event_id is null
  and (l.events_removed is not true or w.since > l.first_occur_time + interval '1 hour')",
    },
    Check {
        kind: Kind::EventWrong,
        sql: "
select merchant_id, array[key] || array_agg(event_id order by event_id),
       kind || ' is ' || count(*) || ' times in the log of ' || service, null, null::bigint, null::bigint
from audit_event where key is not null
group by merchant_id, service, kind, key
having count(*) > 1",
    },
    Check {
        kind: Kind::EventWrong,
        sql: "
select e.merchant_id, array_remove(array[e.event_id, e.refund_id, e.payment_id], null),
       'the event ' || e.kind || ' tells what the service''s own state does not', e.currency, s.amount, e.amount
from audit_event e
left join (
    select 'order.paid' as kind, merchant_id, coalesce(payment_id, order_id) as key, currency, total as amount
    from audit_order where state = 'paid'
    union all
    select 'order.payment_held', merchant_id, payment_id, currency, amount from audit_held
    union all
    select 'order.payment_released', merchant_id, payment_id, currency, amount
    from audit_held where state in ('refunded', 'accepted')
    union all
    select 'payment.succeeded', merchant_id, payment_id, currency, amount
    from audit_payment where state = 'succeeded'
    union all
    select 'payment.refunded', merchant_id, refund_id, currency, amount
    from audit_payment_refund where state = 'succeeded'
    union all
    select 'payment.refund_failed', merchant_id, refund_id, currency, amount
    from audit_payment_refund where state = 'failed'
    union all
    select 'refund.succeeded', merchant_id, refund_id, currency, amount from audit_refund where state = 'succeeded'
    union all
    select 'refund.failed', merchant_id, refund_id, currency, amount
    from audit_refund where state in ('failed', 'rejected')
    union all
    select 'order.refunded', merchant_id, refund_id, null, null from audit_counted_refund
) s using (merchant_id, kind, key)
where e.key is not null and e.kind <> 'batch.closed'
  and (s.key is null or (s.currency, s.amount) is distinct from (e.currency, e.amount))",
    },
    Check {
        kind: Kind::DeadLetter,
        sql: "
select merchant_id, array[event_id], service || ' could not apply the event of ' || source || ': ' || error,
       null, null::bigint, null::bigint
from audit_dead_letter",
    },
    // An endpoint that is disabled, or was made after the event, need not be told of it.
    Check {
        kind: Kind::DeliveryMissing,
        sql: "
select e.merchant_id, array[e.event_id, w.endpoint_id], 'the endpoint was not told of ' || e.kind, null,
       null::bigint, null::bigint
from audit_endpoint w
join audit_event e on e.merchant_id = w.merchant_id and e.occur_time > w.create_time
    and (w.event_types = '{}' or e.kind = any (w.event_types))
left join audit_delivery d on d.endpoint_id = w.endpoint_id and d.event_id = e.event_id
where w.disable_time is null and d.delivery_id is null",
    },
    Check {
        kind: Kind::DeliveryTwice,
        sql: "
select merchant_id, array[event_id, endpoint_id] || array_agg(delivery_id order by delivery_id),
       'the endpoint has ' || count(*) || ' deliveries of the event', null, null::bigint, null::bigint
from audit_delivery
group by merchant_id, event_id, endpoint_id
having count(*) > 1",
    },
    Check {
        kind: Kind::Stuck,
        sql: "
select d.merchant_id, array[d.delivery_id, d.endpoint_id, d.event_id],
       'the delivery should have been tried at ' || d.next_attempt_time, null, null::bigint, null::bigint
from audit_delivery d, audit_setting s
where d.state = 'pending' and d.next_attempt_time < s.stuck_before",
    },
];
