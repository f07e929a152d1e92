-- What the service may do with its tables. It deletes nothing; policies and the lines of refunds stay as they are.
grant select, insert on refund_policy, refund_order, refund_order_line, refund, refund_line to :role;
grant update on refund_order, refund_order_line, refund to :role;
