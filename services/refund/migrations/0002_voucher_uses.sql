-- What a refund takes of an order's vouchers is set aside in the order service before the refund can move money.
alter table refund
    -- While the order service has not confirmed that it set the uses aside: when it may be asked (again). None when it has,
    -- when there is nothing to set aside, and for what was created before uses were set aside.
    add column reserve_time     timestamptz,
    -- Whether the refund takes all that was left of its order.
    add column takes_everything boolean not null default false,
    -- Why units that were used are refunded all the same; empty when they are not to be.
    add column force_reason     text    not null default '' check (char_length(force_reason) <= 256);

-- What the worker looks for: those that await approval. One that is being executed has its `next_try_time`.
create index refund_unreserved on refund (reserve_time) where state = 'pending_approval' and reserve_time is not null;
