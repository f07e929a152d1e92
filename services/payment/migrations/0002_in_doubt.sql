-- Attempts whose outcome is not known are counted every few seconds. Few of those that are open are: without this every
-- open one is visited.
create index attempt_in_doubt on attempt (create_time) where next_query_time is not null and in_doubt;
