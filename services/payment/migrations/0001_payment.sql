-- A merchant's account at a channel. Its secrets are sealed for this very row.
create table channel_account (
    merchant_id        uuid        not null,
    channel_account_id uuid        not null unique, -- callbacks name it without the merchant
    channel            text        not null check (channel in ('alipay')),
    label              text        not null check (char_length(label) <= 64),
    app_id             text        not null,
    seller_id          text        not null,
    gateway_url        text        not null,
    sealed_keys        bytea       not null,
    create_time        timestamptz not null,
    idempotency_key    text        not null,
    fingerprint        bytea       not null,
    primary key (merchant_id, channel_account_id),
    unique (merchant_id, idempotency_key)
);

-- Money to be taken for an order.
create table payment (
    merchant_id           uuid        not null,
    payment_id            uuid        not null unique, -- the payer's page knows nothing else
    order_id              uuid        not null,
    amount_minor          bigint      not null check (amount_minor > 0),
    currency              char(3)     not null,
    state                 text        not null check (state in ('created', 'pending', 'succeeded', 'closed', 'failed')),
    -- Whether this is the payment that may bring its order's money: until it is closed or failed. Money that comes
    -- later is recorded all the same, but does not take the order back from a payment that was created since.
    holds_order           boolean     not null,
    subject               text        not null check (char_length(subject) between 1 and 256),
    refunded_minor        bigint      not null default 0 check (refunded_minor >= 0),
    refund_reserved_minor bigint      not null default 0 check (refund_reserved_minor >= 0),
    create_time           timestamptz not null,
    expire_time           timestamptz not null,
    pay_time              timestamptz,
    idempotency_key       text        not null,
    fingerprint           bytea       not null,
    primary key (merchant_id, payment_id),
    constraint payment_idempotency unique (merchant_id, idempotency_key),
    check ((state = 'succeeded') = (pay_time is not null)),
    check (holds_order or state in ('succeeded', 'closed', 'failed')),
    -- Refunds never exceed what was taken, however many are asked for at once.
    constraint payment_refund_ceiling check (refunded_minor + refund_reserved_minor <= amount_minor),
    check (state = 'succeeded' or refunded_minor + refund_reserved_minor = 0)
);

create unique index payment_one_active on payment (merchant_id, order_id) where holds_order;
create index payment_by_order on payment (merchant_id, order_id, payment_id);

-- One try to take a payment through one channel account.
create table attempt (
    merchant_id            uuid        not null,
    attempt_id             uuid        not null,
    payment_id             uuid        not null,
    channel_account_id     uuid        not null,
    channel                text        not null check (channel in ('alipay')),
    method                 text        not null check (method in ('qr_code')),
    state                  text        not null check (state in ('initiated', 'pending', 'succeeded', 'closed', 'failed')),
    in_doubt               boolean     not null,
    routing_reason         text        not null,
    qr_code                text,
    channel_transaction_id text,
    failure_reason         text,
    failure_code           text,
    create_time            timestamptz not null,
    -- When the poller is to look next; none once the end is known.
    next_query_time        timestamptz,
    tries                  integer     not null default 0,
    -- Until when somebody is calling the channel about it. Whoever died in the call holds it no longer than this.
    lease_until            timestamptz,
    -- The payment's trace, which later evidence joins.
    traceparent            text        not null,
    primary key (merchant_id, attempt_id),
    foreign key (merchant_id, payment_id) references payment,
    foreign key (merchant_id, channel_account_id) references channel_account,
    check ((state = 'failed') = (failure_reason is not null)),
    check ((failure_reason is null) = (failure_code is null)),
    check (state <> 'pending' or qr_code is not null),
    check (state <> 'succeeded' or channel_transaction_id is not null),
    check ((state in ('initiated', 'pending')) = (next_query_time is not null))
);

create unique index attempt_one_succeeds on attempt (merchant_id, payment_id) where state = 'succeeded';
create index attempt_by_payment on attempt (merchant_id, payment_id);
create index attempt_due on attempt (next_query_time) where next_query_time is not null;

-- A refund as the channel executes it.
create table payment_refund (
    merchant_id     uuid        not null,
    refund_id       uuid        not null,
    payment_id      uuid        not null,
    attempt_id      uuid        not null,
    amount_minor    bigint      not null check (amount_minor > 0),
    currency        char(3)     not null,
    reason          text        not null check (char_length(reason) <= 128),
    state           text        not null check (state in ('pending', 'succeeded', 'failed')),
    failure_reason  text,
    failure_code    text,
    create_time     timestamptz not null,
    refund_time     timestamptz,
    next_query_time timestamptz,
    tries           integer     not null default 0,
    lease_until     timestamptz,
    traceparent     text        not null,
    primary key (merchant_id, refund_id),
    foreign key (merchant_id, payment_id) references payment,
    foreign key (merchant_id, attempt_id) references attempt,
    check ((state = 'succeeded') = (refund_time is not null)),
    check ((state = 'failed') = (failure_reason is not null)),
    check ((failure_reason is null) = (failure_code is null)),
    check ((state = 'pending') = (next_query_time is not null))
);

create index payment_refund_by_payment on payment_refund (merchant_id, payment_id);
create index payment_refund_due on payment_refund (next_query_time) where next_query_time is not null;

-- A verified message of a channel that contradicts our record. It changed nothing else.
create table alarm (
    merchant_id uuid        not null,
    alarm_id    uuid        not null,
    payment_id  uuid        not null,
    field       text        not null check (field in ('amount', 'app_id', 'seller_id')),
    expected    text        not null,
    actual      text        not null,
    create_time timestamptz not null,
    primary key (merchant_id, alarm_id),
    foreign key (merchant_id, payment_id) references payment,
    -- The same contradiction, told again, is no other alarm.
    unique (merchant_id, payment_id, field, expected, actual)
);
