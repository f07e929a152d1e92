-- What the service may do with its tables. It deletes nothing.
grant select, insert, update on merchant, api_key to :role;
