-- What the service may do with its tables. It deletes nothing, and what was tried stays as it was.
grant select, insert on webhook_endpoint, delivery, delivery_attempt, delivery_replay to :role;
grant update on webhook_endpoint, delivery to :role;
