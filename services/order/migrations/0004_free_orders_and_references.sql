-- Orders that cost nothing are paid when they are made, without a payment; lines may cost nothing. All of these hold less
-- than what they replace. A build before this one does not know a paid order without a payment: beside one of this level,
-- it fails to read such an order as long as the rollout takes.
alter table orders
    drop constraint orders_items_minor_check,
    add constraint orders_items_minor_check check (items_minor >= 0),
    drop constraint orders_total_minor_check,
    add constraint orders_total_minor_check check (total_minor >= 0),
    drop constraint orders_check5,
    add constraint orders_paid_by_payment check ((state = 'paid' and total_minor > 0) = (payment_id is not null));
alter table order_line
    drop constraint order_line_unit_price_minor_check,
    add constraint order_line_unit_price_minor_check check (unit_price_minor >= 0);

-- A merchant's own order number is the number of one order, from this build on. Orders that were made before may share
-- one, and so may those that a build before makes beside this one: they keep it, can be found by it, and are not unique.
-- An order that is made by this build is the first one of its number, also among those.
alter table orders add column reference_is_unique boolean not null default false;
create unique index orders_unique_reference on orders (merchant_id, merchant_reference) where reference_is_unique;
create index orders_by_reference on orders (merchant_id, merchant_reference, order_id desc)
    where merchant_reference <> '';

-- Uses that a person took back, without a refund.
create table voucher_void (
    merchant_id     uuid        not null,
    voucher_id      uuid        not null,
    count           integer     not null check (count between 1 and 9999),
    reason          text        not null check (char_length(reason) between 1 and 256),
    operator        text        not null check (char_length(operator) between 1 and 64),
    -- The voucher's counters right after it, so that a repeated call is answered alike.
    redeemed_after  integer     not null,
    reserved_after  integer     not null,
    voided_after    integer     not null,
    void_time       timestamptz not null,
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    primary key (merchant_id, idempotency_key),
    foreign key (merchant_id, voucher_id) references voucher
);
