-- Channels, states and amounts for every kind of channel. Replicas of the build before go on beside this: what they do not
-- write is filled in by defaults and triggers, and what they read is still written.

-- The channels that this installation knows. The service adds those that it has an adapter for when it starts, so that a
-- new channel needs no migration.
create table channel (
    channel text primary key check (channel ~ '^[a-z][a-z0-9_]{0,31}$')
);
insert into channel values ('alipay');

-- How the channel knows the merchant is the adapter's own json; the three columns are what the build before reads.
alter table channel_account
    drop constraint channel_account_channel_check,
    add constraint channel_account_channel foreign key (channel) references channel,
    alter app_id drop not null,
    alter seller_id drop not null,
    alter gateway_url drop not null,
    add identity jsonb check (jsonb_typeof(identity) = 'object'),
    -- A new account is a draft until its keys were proved; one that is disabled takes no new payment.
    add state text not null default 'active' check (state in ('draft', 'active', 'disabled'));
update channel_account
set identity = jsonb_build_object('app_id', app_id, 'seller_id', seller_id, 'gateway_url', gateway_url);

-- The secrets of an account; several while they are being replaced. The first has the account's own id.
create table channel_credential (
    merchant_id        uuid        not null,
    channel_account_id uuid        not null,
    credential_id      uuid        not null,
    sealed_keys        bytea       not null,
    create_time        timestamptz not null,
    -- When the channel stops taking them; none when it never does.
    expire_time        timestamptz,
    -- When a call proved them; only then are they signed with.
    test_time          timestamptz,
    -- From when on they are neither signed nor verified with.
    retire_time        timestamptz,
    -- Of the call that added them; none for an account's first.
    idempotency_key    text,
    fingerprint        bytea,
    primary key (merchant_id, channel_account_id, credential_id),
    foreign key (merchant_id, channel_account_id) references channel_account,
    unique (merchant_id, idempotency_key)
);
insert into channel_credential (merchant_id, channel_account_id, credential_id, sealed_keys, create_time, test_time)
select merchant_id, channel_account_id, channel_account_id, sealed_keys, create_time, create_time from channel_account;

-- Whoever makes an account makes its first credential, the build before included, whose accounts are in use at once.
create function channel_account_first_credential() returns trigger language plpgsql as $$
begin
    insert into channel_credential (merchant_id, channel_account_id, credential_id, sealed_keys, create_time, test_time)
    values (new.merchant_id, new.channel_account_id, new.channel_account_id, new.sealed_keys, new.create_time,
            case when new.state = 'active' then new.create_time end);
    return null;
end
$$;
create trigger channel_account_first_credential after insert on channel_account
    for each row execute function channel_account_first_credential();

-- What was authorized, of that captured, and of that given up. A channel without authorization captures as it authorizes.
alter table payment
    add authorized_minor bigint not null default 0 check (authorized_minor >= 0),
    add captured_minor   bigint not null default 0 check (captured_minor >= 0),
    add voided_minor     bigint not null default 0 check (voided_minor >= 0);
update payment set authorized_minor = amount_minor, captured_minor = amount_minor where state = 'succeeded';

-- The build before knows no amounts beside the payment's own: what it records as paid was captured in full.
create function payment_captured_in_full() returns trigger language plpgsql as $$
begin
    if new.state = 'succeeded' and new.captured_minor = 0 then
        new.authorized_minor := new.amount_minor;
        new.captured_minor := new.amount_minor;
    end if;
    return new;
end
$$;
create trigger payment_captured_in_full before insert or update of state on payment
    for each row execute function payment_captured_in_full();

alter table payment
    drop constraint payment_state_check,
    add constraint payment_state_check
        check (state in ('created', 'pending', 'authorized', 'succeeded', 'closed', 'failed')),
    -- Refunds never exceed what was captured, however many are asked for at once; nothing is captured beyond what was
    -- authorized, and nothing authorized beyond what is to be paid.
    drop constraint payment_refund_ceiling,
    add constraint payment_refund_ceiling check (refunded_minor + refund_reserved_minor <= captured_minor),
    add constraint payment_capture_ceiling check (captured_minor + voided_minor <= authorized_minor),
    add constraint payment_authorization_ceiling check (authorized_minor <= amount_minor),
    add constraint payment_succeeded_captured check (state <> 'succeeded' or captured_minor > 0);

alter table attempt
    drop constraint attempt_channel_check,
    add constraint attempt_channel foreign key (channel) references channel,
    drop constraint attempt_method_check,
    drop constraint attempt_state_check,
    add constraint attempt_state_check
        check (state in ('initiated', 'pending', 'authorized', 'succeeded', 'closed', 'failed')),
    -- What the payer must do. The build before reads and writes `qr_code` instead.
    add next_action jsonb check (jsonb_typeof(next_action) = 'object'),
    -- What the channel needs to be told later, such as numbers of its own: the adapter's json.
    add refs jsonb not null default '{}' check (jsonb_typeof(refs) = 'object'),
    -- What the caller gave for the method, where it gave something.
    add input jsonb check (jsonb_typeof(input) = 'object'),
    -- What stands in the way, as far as somebody said so who can't be believed.
    add problem text check (char_length(problem) <= 256),
    drop constraint attempt_check2,
    add constraint attempt_pending_action check (state <> 'pending' or qr_code is not null or next_action is not null),
    drop constraint attempt_check4,
    add constraint attempt_asked_while_open
        check (state = 'authorized' or (state in ('initiated', 'pending')) = (next_query_time is not null));

-- What people decided of an attempt whose channel gives no evidence: one asks, another one approves.
create table attempt_decision (
    merchant_id  uuid        not null,
    decision_id  uuid        not null,
    payment_id   uuid        not null,
    attempt_id   uuid        not null,
    state        text        not null check (state in ('requested', 'approved', 'rejected')),
    reason       text        not null check (char_length(reason) between 1 and 500),
    requested_by text        not null check (char_length(requested_by) between 1 and 64),
    request_time timestamptz not null,
    decided_by   text        check (char_length(decided_by) between 1 and 64),
    decide_time  timestamptz,
    primary key (merchant_id, decision_id),
    foreign key (merchant_id, payment_id) references payment,
    foreign key (merchant_id, attempt_id) references attempt,
    check ((state = 'requested') = (decided_by is null)),
    check ((decided_by is null) = (decide_time is null)),
    -- Four eyes.
    constraint attempt_decision_by_two check (decided_by <> requested_by)
);
-- One question about an attempt at a time.
create unique index attempt_decision_open on attempt_decision (merchant_id, attempt_id) where state = 'requested';

-- The fields of an account's identity are its adapter's own.
alter table alarm drop constraint alarm_field_check;
