-- The ledger, and what is made from it: batches, statements, reconciliations.
--
-- What must always hold is held here and not only by the service, so that it also holds for SQL typed by hand:
--   * every statement that writes entries writes balanced transfers (entry_balance),
--   * postings are never changed or removed (…_append_only),
--   * refunds and what they give back never exceed their payment (transfer_refund_ceiling),
--   * a transfer is in one batch at most (batch_item's key and batch_item_taken_once).
-- Checks over many rows are triggers per statement with transition tables: a posting writes thousands of rows at
-- once, and a foreign key from entry to account would lock the hottest rows of all once per entry.

-- What merchants pay and channels cost. Append-only: the newest row of a merchant and channel is in force.
create table fee_schedule (
    merchant_id     uuid          not null,
    channel         text          not null check (channel in ('alipay')),
    version         bigint        generated always as identity,
    rate            numeric(9, 8) not null check (rate between 0 and 1),
    channel_rate    numeric(9, 8) not null check (channel_rate between 0 and 1),
    create_time     timestamptz   not null,
    idempotency_key text          not null,
    fingerprint     bytea         not null,
    primary key (merchant_id, channel, version),
    constraint fee_schedule_idempotency unique (merchant_id, idempotency_key)
);

-- Ledger accounts. A balance is two sums, of all debits and of all credits. They are kept by the posting, in one update
-- per account and batch of postings, so that the sums stay cheap to read; CheckLedger compares them with the entries.
-- No sign is demanded: a merchant's refunds may outweigh the payments.
create table account (
    merchant_id   uuid   not null,
    account_id    uuid   not null,
    kind          text   not null check (kind in ('channel_receivable', 'merchant_payable', 'payout_payable',
                                                  'fee_income', 'channel_cost')),
    -- Empty for the kinds that stand for no channel.
    channel       text   not null check (channel in ('', 'alipay')),
    currency      text   not null check (currency ~ '^[A-Z]{3}$'),
    debits_minor  bigint not null default 0 check (debits_minor >= 0),
    credits_minor bigint not null default 0 check (credits_minor >= 0),
    primary key (merchant_id, account_id),
    constraint account_identity unique (merchant_id, kind, channel, currency),
    constraint account_channel check ((channel <> '') = (kind in ('channel_receivable', 'channel_cost')))
);

-- Postings: why money moved.
create table transfer (
    merchant_id          uuid        not null,
    transfer_id          uuid        not null,
    kind                 text        not null check (kind in ('payment', 'refund', 'batch')),
    currency             text        not null check (currency ~ '^[A-Z]{3}$'),
    -- What moved: what was paid, refunded, or taken into a batch.
    gross_minor          bigint      not null check (gross_minor > 0),
    -- The merchant's and the channel's fee: charged by a payment, given back by a refund.
    fee_minor            bigint      not null check (fee_minor between 0 and gross_minor),
    channel_fee_minor    bigint      not null check (channel_fee_minor between 0 and gross_minor),
    payment_id           uuid,
    refund_id            uuid,
    batch_id             uuid,
    channel              text        check (channel in ('alipay')),
    channel_account_id   uuid,
    -- The number that the channel was given, an attempt's or a refund's: what a line of its bill is matched by.
    number               text,
    -- The rates in force when the payment was posted.
    fee_rate             numeric(9, 8),
    channel_rate         numeric(9, 8),
    -- The sum of the payment's refunds up to and including this one.
    refunded_total_minor bigint      check (refunded_total_minor >= gross_minor),
    -- By the channel's clock.
    occur_time           timestamptz not null,
    post_time            timestamptz not null,
    -- The event of the payment service that it was posted from.
    event_id             uuid,
    primary key (merchant_id, transfer_id),
    constraint transfer_facts check (
        num_nulls(channel, channel_account_id, number, event_id) = case kind when 'batch' then 4 else 0 end
        and (payment_id is null) = (kind = 'batch')
        and (refund_id is not null) = (kind = 'refund')
        and (batch_id is not null) = (kind = 'batch')
        and num_nulls(fee_rate, channel_rate) = case kind when 'payment' then 0 else 2 end
        and (refunded_total_minor is not null) = (kind = 'refund')
    )
);

-- Only the primary key begins with the merchant. An index that begins with it and is small, or was when the statistics
-- were made, looks cheap to the planner for any search within a merchant, and then reads all that the merchant has.
--
-- Once per event, payment, refund and batch, whatever is delivered twice.
create unique index transfer_event on transfer (event_id, merchant_id);
create unique index transfer_payment on transfer (payment_id, merchant_id) where kind = 'payment';
create unique index transfer_refund on transfer (refund_id, merchant_id) where kind = 'refund';
create unique index transfer_batch on transfer (batch_id, merchant_id) where kind = 'batch';
-- A payment's refunds, each of which ends at its own total.
create unique index transfer_refunds_of_payment on transfer (payment_id, merchant_id, refunded_total_minor)
    where kind = 'refund';
-- A channel account's day, for reconciliation.
create index transfer_channel_account_time on transfer (channel_account_id, merchant_id, occur_time);

-- The sides of a transfer. An account is on one side of a transfer at most.
create table entry (
    merchant_id  uuid   not null,
    transfer_id  uuid   not null,
    account_id   uuid   not null,
    direction    text   not null check (direction in ('debit', 'credit')),
    amount_minor bigint not null check (amount_minor > 0),
    currency     text   not null,
    primary key (merchant_id, transfer_id, account_id)
);

-- What a batch owes a merchant.
create table batch (
    merchant_id         uuid        not null,
    batch_id            uuid        not null,
    currency            text        not null check (currency ~ '^[A-Z]{3}$'),
    cut_off_time        timestamptz not null,
    payment_count       bigint      not null check (payment_count >= 0),
    refund_count        bigint      not null check (refund_count >= 0),
    gross_minor         bigint      not null check (gross_minor >= 0),
    refunds_minor       bigint      not null check (refunds_minor >= 0),
    fees_minor          bigint      not null check (fees_minor >= 0),
    fees_returned_minor bigint      not null check (fees_returned_minor >= 0),
    -- Negative when refunds outweigh payments.
    net_minor           bigint      not null,
    close_time          timestamptz not null,
    idempotency_key     text        not null,
    fingerprint         bytea       not null,
    primary key (merchant_id, batch_id),
    constraint batch_idempotency unique (merchant_id, idempotency_key),
    constraint batch_not_empty check (payment_count + refund_count > 0),
    constraint batch_adds_up check (net_minor = gross_minor - refunds_minor - fees_minor + fees_returned_minor)
);

-- Every payment's and refund's transfer, from its posting on, and the batch that took it. The key makes it one batch.
create table batch_item (
    merchant_id uuid        not null,
    transfer_id uuid        not null,
    currency    text        not null,
    occur_time  timestamptz not null,
    -- Null while it waits for its batch.
    batch_id    uuid,
    primary key (merchant_id, transfer_id),
    foreign key (merchant_id, batch_id) references batch
);

-- What waits: stays small, however long the history.
create index batch_item_waiting on batch_item (merchant_id, currency, occur_time) where batch_id is null;
-- A statement, oldest first.
create index batch_item_statement on batch_item (merchant_id, batch_id, occur_time, transfer_id)
    where batch_id is not null;

-- Comparisons of a channel's bill with the ledger. A row is 'reading' while its bill is fetched, which takes more than
-- one transaction; only a 'done' one exists for callers. It takes its idempotency key when it is done, so that a
-- reading that was broken off stands in nobody's way.
create table reconciliation (
    merchant_id        uuid        not null,
    reconciliation_id  uuid        not null,
    channel_account_id uuid        not null,
    bill_date          date        not null,
    state              text        not null check (state in ('reading', 'done')),
    create_time        timestamptz not null,
    bill_lines         bigint,
    matched            bigint,
    break_count        bigint,
    idempotency_key    text,
    fingerprint        bytea,
    primary key (merchant_id, reconciliation_id),
    constraint reconciliation_idempotency unique (merchant_id, idempotency_key),
    constraint reconciliation_result check (
        num_nulls(bill_lines, matched, break_count, idempotency_key, fingerprint)
        = case state when 'done' then 0 else 5 end
    )
);

create index reconciliation_of_day on reconciliation (merchant_id, channel_account_id, bill_date);
create index reconciliation_reading on reconciliation (merchant_id, create_time) where state = 'reading';

-- A channel's bill, as it was read.
create table bill_line (
    merchant_id            uuid   not null,
    reconciliation_id      uuid   not null,
    -- Counted from 1 in the order of the bill.
    line                   bigint not null,
    kind                   text   not null check (kind in ('payment', 'refund')),
    number                 text   not null,
    channel_transaction_id text   not null,
    currency               text   not null,
    amount_minor           bigint not null,
    -- Positive when charged, negative when given back.
    fee_minor              bigint not null,
    finish_time            timestamptz,
    primary key (merchant_id, reconciliation_id, line),
    foreign key (merchant_id, reconciliation_id) references reconciliation on delete cascade
);

-- What could not be explained.
create table reconciliation_break (
    merchant_id         uuid   not null,
    reconciliation_id   uuid   not null,
    -- Counted from 1: the lines of the bill first, in its order, then what the bill has not.
    position            bigint not null,
    kind                text   not null check (kind in ('missing_in_ledger', 'missing_in_bill', 'amount', 'fee')),
    number              text   not null,
    ledger_currency     text,
    ledger_amount_minor bigint,
    ledger_fee_minor    bigint,
    bill_currency       text,
    bill_amount_minor   bigint,
    bill_fee_minor      bigint,
    primary key (merchant_id, reconciliation_id, position),
    foreign key (merchant_id, reconciliation_id) references reconciliation on delete cascade,
    constraint reconciliation_break_sides check (
        num_nulls(ledger_currency, ledger_amount_minor, ledger_fee_minor)
            = case kind when 'missing_in_ledger' then 3 else 0 end
        and num_nulls(bill_currency, bill_amount_minor, bill_fee_minor)
            = case kind when 'missing_in_bill' then 3 else 0 end
    )
);

-- The checks below are planned anew each time (execute): a plan kept by a session that began with an empty ledger would
-- read all of it for every batch until the next ANALYZE.

-- Every statement that inserts entries must bring whole transfers: known ones, on known accounts of the entries'
-- currency, with debits equal to credits per transfer and currency.
create function entry_balance() returns trigger language plpgsql as $$
declare
    bad uuid;
begin
    execute $sql$
        select n.transfer_id
        from new_entry n
        left join account a on a.merchant_id = n.merchant_id and a.account_id = n.account_id
        where a.currency is distinct from n.currency
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'transfer %: an entry needs an account of its currency', bad
            using errcode = 'check_violation', constraint = 'entry_account', table = 'entry';
    end if;

    execute $sql$
        select n.transfer_id
        from (select distinct merchant_id, transfer_id from new_entry) n
        left join transfer t on t.merchant_id = n.merchant_id and t.transfer_id = n.transfer_id
        where t.transfer_id is null
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'transfer %: an entry needs its transfer', bad
            using errcode = 'check_violation', constraint = 'entry_transfer', table = 'entry';
    end if;

    execute $sql$
        select n.transfer_id
        from new_entry n
        group by n.merchant_id, n.transfer_id, n.currency
        having sum(case n.direction when 'debit' then n.amount_minor else -n.amount_minor end) <> 0
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'transfer %: debits and credits differ', bad
            using errcode = 'check_violation', constraint = 'entry_balance', table = 'entry';
    end if;
    return null;
end
$$;

create trigger entry_balance after insert on entry referencing new table as new_entry
    for each statement execute function entry_balance();

-- Refunds need their payment, and neither they nor the fees they give back may exceed it. The payments' rows are locked
-- first, so that transactions that refund one payment at once count each other's refunds.
create function transfer_refund_ceiling() returns trigger language plpgsql as $$
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
            select t.currency, t.gross_minor, t.fee_minor, t.channel_fee_minor
            from transfer t
            where t.merchant_id = r.merchant_id and t.payment_id = r.payment_id and t.kind = 'payment'
            limit 1
        ) p on true
        cross join lateral (
            select sum(t.gross_minor) as gross, sum(t.fee_minor) as fee, sum(t.channel_fee_minor) as channel_fee,
                   bool_or(t.currency is distinct from p.currency) as other_currency
            from transfer t
            where t.merchant_id = r.merchant_id and t.payment_id = r.payment_id and t.kind = 'refund'
        ) refunded
        where p.currency is null or refunded.other_currency or refunded.gross > p.gross_minor
           or refunded.fee > p.fee_minor or refunded.channel_fee > p.channel_fee_minor
        limit 1
    $sql$ into bad;
    if bad is not null then
        raise exception 'payment %: refunds exceed it', bad
            using errcode = 'check_violation', constraint = 'transfer_refund_ceiling', table = 'transfer';
    end if;
    return null;
end
$$;

create trigger transfer_refund_ceiling after insert on transfer referencing new table as new_transfer
    for each statement execute function transfer_refund_ceiling();

-- What was posted stays.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% of % is refused: what was posted is never changed', lower(tg_op), tg_table_name
        using errcode = 'restrict_violation', table = tg_table_name;
end
$$;

create trigger transfer_append_only before update or delete or truncate on transfer
    for each statement execute function refuse_change();
create trigger entry_append_only before update or delete or truncate on entry
    for each statement execute function refuse_change();
create trigger fee_schedule_append_only before update or delete or truncate on fee_schedule
    for each statement execute function refuse_change();
create trigger batch_append_only before update or delete or truncate on batch
    for each statement execute function refuse_change();
-- An account's sums move; the account itself stays what it is.
create trigger account_stays before delete or truncate on account
    for each statement execute function refuse_change();
create trigger account_identity_stays before update of merchant_id, account_id, kind, channel, currency on account
    for each statement execute function refuse_change();
-- A batch takes an item; then the item stays there.
create trigger batch_item_stays before delete or truncate on batch_item
    for each statement execute function refuse_change();
create trigger batch_item_identity_stays before update of merchant_id, transfer_id, currency, occur_time on batch_item
    for each statement execute function refuse_change();
create trigger batch_item_taken_once before update on batch_item
    for each row when (old.batch_id is not null) execute function refuse_change();
