INSERT INTO account (merchant_id, account_id, kind, channel, currency, debits_minor, credits_minor) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4aa7-77c3-a248-928e77f915b5', 'payout_payable', '', 'CNY', 0, 70892),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b1a-7503-bafd-fd02535fd6b0', 'suspense', '', 'CNY', 14990, 29980),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'channel_cost', 'alipay', 'CNY', 568, 127),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'channel_receivable', 'alipay', 'CNY', 149032, 33183),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'fee_income', '', 'CNY', 200, 898),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'merchant_payable', '', 'CNY', 133982, 163692);
INSERT INTO batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor, refunds_minor, fees_minor, fees_returned_minor, net_minor, close_time, idempotency_key, fingerprint, held_minor, released_minor) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4aa7-77c3-a248-928d94eb2d25', 'CNY', '2026-12-01 03:29:16.963861+00', 4, 2, 89640, 18320, 538, 110, 70892, '2026-12-01 03:29:16.967031+00', 'evt01m8qtcjn3e6h9jpyx89jfg25k', '\x15148a122a16432e9310240ce5d00855edcb8186352ecaad1fb550bda16d08a4', 0, 0);
INSERT INTO batch_item (merchant_id, transfer_id, currency, occur_time, batch_id) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48eb-7267-a6fc-a8a312fbdf6e', 'CNY', '2026-12-01 03:29:16+00', '01a22fa6-4aa7-77c3-a248-928d94eb2d25'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-495f-73b3-b73d-c5dee17a44f6', 'CNY', '2026-12-01 03:29:16+00', '01a22fa6-4aa7-77c3-a248-928d94eb2d25'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49a7-7282-8bad-0027663aab8f', 'CNY', '2026-12-01 03:29:16+00', '01a22fa6-4aa7-77c3-a248-928d94eb2d25'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49fa-778a-bd1e-5aa034b5d48c', 'CNY', '2026-12-01 03:29:16+00', '01a22fa6-4aa7-77c3-a248-928d94eb2d25'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a4a-76f6-856d-5c808c257999', 'CNY', '2026-12-01 03:29:16+00', '01a22fa6-4aa7-77c3-a248-928d94eb2d25'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a8d-7164-b393-5f95e0465168', 'CNY', '2026-12-01 03:29:16+00', '01a22fa6-4aa7-77c3-a248-928d94eb2d25'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b0c-75e5-93a4-47de0e592b43', 'CNY', '2026-12-01 03:29:17+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b1a-7503-bafd-fd01e908b7a4', 'CNY', '2026-12-01 03:29:17.062963+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c42-75be-86d7-4af75c60c3da', 'CNY', '2026-12-01 03:29:17+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c4d-7553-9f1e-f11893853e43', 'CNY', '2026-12-01 03:29:17.374852+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cab-7386-a4c3-38bc73ecb1e6', 'CNY', '2026-12-01 03:29:17+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cb3-742b-ae2e-5169a5806c2d', 'CNY', '2026-12-01 03:29:17.475965+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cea-7606-a0b7-09ef5b937545', 'CNY', '2026-12-01 03:29:17+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4d31-73f0-8816-ca60b75fa88c', 'CNY', '2026-12-01 03:29:17+00', NULL);
INSERT INTO reconciliation (merchant_id, reconciliation_id, channel_account_id, bill_date, state, create_time, bill_lines, matched, break_count, idempotency_key, fingerprint, channel) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', '01a22fa6-4893-73e3-ad49-285f403a72d6', '2026-12-01', 'done', '2026-12-01 03:29:16.992152+00', 6, 6, 0, 'evt01m8qtcjnfe81retn82ytb061n', '\x8336f84e75c11cb99f6d18be667b42245a2b066132372b52ffd930da008932d1', 'alipay');
INSERT INTO bill_line (merchant_id, reconciliation_id, line, kind, number, channel_transaction_id, currency, amount_minor, fee_minor, finish_time) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', 1, 'payment', 'att01m8qtcj65e6ys0k0f9e80448t', '2026120122001052274200000003', 'CNY', 14990, 57, '2026-12-01 03:29:16+00'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', 2, 'refund', 'ref01m8qtcj9ce8ca8r6x956g2nmt', '2026120122001052274200000003', 'CNY', 3330, -13, '2026-12-01 03:29:16+00'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', 3, 'payment', 'att01m8qtcjbne2pateh3d72h2eb3', '2026120122001052274200000006', 'CNY', 14990, 57, '2026-12-01 03:29:16+00'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', 4, 'refund', 'ref01m8qtcjerenx8852nrp27bstj', '2026120122001052274200000006', 'CNY', 14990, -57, '2026-12-01 03:29:16+00'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', 5, 'payment', 'att01m8qtcjh1evftz7ctx874t49e', '2026120122001052274200000009', 'CNY', 29830, 113, '2026-12-01 03:29:16+00'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4ac0-76e3-ac07-db8c89a6b6f9', 6, 'payment', 'att01m8qtcjkceea8shjknt5j2ahq', '2026120122001052274200000011', 'CNY', 29830, 113, '2026-12-01 03:29:16+00');
INSERT INTO entry (merchant_id, transfer_id, account_id, direction, amount_minor, currency) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48eb-7267-a6fc-a8a312fbdf6e', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48eb-7267-a6fc-a8a312fbdf6e', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48eb-7267-a6fc-a8a312fbdf6e', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48eb-7267-a6fc-a8a312fbdf6e', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-495f-73b3-b73d-c5dee17a44f6', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'debit', 3310, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-495f-73b3-b73d-c5dee17a44f6', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'debit', 20, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-495f-73b3-b73d-c5dee17a44f6', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'credit', 3317, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-495f-73b3-b73d-c5dee17a44f6', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'credit', 13, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49a7-7282-8bad-0027663aab8f', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49a7-7282-8bad-0027663aab8f', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49a7-7282-8bad-0027663aab8f', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49a7-7282-8bad-0027663aab8f', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49fa-778a-bd1e-5aa034b5d48c', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'debit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49fa-778a-bd1e-5aa034b5d48c', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'debit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49fa-778a-bd1e-5aa034b5d48c', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'credit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49fa-778a-bd1e-5aa034b5d48c', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'credit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a4a-76f6-856d-5c808c257999', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 29717, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a4a-76f6-856d-5c808c257999', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 113, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a4a-76f6-856d-5c808c257999', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 29651, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a4a-76f6-856d-5c808c257999', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 179, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a8d-7164-b393-5f95e0465168', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 29717, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a8d-7164-b393-5f95e0465168', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 113, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a8d-7164-b393-5f95e0465168', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 29651, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a8d-7164-b393-5f95e0465168', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 179, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4aaa-7044-98fb-27030d9c7539', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'debit', 70892, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4aaa-7044-98fb-27030d9c7539', '01a22fa6-4aa7-77c3-a248-928e77f915b5', 'credit', 70892, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b0c-75e5-93a4-47de0e592b43', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b0c-75e5-93a4-47de0e592b43', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b0c-75e5-93a4-47de0e592b43', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b0c-75e5-93a4-47de0e592b43', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b1a-7503-bafd-fd01e908b7a4', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'debit', 14990, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b1a-7503-bafd-fd01e908b7a4', '01a22fa6-4b1a-7503-bafd-fd02535fd6b0', 'credit', 14990, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c42-75be-86d7-4af75c60c3da', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'debit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c42-75be-86d7-4af75c60c3da', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'debit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c42-75be-86d7-4af75c60c3da', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'credit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c42-75be-86d7-4af75c60c3da', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'credit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c4d-7553-9f1e-f11893853e43', '01a22fa6-4b1a-7503-bafd-fd02535fd6b0', 'debit', 14990, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c4d-7553-9f1e-f11893853e43', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14990, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cab-7386-a4c3-38bc73ecb1e6', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cab-7386-a4c3-38bc73ecb1e6', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cab-7386-a4c3-38bc73ecb1e6', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cab-7386-a4c3-38bc73ecb1e6', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cb3-742b-ae2e-5169a5806c2d', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'debit', 14990, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cb3-742b-ae2e-5169a5806c2d', '01a22fa6-4b1a-7503-bafd-fd02535fd6b0', 'credit', 14990, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cea-7606-a0b7-09ef5b937545', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cea-7606-a0b7-09ef5b937545', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cea-7606-a0b7-09ef5b937545', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cea-7606-a0b7-09ef5b937545', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 90, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4d31-73f0-8816-ca60b75fa88c', '01a22fa6-48ec-7325-99a6-70e933de5c35', 'debit', 14933, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4d31-73f0-8816-ca60b75fa88c', '01a22fa6-48ec-7325-99a6-70ea8fec9bc9', 'debit', 57, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4d31-73f0-8816-ca60b75fa88c', '01a22fa6-48ec-7325-99a6-70eb1144989b', 'credit', 14900, 'CNY'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4d31-73f0-8816-ca60b75fa88c', '01a22fa6-48ec-7325-99a6-70ecd3a9b27f', 'credit', 90, 'CNY');
INSERT INTO event_consumer (name, tx, seq, seen_time) VALUES
	('notification', 139, 1, '2026-12-01 03:29:17.398134+00');
INSERT INTO event_cursor (source, tx, seq, holder, lease_until) VALUES
	('order', 218, 22, '01a22fa6-4819-72b6-bd5e-8560cb942d94', '2026-12-01 03:29:20.486033+00'),
	('payment', 258, 21, '01a22fa6-4819-72b6-bd5e-855fac960e2a', '2026-12-01 03:29:20.613621+00');
INSERT INTO event_log (seq, tx, event_id, merchant_id, aggregate_id, kind, payload, traceparent, occur_time, append_time) OVERRIDING SYSTEM VALUE VALUES
	(1, '139', '01a22fa6-4aad-72f4-ad9d-0a9272948617', '01a22fa6-4889-7056-b822-c55f938180f5', 'bat_01m8qtcjn7ez1t4j4jhpaepb95', 'batch.closed', '\xc2022b0a1e6261745f30316d387174636a6e37657a3174346a346a687061657062393512090a03434e5910eca904', '', '2026-12-01 03:29:16.967031+00', '2026-12-01 03:29:16.967102+00');
INSERT INTO fee_schedule (merchant_id, channel, version, rate, channel_rate, create_time, idempotency_key, fingerprint) OVERRIDING SYSTEM VALUE VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', 'alipay', 1, 0.00600000, 0.00380000, '2026-12-01 03:29:16.441597+00', 'evt01m8qtcj4ne9btbcxf6q4mv2db', '\x0f0f0808c98aa68f056b0ed305ea304144cfc85f7ddb584f20871afb962dfaa6');
INSERT INTO transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor, payment_id, refund_id, batch_id, channel, channel_account_id, number, fee_rate, channel_rate, refunded_total_minor, occur_time, post_time, event_id) VALUES
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-48eb-7267-a6fc-a8a312fbdf6e', 'payment', 'CNY', 14990, 90, 57, '01a22fa6-48c5-71bd-904c-0f4c8f8edfe2', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtcj65e6ys0k0f9e80448t', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:16+00', '2026-12-01 03:29:16.522871+00', '01a22fa6-48e4-757a-8778-c2bf2cc19de5'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-495f-73b3-b73d-c5dee17a44f6', 'refund', 'CNY', 3330, 20, 13, '01a22fa6-48c5-71bd-904c-0f4c8f8edfe2', '01a22fa6-492c-7218-a460-dd494d01569a', NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'ref01m8qtcj9ce8ca8r6x956g2nmt', NULL, NULL, 3330, '2026-12-01 03:29:16+00', '2026-12-01 03:29:16.638379+00', '01a22fa6-4942-7632-b49f-ecf3e4286e63'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49a7-7282-8bad-0027663aab8f', 'payment', 'CNY', 14990, 90, 57, '01a22fa6-4975-70ac-ad3a-236a6e25134b', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtcjbne2pateh3d72h2eb3', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:16+00', '2026-12-01 03:29:16.710471+00', '01a22fa6-499c-771b-93ad-899959b66140'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-49fa-778a-bd1e-5aa034b5d48c', 'refund', 'CNY', 14990, 90, 57, '01a22fa6-4975-70ac-ad3a-236a6e25134b', '01a22fa6-49d8-757a-8414-55c58475e752', NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'ref01m8qtcjerenx8852nrp27bstj', NULL, NULL, 14990, '2026-12-01 03:29:16+00', '2026-12-01 03:29:16.788702+00', '01a22fa6-49e9-7094-be95-b4ea94854a58'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a4a-76f6-856d-5c808c257999', 'payment', 'CNY', 29830, 179, 113, '01a22fa6-4a21-76df-af9d-9aeb5bfcc145', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtcjh1evftz7ctx874t49e', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:16+00', '2026-12-01 03:29:16.873062+00', '01a22fa6-4a37-702d-a642-92f68d8385ad'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4a8d-7164-b393-5f95e0465168', 'payment', 'CNY', 29830, 179, 113, '01a22fa6-4a6c-7394-8cc6-53afde65f033', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtcjkceea8shjknt5j2ahq', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:16+00', '2026-12-01 03:29:16.939884+00', '01a22fa6-4a82-7711-91fa-52f08da12a9d'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4aaa-7044-98fb-27030d9c7539', 'batch', 'CNY', 70892, 0, 0, NULL, NULL, '01a22fa6-4aa7-77c3-a248-928d94eb2d25', NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-01 03:29:16.967031+00', '2026-12-01 03:29:16.967031+00', NULL),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b0c-75e5-93a4-47de0e592b43', 'payment', 'CNY', 14990, 90, 57, '01a22fa6-4ad4-72f5-a210-3b620fa5114b', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtcjpmebtt441vc55xkfcg', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:17+00', '2026-12-01 03:29:17.068289+00', '01a22fa6-4b03-70a4-b7a7-015d425a7e89'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4b1a-7503-bafd-fd01e908b7a4', 'hold', 'CNY', 14990, 0, 0, '01a22fa6-4ad4-72f5-a210-3b620fa5114b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-01 03:29:17.062963+00', '2026-12-01 03:29:17.08203+00', '01a22fa6-4b0b-7585-ae74-d25ef8dc5bf8'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c42-75be-86d7-4af75c60c3da', 'refund', 'CNY', 14990, 90, 57, '01a22fa6-4ad4-72f5-a210-3b620fa5114b', '01a22fa6-4b22-7541-82ce-76b80a86fb8b', NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'ref01m8qtcjs2en0r5kkpq058dywb', NULL, NULL, 14990, '2026-12-01 03:29:17+00', '2026-12-01 03:29:17.374994+00', '01a22fa6-4c39-71c0-ac5a-bb3d90aeea42'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4c4d-7553-9f1e-f11893853e43', 'release', 'CNY', 14990, 0, 0, '01a22fa6-4ad4-72f5-a210-3b620fa5114b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-01 03:29:17.374852+00', '2026-12-01 03:29:17.389125+00', '01a22fa6-4c45-7151-9826-a0172dceea81'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cab-7386-a4c3-38bc73ecb1e6', 'payment', 'CNY', 14990, 90, 57, '01a22fa6-4c71-74d9-b17b-a52657c98e71', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtck3hekcv2yx54nph087r', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:17+00', '2026-12-01 03:29:17.482181+00', '01a22fa6-4c9f-752f-8e08-a9085c6b5450'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cb3-742b-ae2e-5169a5806c2d', 'hold', 'CNY', 14990, 0, 0, '01a22fa6-4c71-74d9-b17b-a52657c98e71', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-01 03:29:17.475965+00', '2026-12-01 03:29:17.491323+00', '01a22fa6-4ca7-7296-ba82-8a66e9d48952'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4cea-7606-a0b7-09ef5b937545', 'payment', 'CNY', 14990, 90, 57, '01a22fa6-4cd1-7457-a811-389d316303c5', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtck6hehbtg49rkj07qfxn', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:17+00', '2026-12-01 03:29:17.544936+00', '01a22fa6-4ce2-7306-97ab-ad0b1491f930'),
	('01a22fa6-4889-7056-b822-c55f938180f5', '01a22fa6-4d31-73f0-8816-ca60b75fa88c', 'payment', 'CNY', 14990, 90, 57, '01a22fa6-4d1b-747c-8cb8-93014c9b20b6', NULL, NULL, 'alipay', '01a22fa6-4893-73e3-ad49-285f403a72d6', 'att01m8qtck8vehy8se4k02tvm1h0', 0.00600000, 0.00380000, NULL, '2026-12-01 03:29:17+00', '2026-12-01 03:29:17.61524+00', '01a22fa6-4d2b-709d-95bb-5118d6c56c7e');
SELECT pg_catalog.setval('event_log_seq_seq', 1, true);
SELECT pg_catalog.setval('fee_schedule_version_seq', 1, true);
