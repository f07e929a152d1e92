-- What the service may do with its tables: how an audit ended is kept, and never changed.
grant select, insert on money_audit to :role;
-- Facts are put side by side in temporary tables.
grant temporary on database :database to :role;
