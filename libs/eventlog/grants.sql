-- What a service may do with its log, its cursors and the events it set aside.
grant select, insert on event_log, event_cursor, event_set_aside, event_consumer, event_removed to :role;
grant update on event_cursor, event_set_aside, event_consumer, event_removed to :role;
-- An event is never changed. Retention removes old ones that every consumer has applied.
grant delete on event_log, event_set_aside, event_consumer to :role;
