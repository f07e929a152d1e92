-- What a merchant allows. A change adds a version; the newest is in force.
create table refund_policy (
    merchant_id     uuid        not null,
    version         bigint      not null generated always as identity,
    window_day      integer     not null check (window_day between 1 and 365),
    -- The limits of automatic approval: parallel arrays, a currency at most once.
    limit_currency  text[]      not null,
    limit_minor     bigint[]    not null check (0 <= all (limit_minor)),
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    create_time     timestamptz not null,
    primary key (merchant_id, version),
    unique (merchant_id, idempotency_key),
    check (cardinality(limit_currency) = cardinality(limit_minor))
);

-- The refundable amount of an order: its row is the lock under which refunds of the order take turns, and its
-- checks are the ceiling that no number of replicas can break.
create table refund_order (
    merchant_id    uuid   not null,
    order_id       uuid   not null,
    payment_id     uuid   not null,
    currency       text   not null check (length(currency) = 3),
    total_minor    bigint not null check (total_minor >= 0),
    -- Taken by refunds that await approval or are being executed.
    reserved_minor bigint not null default 0 check (reserved_minor >= 0),
    -- Paid back.
    refunded_minor bigint not null default 0 check (refunded_minor >= 0),
    primary key (merchant_id, order_id),
    check (reserved_minor + refunded_minor <= total_minor)
);

-- The refundable units of an order's lines. Guarded by the lock of their order.
create table refund_order_line (
    merchant_id uuid    not null,
    order_id    uuid    not null,
    line_id     uuid    not null,
    quantity    integer not null check (quantity > 0),
    total_minor bigint  not null check (total_minor >= 0),
    -- Units and their worth in refunds that did not end without money.
    taken       integer not null default 0 check (taken between 0 and quantity),
    taken_minor bigint  not null default 0 check (taken_minor between 0 and total_minor),
    primary key (merchant_id, order_id, line_id),
    foreign key (merchant_id, order_id) references refund_order
);

create table refund (
    merchant_id     uuid        not null,
    refund_id       uuid        not null,
    order_id        uuid        not null,
    payment_id      uuid        not null,
    currency        text        not null check (length(currency) = 3),
    amount_minor    bigint      not null check (amount_minor > 0),
    reason          text        not null,
    state           text        not null
        check (state in ('pending_approval', 'processing', 'succeeded', 'failed', 'rejected')),
    failure_reason  text,
    -- Who approved or rejected; none when the policy approved.
    operator        text,
    create_time     timestamptz not null,
    end_time        timestamptz,
    -- While it is processing: when the worker may ask the payment service (again).
    next_try_time   timestamptz,
    -- How many calls of the payment service gave no final answer.
    tries           integer     not null default 0 check (tries >= 0),
    -- The trace in which it was requested.
    traceparent     text        not null,
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    primary key (merchant_id, refund_id),
    unique (merchant_id, idempotency_key),
    foreign key (merchant_id, order_id) references refund_order,
    check ((state = 'failed') = (failure_reason is not null)),
    check ((state in ('succeeded', 'failed', 'rejected')) = (end_time is not null)),
    check ((state = 'processing') = (next_try_time is not null)),
    check (state <> 'rejected' or operator is not null),
    check (state <> 'pending_approval' or operator is null)
);

create index refund_of_order on refund (merchant_id, order_id, refund_id);
create index refund_due on refund (next_try_time) where state = 'processing';

-- The lines that a refund covers; none when it is not by line.
create table refund_line (
    merchant_id  uuid    not null,
    refund_id    uuid    not null,
    line_id      uuid    not null,
    position     integer not null,
    quantity     integer not null check (quantity > 0),
    amount_minor bigint  not null check (amount_minor >= 0),
    primary key (merchant_id, refund_id, line_id),
    foreign key (merchant_id, refund_id) references refund
);
