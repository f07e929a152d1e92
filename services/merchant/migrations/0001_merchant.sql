create table merchant (
    merchant_id     uuid        primary key,
    name            text        not null check (char_length(name) between 1 and 128),
    state           text        not null check (state in ('pending_approval', 'approved')),
    time_zone       text        not null,
    create_time     timestamptz not null,
    approve_time    timestamptz,
    -- Registered by the operator, so the key is the operator's and not a merchant's.
    idempotency_key text        not null unique,
    fingerprint     bytea       not null,
    check ((state = 'approved') = (approve_time is not null))
);

create table api_key (
    merchant_id     uuid        not null references merchant,
    api_key_id      uuid        not null,
    label           text        not null check (char_length(label) <= 64),
    -- SHA-256 of the secret. The secret has 256 random bits, so a plain hash can't be searched backwards.
    secret_hash     bytea       not null unique,
    create_time     timestamptz not null,
    revoke_time     timestamptz,
    idempotency_key text        not null,
    fingerprint     bytea       not null,
    primary key (merchant_id, api_key_id),
    unique (merchant_id, idempotency_key)
);
