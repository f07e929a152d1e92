-- Money that came when its order could not take it: held in suspense, and released once that is decided.
--
-- Only widens what was: a service of the version before goes on beside this one. A check that is replaced by a wider one
-- is added without reading the rows (not valid): each of them fulfils the narrower one.

alter table account
    drop constraint account_kind_check,
    add constraint account_kind_check check (kind in ('channel_receivable', 'merchant_payable', 'payout_payable',
                                                      'fee_income', 'channel_cost', 'suspense'));

alter table transfer
    drop constraint transfer_kind_check,
    add constraint transfer_kind_check check (kind in ('payment', 'refund', 'batch', 'hold', 'release')) not valid,
    drop constraint transfer_facts,
    add constraint transfer_facts check (
        -- Holds and releases are our own books: the channel never hears of them.
        num_nulls(channel, channel_account_id, number) = case when kind in ('payment', 'refund') then 0 else 3 end
        and (kind in ('payment', 'refund') or fee_minor + channel_fee_minor = 0)
        and (event_id is null) = (kind = 'batch')
        and (payment_id is null) = (kind = 'batch')
        and (refund_id is not null) = (kind = 'refund')
        and (batch_id is not null) = (kind = 'batch')
        and num_nulls(fee_rate, channel_rate) = case kind when 'payment' then 0 else 2 end
        and (refunded_total_minor is not null) = (kind = 'refund')
    ) not valid;

-- A payment is held once and released once.
create unique index transfer_hold on transfer (payment_id, merchant_id) where kind = 'hold';
create unique index transfer_release on transfer (payment_id, merchant_id) where kind = 'release';

alter table batch
    add column held_minor     bigint not null default 0 check (held_minor >= 0),
    add column released_minor bigint not null default 0 check (released_minor >= 0),
    drop constraint batch_not_empty,
    add constraint batch_not_empty check (
        payment_count + refund_count > 0 or held_minor > 0 or released_minor > 0
    ) not valid,
    drop constraint batch_adds_up,
    add constraint batch_adds_up check (
        net_minor = gross_minor - refunds_minor - fees_minor + fees_returned_minor - held_minor + released_minor
    ) not valid;

-- A release gives back what its hold took: all of it, in its currency. Planned anew each time (execute), as the checks
-- before.
create function transfer_release_ceiling() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    if not exists (select from new_transfer where kind = 'release') then
        return null;
    end if;

    execute $sql$
        select r.payment_id
        from new_transfer r
        left join lateral (
            select t.currency, t.gross_minor
            from transfer t
            where t.merchant_id = r.merchant_id and t.payment_id = r.payment_id and t.kind = 'hold'
            limit 1
        ) h on true
        where r.kind = 'release' and (h.currency, h.gross_minor) is distinct from (r.currency, r.gross_minor)
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'payment %: a release needs a hold of its amount', bad
            using errcode = 'check_violation', constraint = 'transfer_release_ceiling', table = 'transfer';
    end if;
    return null;
end
$$;

create trigger transfer_release_ceiling after insert on transfer referencing new table as new_transfer
    for each statement execute function transfer_release_ceiling();

-- A batch's sums are those of the movements that it takes; whoever takes more into a batch breaks them. This also keeps
-- a service of the version before from closing a batch that takes holds without counting them.
create function batch_sums() returns trigger language plpgsql as $$
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
                   coalesce(sum(t.gross_minor) filter (where t.kind = 'payment'), 0) as gross,
                   coalesce(sum(t.gross_minor) filter (where t.kind = 'refund'), 0) as refunds,
                   coalesce(sum(t.fee_minor) filter (where t.kind = 'payment'), 0) as fees,
                   coalesce(sum(t.fee_minor) filter (where t.kind = 'refund'), 0) as fees_returned,
                   coalesce(sum(t.gross_minor) filter (where t.kind = 'hold'), 0) as held,
                   coalesce(sum(t.gross_minor) filter (where t.kind = 'release'), 0) as released,
                   bool_or(t.currency is distinct from b.currency or i.occur_time >= b.cut_off_time) as astray
            from batch_item i left join transfer t using (merchant_id, transfer_id)
            where i.merchant_id = b.merchant_id and i.batch_id = b.batch_id
        ) s
        where s.astray
           or (s.payment_count, s.refund_count, s.gross, s.refunds, s.fees, s.fees_returned, s.held, s.released)
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

create trigger batch_sums after update on batch_item referencing new table as new_item
    for each statement execute function batch_sums();

-- A batch comes with what it takes, in one statement.
create function batch_takes() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    select n.batch_id into bad
    from new_batch n
    where not exists (
        select from batch_item i where i.merchant_id = n.merchant_id and i.batch_id = n.batch_id
    )
    limit 1;
    if bad is not null then
        raise exception 'batch %: it takes nothing', bad
            using errcode = 'check_violation', constraint = 'batch_takes', table = 'batch';
    end if;
    return null;
end
$$;

create trigger batch_takes after insert on batch referencing new table as new_batch
    for each statement execute function batch_takes();

-- What moved waits for its batch first: an item that is born in a batch would escape the comparison of sums.
create function refuse_taken_item() returns trigger language plpgsql as $$
begin
    raise exception 'transfer %: it must wait before a batch takes it', new.transfer_id
        using errcode = 'check_violation', constraint = 'batch_item_waits', table = 'batch_item';
end
$$;

create trigger batch_item_waits before insert on batch_item
    for each row when (new.batch_id is not null) execute function refuse_taken_item();
