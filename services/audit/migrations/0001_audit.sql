-- Audits of everything that came to their end.
create table money_audit (
    money_audit_id uuid        primary key,
    end_time       timestamptz not null,
    -- What disagreed, by kind: as many kinds as counts.
    kinds          text[]      not null,
    disagreements  bigint[]    not null,
    constraint money_audit_kinds check (cardinality(kinds) = cardinality(disagreements))
);

create index money_audit_end on money_audit (end_time);
