-- What the service may do with its tables. It deletes nothing; lines, refunds and redemptions stay as they are.
grant select, insert on
    promotion, orders, order_line, held_payment, order_refund, voucher, redemption, late_money_policy,
    voucher_reservation, voucher_reservation_use, voucher_void to :role;
grant update on promotion, orders, held_payment, voucher, voucher_reservation to :role;
