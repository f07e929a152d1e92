-- What became true in this service, appended in the transaction that made it true.
create table event_log (
    seq         bigint generated always as identity primary key,
    -- Rows become visible when their transaction commits, not in the order of seq. Readers go by (tx, seq) and stop
    -- below the oldest transaction that still runs, so that no row can appear behind their cursor.
    tx          xid8        not null default pg_current_xact_id(),
    event_id    uuid        not null unique,
    merchant_id uuid        not null,
    aggregate_id text       not null,
    kind        text        not null,
    payload     bytea       not null,
    traceparent text        not null,
    occur_time  timestamptz not null
);

create unique index event_log_position on event_log (tx, seq);

-- How far this service has applied the log of another one.
create table event_cursor (
    source text   primary key,
    tx     bigint not null,
    seq    bigint not null
);

-- Events of other services that could not be applied here. They block nothing and can be replayed.
create table event_set_aside (
    source         text        not null,
    event_id       uuid        not null,
    event          bytea       not null,
    error          text        not null,
    set_aside_time timestamptz not null default now(),
    primary key (source, event_id)
);
