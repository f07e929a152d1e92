-- When the database took an event in: what retention goes by, for the times in events come from the services' clocks.
alter table event_log add column append_time timestamptz not null default now();

-- Who reads this log, and up to where each has applied it. Retention removes nothing that one of them still needs.
create table event_consumer (
    name      text        primary key,
    tx        bigint      not null,
    seq       bigint      not null,
    seen_time timestamptz not null default now()
);

-- Up to where retention has removed the log: no row before the first time, then one.
create table event_removed (
    only_row boolean primary key default true check (only_row),
    tx       bigint  not null,
    seq      bigint  not null
);

-- Which replica of this service consumes a log at present, and until when unless it says so again. It saves the others
-- work; what makes effects happen once is the cursor alone.
alter table event_cursor add column holder uuid, add column lease_until timestamptz;

-- Events set aside are listed and replayed across sources, oldest first.
create index event_set_aside_event on event_set_aside (event_id);
