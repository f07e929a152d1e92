-- What a merchant wants done with money that comes when an order does not wait for it. A change adds a version; the
-- newest is in force.
create table late_money_policy (
    merchant_id     uuid        not null,
    version         bigint      not null generated always as identity,
    closed_order    text        not null check (closed_order in ('hold', 'accept', 'refund')),
    surplus         text        not null check (surplus in ('hold', 'refund')),
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    create_time     timestamptz not null,
    primary key (merchant_id, version),
    unique (merchant_id, idempotency_key)
);

-- Held money gets a way to its end. Its rows change only under the lock of their order's row, but for the time of the
-- next try.
alter table held_payment
    add column reason         text check (reason in ('closed_order', 'already_paid', 'amount')),
    add column state          text not null default 'held'
        check (state in ('held', 'refunding', 'refunded', 'accepted')),
    -- When the payer paid, by the channel's clock; none for what was held before this was kept.
    add column pay_time       timestamptz,
    -- Who decided last; none when the policy did.
    add column operator       text check (char_length(operator) between 1 and 64),
    -- The refund that gives it back, or the last one that was refused.
    add column refund_id      uuid,
    add column refund_failure text,
    add column release_time   timestamptz,
    -- While it is refunded: when the payment service may be asked (again), and how many answers were not final.
    add column next_try_time  timestamptz,
    add column tries          integer not null default 0 check (tries >= 0),
    -- The trace in which the refund was decided.
    add column traceparent    text not null default '';

-- Why an order can't take money follows from the two: only a closed or a paid order does not take its total. So it can
-- be told afterwards, and of what versions of the service insert that do not tell it.
create function held_payment_reason() returns trigger language plpgsql as $$
begin
    if new.reason is null then
        select case
                   when o.currency <> new.currency or o.total_minor <> new.amount_minor then 'amount'
                   when o.state = 'paid' then 'already_paid'
                   else 'closed_order'
               end
        into new.reason
        from orders o where o.merchant_id = new.merchant_id and o.order_id = new.order_id;
    end if;
    return new;
end
$$;

create trigger held_payment_reason before insert or update on held_payment
    for each row execute function held_payment_reason();

update held_payment set reason = null;

alter table held_payment
    alter column reason set not null,
    add constraint held_payment_way check (case state
        when 'held' then
            (refund_id is null) = (refund_failure is null) and release_time is null and next_try_time is null
        when 'refunding' then
            refund_id is not null and refund_failure is null and release_time is null and next_try_time is not null
        when 'refunded' then
            refund_id is not null and refund_failure is null and release_time is not null and next_try_time is null
        when 'accepted' then
            refund_id is null and refund_failure is null and release_time is not null and next_try_time is null
            and reason = 'closed_order'
        end);

-- An order takes late money once.
create unique index held_payment_accepted on held_payment (merchant_id, order_id) where state = 'accepted';
create unique index held_payment_by_refund on held_payment (merchant_id, refund_id) where refund_id is not null;
create index held_payment_by_payment on held_payment (merchant_id, payment_id);
create index held_payment_open on held_payment (merchant_id, payment_id desc) where state in ('held', 'refunding');
create index held_payment_due on held_payment (next_try_time) where state = 'refunding';
