-- Uses of vouchers are set aside for a refund before its money moves, so that no use is both redeemed and refunded.

alter table voucher
    -- Set aside for refunds that have not ended.
    add column reserved integer not null default 0 check (reserved >= 0),
    drop constraint voucher_not_overused,
    -- Holds for builds before this one as well, whose redemptions do not know of the column: they fail on it.
    add constraint voucher_not_overused check (redeemed + reserved + voided <= uses);

-- What of a voucher was reserved right after a redemption, so that a repeated call is answered alike.
alter table redemption add column reserved_after integer not null default 0;

-- What a refund takes of its order's vouchers. A refund that ended before it took anything has a row as well: what it asks
-- for late comes to nothing.
create table voucher_reservation (
    merchant_id  uuid        not null,
    refund_id    uuid        not null,
    order_id     uuid        not null,
    state        text        not null check (state in ('reserved', 'released', 'taken_back')),
    -- Of the request, so that a repeated one is told from another; none when there was no request.
    fingerprint  bytea,
    -- Why units were refunded that had been used.
    force_reason text        check (char_length(force_reason) between 1 and 256),
    create_time  timestamptz not null,
    end_time     timestamptz,
    primary key (merchant_id, refund_id),
    foreign key (merchant_id, order_id) references orders,
    check ((state = 'reserved') = (end_time is null))
);

create index voucher_reservation_by_order on voucher_reservation (merchant_id, order_id);

create table voucher_reservation_use (
    merchant_id uuid    not null,
    refund_id   uuid    not null,
    voucher_id  uuid    not null,
    -- Uses that were set aside.
    uses        integer not null check (uses >= 0),
    -- Units that are refunded although they had been used.
    used        integer not null check (used >= 0),
    primary key (merchant_id, refund_id, voucher_id),
    foreign key (merchant_id, refund_id) references voucher_reservation,
    foreign key (merchant_id, voucher_id) references voucher,
    check (uses + used > 0)
);
