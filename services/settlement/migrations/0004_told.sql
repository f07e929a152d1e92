-- What is told to those who watch: how the last comparisons and audits ended, whichever replica made them.

-- The channel whose bill was compared; none in rows that are older than this column.
alter table reconciliation add column channel text;

create index reconciliation_done on reconciliation (bill_date) where state = 'done';

-- Audits of all merchants that came to their end.
create table money_audit (
    money_audit_id uuid        primary key,
    end_time       timestamptz not null,
    -- What disagreed, by kind: as many kinds as counts.
    kinds          text[]      not null,
    disagreements  bigint[]    not null,
    constraint money_audit_kinds check (cardinality(kinds) = cardinality(disagreements))
);

create index money_audit_end on money_audit (end_time);
