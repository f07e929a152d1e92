-- What SQL typed by hand could still do to the ledger, refused:
--   * entries are what their transfer says, no others and none too few (entry_facts, unproven_transfer),
--   * an account's sums are those of its entries (unproven_account),
--   * what moved waits for its batch, and only that (unproven_item, batch_item_transfer),
--   * what a batch owes is moved to be paid out (transfer_batch_net, unproven_batch),
--   * a comparison that was made stays as it was made (reconciliation_…stays).
--
-- What one statement can show is checked when it ends. What takes several is checked when the transaction commits: each
-- leaves a note of what it touched, and a deferred trigger on the notes looks at all of them at once. A deferred trigger
-- on the rows themselves would be called once for each, thousands of times per commit.
--
-- Services of the versions before write all of this in one transaction, so they go on.

-- Entries come in statements that hold all of their transfer, and they follow from it: each account's side and amount.
-- So nothing can be added later either: the same entries are there, and others are wrong.
create or replace function entry_balance() returns trigger language plpgsql as $$
declare
    bad record;
begin
    execute $sql$
        select e.transfer_id,
               case when e.no_account then 'entry_account'
                    when t.transfer_id is null then 'entry_transfer'
                    when e.difference <> 0 then 'entry_balance'
                    else 'entry_facts'
               end as refused_by
        from (
            select n.merchant_id, n.transfer_id,
                   bool_or(a.currency is distinct from n.currency) as no_account,
                   min(a.currency) as currency, max(a.currency) as last_currency,
                   min(nullif(a.channel, '')) as channel, max(nullif(a.channel, '')) as last_channel,
                   sum(s.debit) as difference,
                   coalesce(sum(s.debit) filter (where a.kind = 'channel_receivable'), 0) as receivable,
                   coalesce(sum(s.debit) filter (where a.kind = 'channel_cost'), 0) as cost,
                   coalesce(sum(s.debit) filter (where a.kind = 'merchant_payable'), 0) as payable,
                   coalesce(sum(s.debit) filter (where a.kind = 'fee_income'), 0) as income,
                   coalesce(sum(s.debit) filter (where a.kind = 'payout_payable'), 0) as payout,
                   coalesce(sum(s.debit) filter (where a.kind = 'suspense'), 0) as suspense
            from new_entry n
            cross join lateral (
                select case n.direction when 'debit' then n.amount_minor else -n.amount_minor end as debit
            ) s
            left join account a on a.merchant_id = n.merchant_id and a.account_id = n.account_id
            group by n.merchant_id, n.transfer_id
        ) e
        left join transfer t on t.merchant_id = e.merchant_id and t.transfer_id = e.transfer_id
        left join lateral (
            select b.net_minor from batch b
            where t.kind = 'batch' and b.merchant_id = t.merchant_id and b.batch_id = t.batch_id
            limit 1
        ) b on true
        cross join lateral (
            -- How often what moves is owed to the merchant, and how often it goes into suspense.
            select case t.kind when 'payment' then 1 when 'refund' then -1 else 0 end as taken,
                   case t.kind when 'hold' then 1 when 'release' then -1 else 0 end as held,
                   coalesce(b.net_minor, 0) as settled
        ) k
        where e.no_account or t.transfer_id is null or e.difference <> 0
           or (e.currency, e.last_currency) is distinct from (t.currency, t.currency)
           or e.channel <> e.last_channel or (e.channel is not null and e.channel is distinct from t.channel)
           or e.receivable <> k.taken * (t.gross_minor - t.channel_fee_minor)
           or e.cost <> k.taken * t.channel_fee_minor
           or e.income <> -k.taken * t.fee_minor
           or e.payable <> k.held * t.gross_minor - k.taken * (t.gross_minor - t.fee_minor) + k.settled
           or e.payout <> -k.settled
           or e.suspense <> -k.held * t.gross_minor
        limit 1
    $sql$ into bad;
    if bad.transfer_id is not null then
        raise exception 'transfer %: %', bad.transfer_id,
            case bad.refused_by
                when 'entry_account' then 'an entry needs an account of its currency'
                when 'entry_transfer' then 'an entry needs its transfer'
                when 'entry_balance' then 'debits and credits differ'
                else 'its entries are not what it says'
            end
            using errcode = 'check_violation', constraint = bad.refused_by, table = 'entry';
    end if;
    return null;
end
$$;

-- A batch's transfer moves what the batch owes.
create function transfer_batch_net() returns trigger language plpgsql as $$
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
            select b.currency, abs(b.net_minor) as amount from batch b
            where b.merchant_id = n.merchant_id and b.batch_id = n.batch_id
            limit 1
        ) b on true
        where n.kind = 'batch' and (b.currency, b.amount) is distinct from (n.currency, n.gross_minor)
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'batch %: its transfer moves another amount than it owes', bad
            using errcode = 'check_violation', constraint = 'transfer_batch_net', table = 'transfer';
    end if;
    return null;
end
$$;

create trigger transfer_batch_net after insert on transfer referencing new table as new_transfer
    for each statement execute function transfer_batch_net();

-- Only what moved waits for a batch, at its time.
create function batch_item_transfer() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    execute $sql$
        select n.transfer_id
        from new_item n
        left join transfer t on t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id
        where t.kind is null or t.kind = 'batch' or t.currency <> n.currency or t.occur_time <> n.occur_time
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'transfer %: it cannot wait for a batch so', bad
            using errcode = 'check_violation', constraint = 'batch_item_transfer', table = 'batch_item';
    end if;
    return null;
end
$$;

create trigger batch_item_transfer after insert on batch_item referencing new table as new_item
    for each statement execute function batch_item_transfer();

-- Notes of what transactions under way have touched. Each is gone before its transaction ends, so nobody ever sees any
-- but their own, and nothing is lost when the server fails (unlogged).
create unlogged table unproven (
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

create index unproven_transaction on unproven (transaction_id);

create trigger unproven_stays before update or delete or truncate on unproven
    for each statement when (pg_trigger_depth() = 0) execute function refuse_change();

create function note_transfers() returns trigger language plpgsql as $$
begin
    insert into unproven (merchant_ids, transfer_ids)
    select array_agg(merchant_id), array_agg(transfer_id) from new_transfer having count(*) > 0;
    return null;
end
$$;

create trigger transfer_note after insert on transfer referencing new table as new_transfer
    for each statement execute function note_transfers();

create function note_batches() returns trigger language plpgsql as $$
begin
    insert into unproven (merchant_ids, batch_ids)
    select array_agg(merchant_id), array_agg(batch_id) from new_batch having count(*) > 0;
    return null;
end
$$;

create trigger batch_note after insert on batch referencing new table as new_batch
    for each statement execute function note_batches();

create function note_entries() returns trigger language plpgsql as $$
begin
    insert into unproven (merchant_ids, account_ids, debits_minor, credits_minor)
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

create trigger entry_note after insert on entry referencing new table as new_entry
    for each statement execute function note_entries();

create function note_sums() returns trigger language plpgsql as $$
begin
    insert into unproven (merchant_ids, account_ids, debits_minor, credits_minor)
    select array_agg(merchant_id), array_agg(account_id), array_agg(o.debits_minor - n.debits_minor),
           array_agg(o.credits_minor - n.credits_minor)
    from new_account n join old_account o using (merchant_id, account_id)
    where (o.debits_minor, o.credits_minor) <> (n.debits_minor, n.credits_minor)
    having count(*) > 0;
    return null;
end
$$;

create trigger account_note after update on account
    referencing old table as old_account new table as new_account
    for each statement execute function note_sums();

create function refuse_full_account() returns trigger language plpgsql as $$
begin
    raise exception 'account %: it begins with nothing on it', new.account_id
        using errcode = 'check_violation', constraint = 'account_begins_empty', table = 'account';
end
$$;

create trigger account_begins_empty before insert on account
    for each row when (new.debits_minor <> 0 or new.credits_minor <> 0) execute function refuse_full_account();

-- Looks at all notes of the transaction and removes them: called again for each of them, it finds none.
create function prove() returns trigger language plpgsql as $$
declare
    bad record;
begin
    if not exists (select from unproven where transaction_id = pg_current_xact_id()) then
        return null;
    end if;

    execute $sql$
        with note as (
            delete from unproven where transaction_id = pg_current_xact_id() returning *
        ), transfers as (
            select u.* from note cross join lateral unnest(merchant_ids, transfer_ids) as u (merchant_id, transfer_id)
            where transfer_ids is not null
        ), batches as (
            select u.* from note cross join lateral unnest(merchant_ids, batch_ids) as u (merchant_id, batch_id)
            where batch_ids is not null
        )
        (
            select 'unproven_account' as refused_by, u.account_id as id
            from note
            cross join lateral unnest(merchant_ids, account_ids, debits_minor, credits_minor)
                as u (merchant_id, account_id, debits, credits)
            where account_ids is not null
            group by u.merchant_id, u.account_id
            having sum(u.debits) <> 0 or sum(u.credits) <> 0
        )
        union all
        (
            select 'unproven_transfer', n.transfer_id
            from transfers n
            where not exists (
                select from entry e where e.merchant_id = n.merchant_id and e.transfer_id = n.transfer_id
            )
        )
        union all
        (
            select 'unproven_item', n.transfer_id
            from transfers n
            where not exists (
                select from batch_item i where i.merchant_id = n.merchant_id and i.transfer_id = n.transfer_id
            ) and exists (
                select from transfer t
                where t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id and t.kind <> 'batch'
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

create constraint trigger prove after insert on unproven deferrable initially deferred
    for each row execute function prove();

-- A comparison that was made, and what it found, stay as they are.
create trigger reconciliation_stays before update or delete on reconciliation
    for each row when (old.state = 'done') execute function refuse_change();
create trigger reconciliation_break_stays before update on reconciliation_break
    for each row execute function refuse_change();
create trigger reconciliation_break_remains before delete on reconciliation_break
    for each row execute function refuse_change();
