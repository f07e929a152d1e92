-- Addresses of merchants that are told of events.
create table webhook_endpoint (
    merchant_id         uuid        not null,
    webhook_endpoint_id uuid        not null,
    url                 text        not null check (length(url) <= 2048),
    -- The event types wanted; none for all.
    event_type          text[]      not null,
    -- The signing secret, sealed for this row.
    sealed_secret       bytea       not null,
    create_time         timestamptz not null,
    disable_time        timestamptz,
    idempotency_key     text        not null,
    fingerprint         bytea       not null,
    primary key (merchant_id, webhook_endpoint_id),
    unique (merchant_id, idempotency_key)
);

-- One event to be told to one endpoint.
create table delivery (
    merchant_id         uuid        not null,
    delivery_id         uuid        not null,
    webhook_endpoint_id uuid        not null,
    event_id            uuid        not null,
    event_type          text        not null,
    body                text        not null,
    -- The trace of the event; empty when that was not traced.
    traceparent         text        not null,
    state               text        not null check (state in ('pending', 'succeeded', 'failed')),
    -- Raised by every replay; results of tries of an earlier round do not move the delivery any more.
    round               integer     not null default 0,
    -- The tries of this round.
    tries               integer     not null default 0 check (tries >= 0),
    -- All tries, which numbers them.
    attempts            integer     not null default 0 check (attempts >= tries),
    -- When a worker may send it; while one does, when another may assume that it crashed. None while the endpoint
    -- is disabled.
    next_attempt_time   timestamptz,
    create_time         timestamptz not null,
    primary key (merchant_id, delivery_id),
    unique (merchant_id, webhook_endpoint_id, event_id),
    foreign key (merchant_id, webhook_endpoint_id) references webhook_endpoint,
    check (state = 'pending' or next_attempt_time is null)
);

create index delivery_due on delivery (next_attempt_time) where state = 'pending';
create index delivery_of_endpoint on delivery (merchant_id, webhook_endpoint_id, delivery_id);

-- One try to deliver.
create table delivery_attempt (
    merchant_id  uuid        not null,
    delivery_id  uuid        not null,
    number       integer     not null check (number > 0),
    attempt_time timestamptz not null,
    duration_ms  integer     not null check (duration_ms >= 0),
    -- The HTTP status; 0 when there was no answer.
    status       integer     not null check (status between 0 and 999),
    -- Why there was no answer.
    error        text        not null,
    primary key (merchant_id, delivery_id, number),
    foreign key (merchant_id, delivery_id) references delivery
);

-- Replays that were asked for, so that a repeated call replays once.
create table delivery_replay (
    merchant_id     uuid        not null,
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    delivery_id     uuid        not null,
    create_time     timestamptz not null,
    primary key (merchant_id, idempotency_key),
    foreign key (merchant_id, delivery_id) references delivery
);
