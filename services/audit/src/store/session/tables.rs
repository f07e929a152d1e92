//! Where facts are put side by side: temporary tables of the audit's own session.
//!
//! Ids stand as the text that everybody knows them by, so that what is found can be named as it is. Nothing is demanded
//! of the values: what makes no sense is for the checks to find.

use jiff::Timestamp;
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{EventFact, Fact as MerchantFact, FactKind};
use tael_proto::payment::v1::{StatementLine, StatementLineKind};
use tael_proto::r#type::v1::Money;

use crate::domain::statement::{StatementDay, StatementOwner};

/// Where the facts of one kind stand. A new kind is a row here, an arm of [`Rows::fact`], and the checks that use it.
#[derive(Debug)]
pub(super) struct FactTable {
    kind: FactKind,
    name: &'static str,
    columns: &'static str,
}

impl FactTable {
    /// The table of a kind; none for a kind that is never staged.
    pub(super) fn of(kind: FactKind) -> Option<&'static Self> {
        FACT_TABLES.iter().find(|table| table.kind == kind)
    }

    /// The statement that takes a page of rows.
    pub(super) fn insert(&self) -> String {
        insert(self.name)
    }
}

/// The tables of all facts.
const FACT_TABLES: &[FactTable] = &[
    FactTable {
        kind: FactKind::Order,
        name: "audit_order",
        columns: r#"merchant_id text collate "C", order_id text collate "C", state text, currency text,
            total bigint, refunded bigint, payment_id text collate "C", pay_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::HeldPayment,
        name: "audit_held",
        columns: r#"merchant_id text collate "C", order_id text collate "C", payment_id text collate "C",
            currency text, amount bigint, state text, refund_id text collate "C", hold_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::CountedRefund,
        name: "audit_counted_refund",
        columns: r#"merchant_id text collate "C", order_id text collate "C",
            refund_id text collate "C", currency text, amount bigint, count_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::ChannelAccount,
        name: "audit_channel_account",
        columns: r#"merchant_id text collate "C", channel_account_id text collate "C", channel text,
            statement_owner text collate "C", time_zone text"#,
    },
    FactTable {
        kind: FactKind::Payment,
        name: "audit_payment",
        columns: r#"merchant_id text collate "C", payment_id text collate "C", order_id text collate "C",
            currency text, amount bigint, state text, refunded bigint, reserved bigint, pay_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::Attempt,
        name: "audit_attempt",
        columns: r#"merchant_id text collate "C", attempt_id text collate "C",
            payment_id text collate "C", channel_account_id text collate "C", number text collate "C", state text,
            in_doubt boolean, create_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::PaymentRefund,
        name: "audit_payment_refund",
        columns: r#"merchant_id text collate "C", refund_id text collate "C",
            payment_id text collate "C", attempt_id text collate "C", number text collate "C", currency text, amount bigint,
            state text, reversal boolean, create_time timestamptz, refund_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::RefundCeiling,
        name: "audit_refund_ceiling",
        columns: r#"merchant_id text collate "C", order_id text collate "C",
            payment_id text collate "C", currency text, total bigint, reserved bigint, refunded bigint"#,
    },
    FactTable {
        kind: FactKind::Refund,
        name: "audit_refund",
        columns: r#"merchant_id text collate "C", refund_id text collate "C", order_id text collate "C",
            payment_id text collate "C", currency text, amount bigint, state text, create_time timestamptz,
            end_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::WebhookEndpoint,
        name: "audit_endpoint",
        columns: r#"merchant_id text collate "C", endpoint_id text collate "C", event_types text[],
            create_time timestamptz, disable_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::Delivery,
        name: "audit_delivery",
        columns: r#"merchant_id text collate "C", delivery_id text collate "C",
            endpoint_id text collate "C", event_id text collate "C", state text, next_attempt_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::Transfer,
        name: "audit_transfer",
        columns: r#"merchant_id text collate "C", transfer_id text collate "C", kind text, currency text,
            gross bigint, fee bigint, channel_fee bigint, payment_id text collate "C", refund_id text collate "C",
            batch_id text collate "C", event_id text collate "C", fee_rate numeric, channel_rate numeric, debits bigint,
            credits bigint, foreign_entries bigint, post_time timestamptz, expected_fee bigint,
            expected_channel_fee bigint, fee_kept boolean, channel_fee_kept boolean"#,
    },
    FactTable {
        kind: FactKind::LedgerAccount,
        name: "audit_ledger_account",
        columns: r#"merchant_id text collate "C", account_id text collate "C", currency text,
            debits bigint, credits bigint, entry_debits bigint, entry_credits bigint"#,
    },
    FactTable {
        kind: FactKind::Event,
        name: "audit_event",
        columns: r#"service text, merchant_id text collate "C", event_id text collate "C", kind text,
            key text collate "C", payment_id text collate "C", refund_id text collate "C", currency text, amount bigint,
            flag boolean, occur_time timestamptz"#,
    },
    FactTable {
        kind: FactKind::DeadLetter,
        name: "audit_dead_letter",
        columns: r#"service text, merchant_id text collate "C", source text, event_id text, error text"#,
    },
    FactTable {
        kind: FactKind::LogStart,
        name: "audit_log",
        columns: "service text, events_removed boolean, first_occur_time timestamptz",
    },
];

/// The lines of channels' statements, by seller and day.
const STATEMENT_LINE: &str = "audit_statement_line";

/// Tables that hold no facts. `audit_found` is what a pass found, `audit_candidate` what all passes so far did.
const OTHERS: &str = r#"
create temp table audit_statement_line (merchant_id text collate "C", owner text collate "C", day date, line bigint,
    kind text, number text collate "C", channel_transaction_id text, currency text, amount bigint, problem text);
create temp table audit_statement_day (merchant_id text collate "C", owner text collate "C", day date,
    begin_time timestamptz, end_time timestamptz, complete boolean, problem text);
create temp table audit_setting (stuck_before timestamptz);
create temp table audit_found (kind integer, merchant_id text, ids text[], detail text, currency text,
    expected bigint, actual bigint);
create temp table audit_candidate (like audit_found);
"#;

fn names() -> String {
    FACT_TABLES.iter().map(|table| table.name).collect::<Vec<_>>().join(", ")
}

/// The statements that make the tables.
pub(super) fn create() -> String {
    let facts =
        FACT_TABLES.iter().map(|table| format!("create temp table {} ({});\n", table.name, table.columns));
    facts.chain([OTHERS.to_owned()]).collect()
}

/// The statement that empties what a pass fills.
pub(super) fn clear() -> String {
    format!("truncate {}, audit_statement_line, audit_statement_day, audit_found", names())
}

/// The statement that tells the planner what a pass put into the tables.
pub(super) fn analyze() -> String {
    format!("analyze {}, audit_statement_line, audit_statement_day", names())
}

/// The statement that takes lines of statements.
pub(super) fn insert_statement_lines() -> String {
    insert(STATEMENT_LINE)
}

fn insert(table: &str) -> String {
    format!("insert into {table} select * from unnest($1::text[]::{table}[])")
}

/// Rows as PostgreSQL reads composite values (manual, 8.16.6): one statement takes a page of any table, in one round
/// trip. COPY would take two, between which the kernel waits for an acknowledgement.
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<String>,
    row: String,
}

impl Rows {
    pub(super) fn into_rows(self) -> Vec<String> {
        self.rows
    }

    /// Writes a fact as a row of its kind's table. `service` is who told it.
    pub(super) fn fact(&mut self, service: &str, fact: &MerchantFact) {
        let merchant = fact.merchant_id.as_str();
        match &fact.fact {
            None => return,
            Some(Fact::Order(f)) => {
                self.id(merchant).id(&f.order_id).text(&f.state).money(f.total.as_ref());
                self.minor(f.refunded.as_ref()).id(&f.payment_id).time(f.pay_time.as_ref());
            }
            Some(Fact::HeldPayment(f)) => {
                self.id(merchant).id(&f.order_id).id(&f.payment_id).money(f.amount.as_ref());
                self.text(&f.state).id(&f.refund_id).time(f.hold_time.as_ref());
            }
            Some(Fact::CountedRefund(f)) => {
                self.id(merchant).id(&f.order_id).id(&f.refund_id).money(f.amount.as_ref());
                self.time(f.count_time.as_ref());
            }
            Some(Fact::ChannelAccount(f)) => {
                self.id(merchant).id(&f.channel_account_id).text(&f.channel);
                self.text(&f.statement_owner).text(&f.time_zone);
            }
            Some(Fact::Payment(f)) => {
                self.id(merchant).id(&f.payment_id).id(&f.order_id).money(f.amount.as_ref()).text(&f.state);
                self.minor(f.refunded.as_ref()).minor(f.refund_reserved.as_ref()).time(f.pay_time.as_ref());
            }
            Some(Fact::Attempt(f)) => {
                self.id(merchant).id(&f.attempt_id).id(&f.payment_id).id(&f.channel_account_id);
                self.id(&channel_number(&f.attempt_id)).text(&f.state).flag(f.in_doubt);
                self.time(f.create_time.as_ref());
            }
            Some(Fact::PaymentRefund(f)) => {
                let number = channel_number(if f.reversal { &f.attempt_id } else { &f.refund_id });
                self.id(merchant).id(&f.refund_id).id(&f.payment_id).id(&f.attempt_id).id(&number);
                self.money(f.amount.as_ref()).text(&f.state).flag(f.reversal);
                self.time(f.create_time.as_ref()).time(f.refund_time.as_ref());
            }
            Some(Fact::RefundCeiling(f)) => {
                self.id(merchant).id(&f.order_id).id(&f.payment_id).money(f.total.as_ref());
                self.minor(f.reserved.as_ref()).minor(f.refunded.as_ref());
            }
            Some(Fact::Refund(f)) => {
                self.id(merchant).id(&f.refund_id).id(&f.order_id).id(&f.payment_id).money(f.amount.as_ref());
                self.text(&f.state).time(f.create_time.as_ref()).time(f.end_time.as_ref());
            }
            Some(Fact::WebhookEndpoint(f)) => {
                self.id(merchant).id(&f.webhook_endpoint_id).list(&f.event_types);
                self.time(f.create_time.as_ref()).time(f.disable_time.as_ref());
            }
            Some(Fact::Delivery(f)) => {
                self.id(merchant).id(&f.delivery_id).id(&f.webhook_endpoint_id).id(&f.event_id);
                self.text(&f.state).time(f.next_attempt_time.as_ref());
            }
            Some(Fact::Transfer(f)) => {
                self.id(merchant).id(&f.transfer_id).text(&f.kind).money(f.gross.as_ref());
                self.minor(f.fee.as_ref()).minor(f.channel_fee.as_ref()).id(&f.payment_id).id(&f.refund_id);
                self.id(&f.batch_id).id(&f.event_id).id(&f.fee_rate).id(&f.channel_rate);
                self.number(f.debits_minor).number(f.credits_minor).number(i64::from(f.foreign_entries));
                self.time(f.post_time.as_ref()).minor(f.expected_fee.as_ref());
                self.minor(f.expected_channel_fee.as_ref()).flag(f.fee_kept_on_refund);
                self.flag(f.channel_fee_kept_on_refund);
            }
            Some(Fact::LedgerAccount(f)) => {
                self.id(merchant).id(&f.account_id).money(f.debits.as_ref()).minor(f.credits.as_ref());
                self.minor(f.entry_debits.as_ref()).minor(f.entry_credits.as_ref());
            }
            Some(Fact::Event(f)) => {
                self.text(service).id(merchant).id(&f.event_id).text(&f.kind).id(key(f)).id(&f.payment_id);
                self.id(&f.refund_id).money(f.amount.as_ref()).flag(f.flag).time(f.occur_time.as_ref());
            }
            Some(Fact::DeadLetter(f)) => {
                self.text(service).id(merchant).text(&f.source).id(&f.event_id).text(&f.error);
            }
            Some(Fact::LogStart(f)) => {
                self.text(service).flag(f.events_removed).time(f.first_occur_time.as_ref());
            }
        }
        self.end();
    }

    /// Writes a line of a channel's statement. Of one that can't be read there is the problem.
    pub(super) fn statement_line(&mut self, owner: &StatementOwner, day: StatementDay, line: &StatementLine) {
        let (kind, number) = match line.kind() {
            StatementLineKind::Payment => ("payment", line.merchant_number.as_str()),
            StatementLineKind::Refund => ("refund", line.refund_number.as_str()),
            StatementLineKind::Unreadable | StatementLineKind::Unspecified => ("unreadable", ""),
        };
        self.text(&owner.merchant_id()).text(&owner.key).text(&day.date.to_string());
        self.number(i64::from(line.line)).text(kind).text(number).text(&line.channel_transaction_id);
        self.money(line.amount.as_ref()).id(&line.problem);
        self.end();
    }

    fn end(&mut self) {
        self.row.push(')');
        self.rows.push(std::mem::take(&mut self.row));
    }

    fn field(&mut self) -> &mut String {
        self.row.push(if self.row.is_empty() { '(' } else { ',' });
        &mut self.row
    }

    fn null(&mut self) -> &mut Self {
        self.field();
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let field = self.field();
        field.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => field.extend([c, c]),
                // PostgreSQL has no such character.
                '\0' => {}
                c => field.push(c),
            }
        }
        field.push('"');
        self
    }

    /// An id or other text that is absent when it is empty.
    fn id(&mut self, text: &str) -> &mut Self {
        if text.is_empty() { self.null() } else { self.text(text) }
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.field().push_str(&number.to_string());
        self
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.field().push(if flag { 't' } else { 'f' });
        self
    }

    /// Two columns: the currency and the amount.
    fn money(&mut self, money: Option<&Money>) -> &mut Self {
        match money {
            Some(money) => self.text(&money.currency).number(money.minor),
            None => self.null().null(),
        }
    }

    /// One column: the amount alone.
    fn minor(&mut self, money: Option<&Money>) -> &mut Self {
        match money {
            Some(money) => self.number(money.minor),
            None => self.null(),
        }
    }

    fn time(&mut self, time: Option<&prost_types::Timestamp>) -> &mut Self {
        match time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok()) {
            Some(time) => self.text(&time.to_string()),
            None => self.null(),
        }
    }

    /// An array of texts without braces, commas, quotes or backslashes, which names of event types are.
    fn list(&mut self, texts: &[String]) -> &mut Self {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let texts: Vec<String> = texts.iter().map(|text| text.chars().filter(plain).collect()).collect();
        self.text(&format!("{{{}}}", texts.join(",")))
    }
}

/// The number under which a channel knows an attempt or refund.
fn channel_number(id: &str) -> String {
    id.replace('_', "")
}

/// What an event is the only one for, with its kind, if it is about money.
fn key(event: &EventFact) -> &str {
    match event.kind.as_str() {
        // An order with nothing to pay is paid by no payment.
        "order.paid" if event.payment_id.is_empty() => &event.aggregate_id,
        "order.paid" | "order.payment_held" | "order.payment_released" | "payment.succeeded" => {
            &event.payment_id
        }
        "order.refunded"
        | "payment.refunded"
        | "payment.refund_failed"
        | "refund.succeeded"
        | "refund.failed" => &event.refund_id,
        "batch.closed" => &event.aggregate_id,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use tael_proto::audit::v1::{DeadLetterFact, WebhookEndpointFact};

    use super::*;

    fn written(fact: Fact) -> Vec<String> {
        let mut rows = Rows::default();
        rows.fact("order", &MerchantFact { merchant_id: "mer_1".to_owned(), fact: Some(fact) });
        rows.into_rows()
    }

    #[test]
    fn what_postgresql_reads_otherwise_is_escaped() {
        let fact = DeadLetterFact {
            source: "payment".to_owned(),
            event_id: String::new(),
            error: "a\\b\"c,(d\0)".to_owned(),
        };
        assert_eq!(written(Fact::DeadLetter(fact)), [r#"("order","mer_1","payment",,"a\\b""c,(d)")"#]);
    }

    #[test]
    fn lists_and_absent_times_are_written() {
        let fact = WebhookEndpointFact {
            webhook_endpoint_id: "whe_1".to_owned(),
            event_types: vec!["order.paid".to_owned(), "x\",{y".to_owned()],
            ..WebhookEndpointFact::default()
        };
        assert_eq!(written(Fact::WebhookEndpoint(fact)), [r#"("mer_1","whe_1","{order.paid,xy}",,)"#]);
    }
}
