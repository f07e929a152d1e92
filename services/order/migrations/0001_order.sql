-- Amounts are whole minor units of the order's or promotion's one currency.

create table promotion (
    merchant_id     uuid        not null,
    promotion_id    uuid        not null,
    name            text        not null check (char_length(name) between 1 and 128),
    currency        text        not null check (currency ~ '^[A-Z]{3}$'),
    threshold_minor bigint      not null,
    saving_minor    bigint      not null check (saving_minor > 0 and saving_minor <= threshold_minor),
    create_time     timestamptz not null,
    end_time        timestamptz,
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    primary key (merchant_id, promotion_id),
    unique (merchant_id, idempotency_key)
);

-- What CreateOrder reads.
create index promotion_active on promotion (merchant_id, currency) where end_time is null;

-- Plural, because "order" is a word of SQL.
create table orders (
    merchant_id        uuid        not null,
    order_id           uuid        not null,
    merchant_reference text        not null check (char_length(merchant_reference) <= 64),
    state              text        not null check (state in ('pending_payment', 'paid', 'cancelled', 'expired')),
    currency           text        not null check (currency ~ '^[A-Z]{3}$'),
    items_minor        bigint      not null check (items_minor > 0),
    discount_minor     bigint      not null check (discount_minor between 0 and items_minor),
    shipping_minor     bigint      not null check (shipping_minor >= 0),
    total_minor        bigint      not null check (total_minor > 0),
    -- No foreign key: promotions are never deleted, and the key's row lock would make every order of a merchant
    -- touch the one promotion that all of them have.
    promotion_id       uuid,
    -- How to reach the buyer, sealed for "order.contact:<order id>".
    contact            bytea,
    -- The payment that paid the order, and when by the channel's clock.
    payment_id         uuid,
    pay_time           timestamptz,
    refunded_minor     bigint      not null default 0 check (refunded_minor between 0 and total_minor),
    create_time        timestamptz not null,
    expire_time        timestamptz not null check (expire_time > create_time),
    -- When the expiry worker looks at the order next: its expiry at first; a later time while a worker has it.
    next_expiry_try    timestamptz not null,
    idempotency_key    text        not null,
    fingerprint        bytea       not null,
    primary key (merchant_id, order_id),
    unique (merchant_id, idempotency_key),
    check (total_minor = items_minor - discount_minor + shipping_minor),
    check ((discount_minor > 0) = (promotion_id is not null)),
    check ((state = 'paid') = (payment_id is not null)),
    check ((state = 'paid') = (pay_time is not null)),
    check (refunded_minor = 0 or state = 'paid')
);

create index orders_by_state on orders (merchant_id, state, order_id desc);
create index orders_due on orders (next_expiry_try) where state = 'pending_payment';

-- Lines are in the order of their ids.
create table order_line (
    merchant_id      uuid    not null,
    order_id         uuid    not null,
    line_id          uuid    not null,
    sku              text    not null check (char_length(sku) between 1 and 64),
    name             text    not null check (char_length(name) between 1 and 256),
    quantity         integer not null check (quantity between 1 and 9999),
    unit_price_minor bigint  not null check (unit_price_minor > 0),
    subtotal_minor   bigint  not null check (subtotal_minor = unit_price_minor * quantity),
    discount_minor   bigint  not null check (discount_minor between 0 and subtotal_minor),
    fulfilment       text    not null check (fulfilment in ('shipped', 'voucher')),
    primary key (merchant_id, order_id, line_id),
    foreign key (merchant_id, order_id) references orders
);

-- Money that came for an order that could not take it.
create table held_payment (
    merchant_id  uuid        not null,
    order_id     uuid        not null,
    payment_id   uuid        not null,
    currency     text        not null check (currency ~ '^[A-Z]{3}$'),
    amount_minor bigint      not null check (amount_minor > 0),
    hold_time    timestamptz not null,
    primary key (merchant_id, order_id, payment_id),
    foreign key (merchant_id, order_id) references orders
);

-- Refunds that were counted, each once.
create table order_refund (
    merchant_id  uuid        not null,
    refund_id    uuid        not null,
    order_id     uuid        not null,
    amount_minor bigint      not null check (amount_minor > 0),
    apply_time   timestamptz not null,
    primary key (merchant_id, refund_id),
    foreign key (merchant_id, order_id) references orders
);

create table voucher (
    merchant_id uuid        not null,
    voucher_id  uuid        not null,
    order_id    uuid        not null,
    line_id     uuid        not null,
    -- 16 symbols without hyphens. In the clear: the buyer must be able to see it again.
    code        text        not null check (code ~ '^[0-9A-HJKMNP-TV-Z]{16}$'),
    uses        integer     not null check (uses between 1 and 9999),
    redeemed    integer     not null default 0 check (redeemed >= 0),
    voided      integer     not null default 0 check (voided >= 0),
    issue_time  timestamptz not null,
    primary key (merchant_id, voucher_id),
    unique (merchant_id, code),
    unique (merchant_id, order_id, line_id),
    foreign key (merchant_id, order_id, line_id) references order_line,
    constraint voucher_not_overused check (redeemed + voided <= uses)
);

create table redemption (
    merchant_id     uuid        not null,
    redemption_id   uuid        not null,
    voucher_id      uuid        not null,
    count           integer     not null check (count between 1 and 9999),
    terminal        text        not null check (char_length(terminal) between 1 and 64),
    operator        text        not null check (char_length(operator) between 1 and 64),
    -- The voucher's counters right after this redemption, so that a repeated call is answered alike.
    redeemed_after  integer     not null,
    voided_after    integer     not null,
    redeem_time     timestamptz not null,
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    primary key (merchant_id, redemption_id),
    unique (merchant_id, idempotency_key),
    foreign key (merchant_id, voucher_id) references voucher
);

create index redemption_by_voucher on redemption (merchant_id, voucher_id);
