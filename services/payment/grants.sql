-- What the service may do with its tables. It deletes nothing; alerts stay as they are, and of an account only its state
-- changes.
grant select, insert on channel, channel_account, channel_credential, payment, attempt, payment_refund, attempt_decision,
    alarm to :role;
grant update on payment, attempt, payment_refund, attempt_decision to :role;
grant update (state) on channel_account to :role;
-- Locks take the right to change a row.
grant update on channel_credential to :role;
