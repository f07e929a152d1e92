-- The ledger as data: which kinds of transfers there are, what each is made of, and how that is posted are rows. A new kind
-- is rows here and one arm of an enum.
--
-- A transfer says what it is made of in `components`, an object of minor units: {"received": 9500, "coupon": 500, "fee": 57}.
-- They stand in the transfer's row and not in a table of their own, so that they are there when it is, change as little as
-- it does, and cost no rows: three more for each payment cost a quarter of the posting speed. The view transfer_component
-- has them as rows.
--
-- Builds of the version before go on beside this one: they write the columns (gross_minor, fee_minor, channel_fee_minor) and
-- a trigger derives the components; this build writes both, which must agree. Rows from before have no components; the
-- function components_of derives them when they are read. What the build before can't do rightly it is refused as
-- something to try again (40001): refunds of payments with components that it does not know, which a newer replica posts.
-- A later release drops the columns.

-- What posts under way ends with the functions with which it began; in the order in which a posting meets the tables.
lock table account, batch, transfer, batch_item, entry in access exclusive mode;

-- Kinds of transfers, and what each is about.
create table transfer_kind (
    transfer_kind   text    primary key,
    of_payment      boolean not null,
    of_refund       boolean not null,
    of_batch        boolean not null,
    -- Whether the channel moved money: then its account, number and event are known.
    at_channel      boolean not null,
    -- Whether an event told of it.
    of_event        boolean not null,
    -- Whether it waits for a batch.
    waits_for_batch boolean not null
);

insert into transfer_kind values
    ('payment', true, false, false, true, true, true),
    ('refund', true, true, false, true, true, true),
    ('hold', true, false, false, false, true, true),
    ('release', true, false, false, false, true, true),
    ('batch', false, false, true, false, false, false);

-- What transfers of a kind may be made of.
create table component_kind (
    transfer_kind text    not null references transfer_kind,
    component     text    not null check (component ~ '^[a-z][a-z_]*$'),
    -- Whether it is a part of what moved: these add up to gross_minor.
    in_gross      boolean not null,
    -- Whether it may be below zero.
    is_signed     boolean not null default false,
    primary key (transfer_kind, component)
);

insert into component_kind (transfer_kind, component, in_gross, is_signed) values
    -- What the channel pays out, or takes back, before its fee; and what a coupon of the merchant's own took off the
    -- price, which nobody pays out.
    ('payment', 'received', true, false),
    ('payment', 'coupon', true, false),
    ('payment', 'fee', false, false),
    ('payment', 'channel_fee', false, false),
    ('refund', 'received', true, false),
    ('refund', 'coupon', true, false),
    ('refund', 'fee', false, false),
    ('refund', 'channel_fee', false, false),
    ('hold', 'held', true, false),
    ('release', 'held', true, false),
    -- Below zero when refunds outweigh payments.
    ('batch', 'net', true, true);

-- How a component is posted: which kind of account it moves, and to which side; a component below zero to the other one.
-- A component without rules moves nothing: it says what nobody paid.
create table posting_rule (
    transfer_kind text not null,
    component     text not null,
    account_kind  text not null,
    direction     text not null check (direction in ('debit', 'credit')),
    primary key (transfer_kind, component, account_kind),
    foreign key (transfer_kind, component) references component_kind
);

insert into posting_rule (transfer_kind, component, account_kind, direction) values
    ('payment', 'received', 'channel_receivable', 'debit'),
    ('payment', 'received', 'merchant_payable', 'credit'),
    ('payment', 'fee', 'merchant_payable', 'debit'),
    ('payment', 'fee', 'fee_income', 'credit'),
    ('payment', 'channel_fee', 'channel_cost', 'debit'),
    ('payment', 'channel_fee', 'channel_receivable', 'credit'),
    ('refund', 'received', 'channel_receivable', 'credit'),
    ('refund', 'received', 'merchant_payable', 'debit'),
    ('refund', 'fee', 'merchant_payable', 'credit'),
    ('refund', 'fee', 'fee_income', 'debit'),
    ('refund', 'channel_fee', 'channel_cost', 'credit'),
    ('refund', 'channel_fee', 'channel_receivable', 'debit'),
    ('hold', 'held', 'merchant_payable', 'debit'),
    ('hold', 'held', 'suspense', 'credit'),
    ('release', 'held', 'suspense', 'debit'),
    ('release', 'held', 'merchant_payable', 'credit'),
    ('batch', 'net', 'merchant_payable', 'debit'),
    ('batch', 'net', 'payout_payable', 'credit');

-- Every component's debits equal its credits, so that every transfer's do.
create function posting_rule_balance() returns trigger language plpgsql as $$
declare
    bad record;
begin
    select transfer_kind, component into bad
    from posting_rule
    group by transfer_kind, component
    having sum(case direction when 'debit' then 1 else -1 end) <> 0
    limit 1;
    if bad.component is not null then
        raise exception 'the rules of % of a % do not balance', bad.component, bad.transfer_kind
            using errcode = 'check_violation', constraint = 'posting_rule_balance', table = 'posting_rule';
    end if;
    return null;
end
$$;

create constraint trigger posting_rule_balance after insert on posting_rule deferrable initially deferred
    for each row execute function posting_rule_balance();

-- By these rules the books were kept: a rule is never changed. Other rules are another kind.
alter function refuse_change() rename to forbid_update;

create trigger transfer_kind_append_only before update or delete or truncate on transfer_kind
    for each statement execute function forbid_update();
create trigger component_kind_append_only before update or delete or truncate on component_kind
    for each statement execute function forbid_update();
create trigger posting_rule_append_only before update or delete or truncate on posting_rule
    for each statement execute function forbid_update();

-- Fee terms with all their parts. An amount is of a payment's currency; where that is another, the rate alone holds.
alter table fee_schedule
    add column currency                   text    check (currency ~ '^[A-Z]{3}$'),
    add column fixed_minor                bigint  check (fixed_minor > 0),
    add column minimum_minor              bigint  check (minimum_minor > 0),
    add column maximum_minor              bigint  check (maximum_minor > 0),
    add column returned_on_refund         boolean not null default true,
    add column channel_fixed_minor        bigint  check (channel_fixed_minor > 0),
    add column channel_minimum_minor      bigint  check (channel_minimum_minor > 0),
    add column channel_maximum_minor      bigint  check (channel_maximum_minor > 0),
    add column channel_returned_on_refund boolean not null default true,
    add constraint fee_schedule_currency check (
        (currency is null) = (num_nonnulls(fixed_minor, minimum_minor, maximum_minor, channel_fixed_minor,
                                           channel_minimum_minor, channel_maximum_minor) = 0)
    ),
    add constraint fee_schedule_range check (
        coalesce(minimum_minor <= maximum_minor, true) and coalesce(channel_minimum_minor <= channel_maximum_minor, true)
    );

alter table transfer
    add column components             jsonb,
    -- The fee schedule in force when the payment was posted; none where there was none.
    add column fee_schedule_version   bigint,
    -- The channel's own number of the transaction: what a line of its statement is matched by where ours is not known.
    add column channel_transaction_id text,
    -- True for a refund that was made at the channel's own console.
    add column made_at_channel        boolean not null default false,
    -- What kinds there are, and what each is about, is said by rows from here on: transfer_shape.
    drop constraint transfer_kind_check,
    drop constraint transfer_facts,
    add constraint transfer_components_given check (components is not null) not valid,
    add constraint transfer_made_at_channel check (kind = 'refund' or not made_at_channel) not valid;

-- What a transfer is made of; of one from before this level, what it must have been made of.
create function components_of(t transfer) returns jsonb language sql stable parallel safe as $$
    select coalesce(t.components, case t.kind
        when 'payment' then jsonb_strip_nulls(jsonb_build_object(
            'received', t.gross_minor, 'fee', nullif(t.fee_minor, 0), 'channel_fee', nullif(t.channel_fee_minor, 0)))
        when 'refund' then jsonb_strip_nulls(jsonb_build_object(
            'received', t.gross_minor, 'fee', nullif(t.fee_minor, 0), 'channel_fee', nullif(t.channel_fee_minor, 0)))
        when 'batch' then (
            select jsonb_build_object('net', sign(b.net_minor)::bigint * t.gross_minor) from batch b
            where b.merchant_id = t.merchant_id and b.batch_id = t.batch_id)
        -- What no kind has (a fee, for one) stays, to be refused.
        else jsonb_strip_nulls(jsonb_build_object(
            'held', t.gross_minor, 'fee', nullif(t.fee_minor, 0), 'channel_fee', nullif(t.channel_fee_minor, 0)))
    end)
$$;

-- Components as rows.
create view transfer_component as
    select t.merchant_id, t.transfer_id, t.kind as transfer_kind, c.key as component, c.value::bigint as amount_minor
    from transfer t cross join lateral jsonb_each(components_of(t)) c;

-- For builds of the version before.
create function transfer_derive_components() returns trigger language plpgsql as $$
begin
    if new.kind = 'refund' and exists (
        select from transfer t
        where t.merchant_id = new.merchant_id and t.payment_id = new.payment_id and t.kind = 'payment'
          and (components_of(t) ? 'coupon' or exists (
              select from fee_schedule f
              where f.merchant_id = t.merchant_id and f.channel = t.channel and f.version = t.fee_schedule_version
                and not (f.returned_on_refund and f.channel_returned_on_refund)))
    ) then
        raise exception 'refund %: what its payment is made of is known to newer builds only', new.refund_id
            using errcode = 'serialization_failure', table = 'transfer';
    end if;
    new.components := components_of(new);
    return new;
end
$$;

create trigger transfer_derive_components before insert on transfer
    for each row when (new.components is null) execute function transfer_derive_components();

-- A transfer is of a known kind, has what its kind has, and is made of what its kind may be made of.
create function transfer_shape() returns trigger language plpgsql as $$
declare
    bad record;
begin
    execute $sql$
        select n.transfer_id,
               case when k.transfer_kind is null then 'transfer_kind_check' else 'transfer_facts' end as refused_by
        from new_transfer n
        left join transfer_kind k on k.transfer_kind = n.kind
        where k.transfer_kind is null
           or num_nulls(n.channel, n.channel_account_id, n.number) <> case when k.at_channel then 0 else 3 end
           or (n.channel_transaction_id is not null and not k.at_channel)
           or (n.event_id is not null) <> k.of_event
           or (n.payment_id is not null) <> k.of_payment
           or (n.refund_id is not null) <> k.of_refund
           or (n.refunded_total_minor is not null) <> k.of_refund
           or (n.batch_id is not null) <> k.of_batch
           or num_nulls(n.fee_rate, n.channel_rate) <> case n.kind when 'payment' then 0 else 2 end
           or (n.fee_schedule_version is not null and n.kind <> 'payment')
        limit 1
    $sql$ into bad;
    if bad.transfer_id is not null then
        raise exception 'transfer %: it has not what its kind has', bad.transfer_id
            using errcode = 'check_violation', constraint = bad.refused_by, table = 'transfer';
    end if;

    execute $sql$
        select n.transfer_id
        from new_transfer n
        left join lateral (
            select key, value, case jsonb_typeof(value) when 'number' then value::bigint end as amount
            from jsonb_each(case jsonb_typeof(n.components) when 'object' then n.components else '{"": 0}' end)
            offset 0 -- so that each is read once
        ) c on true
        left join component_kind k on k.transfer_kind = n.kind and k.component = c.key
        group by n.merchant_id, n.transfer_id, n.gross_minor, n.fee_minor, n.channel_fee_minor
        having bool_or(k.component is null or c.amount is null or c.amount = 0 or (c.amount < 0 and not k.is_signed)
                       or c.value <> to_jsonb(c.amount)) is distinct from false
            or abs(sum(c.amount) filter (where k.in_gross)) is distinct from n.gross_minor
            or coalesce(sum(c.amount) filter (where c.key = 'fee'), 0) <> n.fee_minor
            or coalesce(sum(c.amount) filter (where c.key = 'channel_fee'), 0) <> n.channel_fee_minor
        limit 1
    $sql$ into bad;
    if bad.transfer_id is not null then
        raise exception 'transfer %: it is not made of what its kind is made of', bad.transfer_id
            using errcode = 'check_violation', constraint = 'transfer_facts', table = 'transfer';
    end if;
    return null;
end
$$;

-- Fires before the other triggers on transfers: in the order of their names.
create trigger transfer_a_shape after insert on transfer referencing new table as new_transfer
    for each statement execute function transfer_shape();

-- Kinds that have no index of their own happen once to what they are about.
create unique index transfer_once on transfer (coalesce(refund_id, batch_id, payment_id), merchant_id, kind)
    where kind not in ('payment', 'refund', 'batch', 'hold', 'release');

-- Entries come in statements that hold all of their transfer, and they are the rules applied to its components: on each kind
-- of account what the rules bring there, no other accounts, and nothing that could be added later.
create or replace function entry_balance() returns trigger language plpgsql as $$
declare
    bad record;
begin
    execute $sql$
        with part as materialized (
            -- Each transfer through its index (lateral): by some statistics, reading all would look cheaper.
            select t.merchant_id, t.transfer_id, t.kind, t.currency, t.channel, c.key as component,
                   c.value::bigint as amount
            from (select distinct merchant_id, transfer_id from new_entry) n
            cross join lateral (
                select * from transfer t
                where t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id
                limit 1
            ) t
            cross join lateral jsonb_each(t.components) c
        )
        select s.transfer_id
        from (
            select n.merchant_id, n.transfer_id, a.kind as account_kind, n.currency,
                   case n.direction when 'debit' then n.amount_minor else -n.amount_minor end as debit,
                   a.currency is distinct from n.currency as is_foreign, nullif(a.channel, '') as channel
            from new_entry n
            left join account a on a.merchant_id = n.merchant_id and a.account_id = n.account_id
            union all
            select p.merchant_id, p.transfer_id, r.account_kind, p.currency,
                   case r.direction when 'debit' then -p.amount else p.amount end, false, p.channel
            from part p
            join posting_rule r on r.transfer_kind = p.kind and r.component = p.component
        ) s
        group by s.merchant_id, s.transfer_id, s.account_kind, s.currency
        having sum(s.debit) <> 0 or bool_or(s.is_foreign) or min(s.channel) <> max(s.channel)
        limit 1
    $sql$ into bad;
    if bad.transfer_id is null then
        return null;
    end if;

    -- Something is wrong: what, in the order in which somebody would look for it.
    execute $sql$
        select n.transfer_id,
               case when bool_or(a.currency is distinct from n.currency) then 'entry_account'
                    when bool_or(t.transfer_id is null) then 'entry_transfer'
                    when sum(case n.direction when 'debit' then n.amount_minor else -n.amount_minor end) <> 0
                        then 'entry_balance'
                    else 'entry_facts'
               end as refused_by
        from new_entry n
        left join account a on a.merchant_id = n.merchant_id and a.account_id = n.account_id
        left join transfer t on t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id
        where n.transfer_id = $1
        group by n.transfer_id
    $sql$ into bad using bad.transfer_id;
    raise exception 'transfer %: %', bad.transfer_id,
        case bad.refused_by
            when 'entry_account' then 'an entry needs an account of its currency'
            when 'entry_transfer' then 'an entry needs its transfer'
            when 'entry_balance' then 'debits and credits differ'
            else 'its entries are not what it says'
        end
        using errcode = 'check_violation', constraint = bad.refused_by, table = 'entry';
end
$$;

-- Refunds need their payment, and in none of their components may they exceed it. The payments' rows are locked first, so
-- that transactions that refund one payment at once count each other's refunds.
create or replace function transfer_refund_ceiling() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    if not exists (select from new_transfer where kind = 'refund') then
        return null;
    end if;

    -- By payment (lateral), each through its index: by the statistics of a ledger with few refunds, reading all of them
    -- would look cheaper.
    execute $sql$
        select 1
        from (
            select distinct merchant_id, payment_id from new_transfer where kind = 'refund'
            order by merchant_id, payment_id
        ) r
        cross join lateral (
            select from transfer t
            where t.merchant_id = r.merchant_id and t.payment_id = r.payment_id and t.kind = 'payment'
            for no key update
        ) locked
    $sql$;

    execute $sql$
        select r.payment_id
        from (select distinct merchant_id, payment_id from new_transfer where kind = 'refund') r
        left join lateral (
            select t.currency, coalesce(t.components, components_of(t)) as components
            from transfer t
            where t.merchant_id = r.merchant_id and t.payment_id = r.payment_id and t.kind = 'payment'
            limit 1
        ) p on true
        where p.currency is null or exists (
            select
            from transfer t cross join lateral jsonb_each(coalesce(t.components, components_of(t))) c
            where t.merchant_id = r.merchant_id and t.payment_id = r.payment_id and t.kind = 'refund'
            group by c.key
            having sum(c.value::bigint) > coalesce((p.components -> c.key)::bigint, 0)
                or bool_or(t.currency <> p.currency)
        )
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'payment %: refunds exceed it', bad
            using errcode = 'check_violation', constraint = 'transfer_refund_ceiling', table = 'transfer';
    end if;
    return null;
end
$$;

-- A batch's transfer moves what the batch owes.
create or replace function transfer_batch_net() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    if not exists (select from new_transfer where kind = 'batch') then
        return null;
    end if;

    execute $sql$
        select n.batch_id
        from new_transfer n
        left join lateral (
            select b.currency, b.net_minor from batch b
            where b.merchant_id = n.merchant_id and b.batch_id = n.batch_id
            limit 1
        ) b on true
        where n.kind = 'batch'
          and (b.currency, b.net_minor) is distinct from (n.currency, (n.components -> 'net')::bigint)
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'batch %: its transfer moves another amount than it owes', bad
            using errcode = 'check_violation', constraint = 'transfer_batch_net', table = 'transfer';
    end if;
    return null;
end
$$;

-- Only what waits for a batch does, at its time.
create or replace function batch_item_transfer() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    execute $sql$
        select n.transfer_id
        from new_item n
        left join transfer t on t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id
        left join transfer_kind k on k.transfer_kind = t.kind
        where k.waits_for_batch is distinct from true or t.currency <> n.currency or t.occur_time <> n.occur_time
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'transfer %: it cannot wait for a batch so', bad
            using errcode = 'check_violation', constraint = 'batch_item_transfer', table = 'batch_item';
    end if;
    return null;
end
$$;

-- What a batch is made of: how many transfers of a kind have a component, and its sum. They follow from what the batch
-- takes and are made with it, whichever build closes it.
create table batch_line (
    merchant_id    uuid    not null,
    batch_id       uuid    not null,
    transfer_kind  text    not null,
    component      text    not null,
    transfer_count bigint  not null check (transfer_count > 0),
    amount_minor   numeric not null,
    primary key (merchant_id, batch_id, transfer_kind, component),
    foreign key (merchant_id, batch_id) references batch,
    foreign key (transfer_kind, component) references component_kind
);

create function batch_lines_of(of_merchant uuid, of_batch uuid)
returns table (transfer_kind text, component text, transfer_count bigint, amount_minor numeric)
language sql stable as $$
    select t.kind, c.key, count(*), sum(c.value::bigint)
    from batch_item i
    join transfer t using (merchant_id, transfer_id)
    cross join lateral jsonb_each(coalesce(t.components, components_of(t))) c
    where i.merchant_id = of_merchant and i.batch_id = of_batch
    group by t.kind, c.key
$$;

insert into batch_line
select b.merchant_id, b.batch_id, l.*
from batch b cross join lateral batch_lines_of(b.merchant_id, b.batch_id) l;

create function batch_insert_lines() returns trigger language plpgsql as $$
begin
    insert into batch_line
    select n.merchant_id, n.batch_id, l.*
    from new_batch n cross join lateral batch_lines_of(n.merchant_id, n.batch_id) l;
    return null;
end
$$;

create trigger batch_lines after insert on batch referencing new table as new_batch
    for each statement execute function batch_insert_lines();

create trigger batch_line_append_only before update or delete or truncate on batch_line
    for each statement execute function forbid_update();
create trigger batch_line_follows before insert on batch_line
    for each statement when (pg_trigger_depth() = 0) execute function forbid_update();

-- A batch's sums are those of the movements that it takes, and its net amount is what they bring to the merchant by the
-- rules; whoever takes more into a batch breaks them. This also keeps a build of the version before from closing a batch
-- that takes what it can't count.
create or replace function batch_sums() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    execute $sql$
        select b.batch_id
        from (select distinct merchant_id, batch_id from new_item where batch_id is not null) n
        join batch b using (merchant_id, batch_id)
        cross join lateral (
            select count(*) filter (where t.kind = 'payment') as payment_count,
                   count(*) filter (where t.kind = 'refund') as refund_count,
                   bool_or(t.currency is distinct from b.currency or i.occur_time >= b.cut_off_time) as astray
            from batch_item i left join transfer t using (merchant_id, transfer_id)
            where i.merchant_id = b.merchant_id and i.batch_id = b.batch_id
        ) i
        cross join lateral (
            select coalesce(sum(amount) filter (where l.kind = 'payment' and l.component = 'received'), 0) as gross,
                   coalesce(sum(amount) filter (where l.kind = 'refund' and l.component = 'received'), 0) as refunds,
                   coalesce(sum(amount) filter (where l.kind = 'payment' and l.component = 'fee'), 0) as fees,
                   coalesce(sum(amount) filter (where l.kind = 'refund' and l.component = 'fee'), 0) as fees_returned,
                   coalesce(sum(amount) filter (where l.kind = 'hold'), 0) as held,
                   coalesce(sum(amount) filter (where l.kind = 'release'), 0) as released,
                   coalesce(sum(case r.direction when 'credit' then amount when 'debit' then -amount else 0 end), 0)
                       as net,
                   bool_or((k.amount_minor, k.transfer_count) is distinct from (l.amount, l.transfers))
                       and bool_or(k.component is not null) as is_other
            from (
                select l.transfer_kind as kind, l.component, l.transfer_count as transfers, l.amount_minor as amount
                from batch_lines_of(b.merchant_id, b.batch_id) l
            ) l
            left join posting_rule r
                on r.transfer_kind = l.kind and r.component = l.component and r.account_kind = 'merchant_payable'
            left join batch_line k
                on k.merchant_id = b.merchant_id and k.batch_id = b.batch_id and k.transfer_kind = l.kind
                and k.component = l.component
        ) s
        where i.astray or s.is_other or s.net is distinct from b.net_minor
           or (i.payment_count, i.refund_count, s.gross, s.refunds, s.fees, s.fees_returned, s.held, s.released)
              is distinct from (b.payment_count, b.refund_count, b.gross_minor, b.refunds_minor, b.fees_minor,
                                b.fees_returned_minor, b.held_minor, b.released_minor)
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'batch %: its sums are not those of what it takes', bad
            using errcode = 'check_violation', constraint = 'batch_sums', table = 'batch_item';
    end if;
    return null;
end
$$;

alter table batch
    -- What kinds bring that have no sum of their own: their lines tell.
    add column other_minor bigint not null default 0,
    drop constraint batch_not_empty,
    add constraint batch_not_empty check (
        payment_count + refund_count > 0 or held_minor > 0 or released_minor > 0 or other_minor <> 0
    ) not valid,
    drop constraint batch_adds_up,
    add constraint batch_adds_up check (
        net_minor = gross_minor - refunds_minor - fees_minor + fees_returned_minor - held_minor + released_minor
                    + other_minor
    ) not valid;

-- What transactions under way have touched, in the words of the field. The table of the version before stays, empty, because
-- that version's rights name it; a later release drops it.
create unlogged table posting_check_queue (
    transaction_id xid8 not null default pg_current_xact_id(),
    merchant_ids   uuid[] not null,
    -- Transfers or batches that were inserted;
    transfer_ids   uuid[],
    batch_ids      uuid[],
    -- or accounts, with what entries brought to them, less what was added to their sums.
    account_ids    uuid[],
    debits_minor   numeric[],
    credits_minor  numeric[]
);

create index posting_check_queue_transaction on posting_check_queue (transaction_id);

create trigger posting_check_queue_stays before update or delete or truncate on posting_check_queue
    for each statement when (pg_trigger_depth() = 0) execute function forbid_update();

drop trigger prove on unproven;
drop function prove();

alter function note_transfers() rename to queue_transfers;
alter function note_batches() rename to queue_batches;
alter function note_entries() rename to queue_entries;
alter function note_sums() rename to queue_sums;

create or replace function queue_transfers() returns trigger language plpgsql as $$
begin
    insert into posting_check_queue (merchant_ids, transfer_ids)
    select array_agg(merchant_id), array_agg(transfer_id) from new_transfer having count(*) > 0;
    return null;
end
$$;

create or replace function queue_batches() returns trigger language plpgsql as $$
begin
    insert into posting_check_queue (merchant_ids, batch_ids)
    select array_agg(merchant_id), array_agg(batch_id) from new_batch having count(*) > 0;
    return null;
end
$$;

create or replace function queue_entries() returns trigger language plpgsql as $$
begin
    insert into posting_check_queue (merchant_ids, account_ids, debits_minor, credits_minor)
    select array_agg(merchant_id), array_agg(account_id), array_agg(debits), array_agg(credits)
    from (
        select merchant_id, account_id,
               coalesce(sum(amount_minor) filter (where direction = 'debit'), 0) as debits,
               coalesce(sum(amount_minor) filter (where direction = 'credit'), 0) as credits
        from new_entry group by merchant_id, account_id
    ) e
    having count(*) > 0;
    return null;
end
$$;

create or replace function queue_sums() returns trigger language plpgsql as $$
begin
    insert into posting_check_queue (merchant_ids, account_ids, debits_minor, credits_minor)
    select array_agg(merchant_id), array_agg(account_id), array_agg(o.debits_minor - n.debits_minor),
           array_agg(o.credits_minor - n.credits_minor)
    from new_account n join old_account o using (merchant_id, account_id)
    where (o.debits_minor, o.credits_minor) <> (n.debits_minor, n.credits_minor)
    having count(*) > 0;
    return null;
end
$$;

-- Looks at all that the transaction queued and removes it: called again for each row, it finds none.
create function check_postings() returns trigger language plpgsql as $$
declare
    bad record;
begin
    if not exists (select from posting_check_queue where transaction_id = pg_current_xact_id()) then
        return null;
    end if;

    execute $sql$
        with queued as (
            delete from posting_check_queue where transaction_id = pg_current_xact_id() returning *
        ), transfers as (
            select u.*
            from queued cross join lateral unnest(merchant_ids, transfer_ids) as u (merchant_id, transfer_id)
            where transfer_ids is not null
        ), batches as (
            select u.* from queued cross join lateral unnest(merchant_ids, batch_ids) as u (merchant_id, batch_id)
            where batch_ids is not null
        )
        (
            select 'unproven_account' as refused_by, u.account_id as id
            from queued
            cross join lateral unnest(merchant_ids, account_ids, debits_minor, credits_minor)
                as u (merchant_id, account_id, debits, credits)
            where account_ids is not null
            group by u.merchant_id, u.account_id
            having sum(u.debits) <> 0 or sum(u.credits) <> 0
        )
        union all
        (
            -- What a coupon paid whole has no entries.
            select 'unproven_transfer', n.transfer_id
            from transfers n
            where not exists (
                select from entry e where e.merchant_id = n.merchant_id and e.transfer_id = n.transfer_id
            ) and exists (
                select
                from transfer t
                cross join lateral jsonb_each(t.components) c
                join posting_rule r on r.transfer_kind = t.kind and r.component = c.key
                where t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id
            )
        )
        union all
        (
            select 'unproven_item', n.transfer_id
            from transfers n
            where not exists (
                select from batch_item i where i.merchant_id = n.merchant_id and i.transfer_id = n.transfer_id
            ) and exists (
                select from transfer t join transfer_kind k on k.transfer_kind = t.kind
                where t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id and k.waits_for_batch
            )
        )
        union all
        (
            select 'unproven_batch', n.batch_id
            from batches n
            join batch b on b.merchant_id = n.merchant_id and b.batch_id = n.batch_id and b.net_minor <> 0
            where not exists (
                select from transfer t
                where t.batch_id = n.batch_id and t.merchant_id = n.merchant_id and t.kind = 'batch'
            )
        )
        limit 1
    $sql$ into bad;
    if bad.id is not null then
        raise exception '%',
            case bad.refused_by
                when 'unproven_account' then format('account %s: its sums are not those of its entries', bad.id)
                when 'unproven_transfer' then format('transfer %s: it has no entries', bad.id)
                when 'unproven_item' then format('transfer %s: it waits for no batch', bad.id)
                else format('batch %s: what it owes is not moved', bad.id)
            end
            using errcode = 'check_violation', constraint = bad.refused_by;
    end if;
    return null;
end
$$;

create constraint trigger check_postings after insert on posting_check_queue deferrable initially deferred
    for each row execute function check_postings();

-- When the day of a channel's statements begins, and by which clock. A channel without a row: at midnight in UTC.
create table channel_calendar (
    channel       text primary key,
    -- By its name in the tz database.
    time_zone     text not null,
    cut_over_time time not null default '00:00'
);

-- Alipay's times are Beijing time; its days are those of the calendar.
insert into channel_calendar (channel, time_zone) values ('alipay', 'Asia/Shanghai');

-- Which channels there are is said where there are adapters for them.
alter table fee_schedule drop constraint fee_schedule_channel_check;
alter table account drop constraint account_channel_check;
alter table transfer drop constraint transfer_channel_check;

-- What the channel pays out, and why a line can't be read.
alter table bill_line
    add column received_minor bigint,
    add column problem        text,
    drop constraint bill_line_kind_check,
    add constraint bill_line_kind_check check (kind in ('payment', 'refund', 'unreadable')) not valid;

alter table reconciliation_break
    add column ledger_received_minor bigint,
    add column bill_received_minor   bigint,
    add column problem               text,
    drop constraint reconciliation_break_kind_check,
    add constraint reconciliation_break_kind_check check (
        kind in ('missing_in_ledger', 'missing_in_bill', 'amount', 'received', 'fee', 'unreadable')
    ) not valid,
    drop constraint reconciliation_break_sides,
    add constraint reconciliation_break_sides check (
        num_nulls(ledger_currency, ledger_amount_minor, ledger_fee_minor)
            = case when kind in ('missing_in_ledger', 'unreadable') then 3 else 0 end
        and num_nulls(bill_currency, bill_amount_minor, bill_fee_minor)
            = case when kind in ('missing_in_bill', 'unreadable') then 3 else 0 end
        and (problem is not null) = (kind = 'unreadable')
    ) not valid;
