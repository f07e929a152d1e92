-- What the service may do with its tables. What was posted is never changed or deleted: the triggers refuse that to
-- everybody, and this role may not even try.
grant select, insert on
    fee_schedule, account, transfer, entry, batch, batch_item, reconciliation, bill_line, reconciliation_break,
    money_audit, batch_line to :role;
-- What kinds of transfers there are and how they are posted; how channels cut their days. Migrations write it.
grant select on transfer_kind, component_kind, posting_rule, transfer_component, channel_calendar to :role;
-- The sums of an account, the batch that takes an item, the end of a comparison.
grant update on account, batch_item, reconciliation to :role;
-- A comparison that was not finished is dropped, and what it read with it.
grant delete on reconciliation to :role;
-- A refund locks the payment that it must not exceed, which PostgreSQL allows only to who may update some column. The
-- trigger on updates refuses them.
grant update (transfer_id) on transfer to :role;
-- What a transaction has touched, gone before it ends; the second name is that of builds before.
grant select, insert, delete on posting_check_queue, unproven to :role;
-- The audit puts facts side by side in temporary tables.
grant temporary on database :database to :role;
