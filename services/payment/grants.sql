-- What the service may do with its tables. It deletes nothing; accounts and alarms stay as they are.
grant select, insert on channel_account, payment, attempt, payment_refund, alarm to :role;
grant update on payment, attempt, payment_refund to :role;
