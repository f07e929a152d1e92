-- An endpoint that fails is paused, for longer each time, until it answers again; one that says that it is gone is disabled.
alter table webhook_endpoint
    -- Why it is disabled: `requested` by a call, or `gone`, as it answered itself. Null also where an older build disabled it,
    -- which did so by request only.
    add column disable_reason   text check (disable_reason in ('requested', 'gone')),
    -- Attempts that failed since the last one that succeeded.
    add column failures         integer not null default 0 check (failures >= 0),
    -- Pauses since then, which make the next one longer.
    add column pauses           integer not null default 0 check (pauses >= 0),
    -- Nothing is sent to it before; afterwards one delivery at a time, until one succeeds. Null while it is well.
    add column pause_end_time   timestamptz;

-- What one try is recorded by, so that recording it twice counts it once. Null for tries of older builds.
alter table delivery_attempt add column attempt_id uuid;
create unique index delivery_attempt_once on delivery_attempt (merchant_id, delivery_id, attempt_id);

-- The merchants that have deliveries to come, one after the other, and the oldest due ones of each endpoint. The index
-- delivery_due is for older builds alone, and goes in a later release.
create index delivery_due_of_endpoint on delivery (merchant_id, webhook_endpoint_id, next_attempt_time)
    where state = 'pending' and next_attempt_time is not null;
