//! The business statement: two GBK files in a ZIP, laid out as Alipay's download (Alipay open platform:
//! `alipay.data.dataservice.bill.downloadurl.query`, field lists of 业务明细 and 业务汇总; sample files published by
//! merchants).

use std::{collections::BTreeMap, fmt::Write};

use bytes::Bytes;
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime},
};

use super::{
    charset::Charset,
    coupon::Coupon,
    money::Fen,
    order::{Order, TradeState},
    time,
};
use crate::{
    control::StatementVariant,
    core::zip::{self, Entry},
};

/// The days a statement covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Day(Date),
    /// Named by its first day.
    Month(Date),
}

impl Period {
    /// Reads `bill_date`: `yyyy-MM-dd` or `yyyy-MM`.
    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        // Years before the common era parse too, and are no dates of statements.
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        match text.len() {
            10 => Date::strptime("%Y-%m-%d", text).ok().map(Self::Day),
            7 => Date::strptime("%Y-%m-%d", format!("{text}-01")).ok().map(Self::Month),
            _ => None,
        }
    }

    /// The first instant, and the first instant after it; `None` at the end of representable time.
    pub(crate) fn range(self) -> Option<(Timestamp, Timestamp)> {
        let (first, after) = match self {
            Self::Day(day) => (day, day.checked_add(1.day()).ok()?),
            Self::Month(first) => (first, first.checked_add(1.month()).ok()?),
        };
        Some((time::day_start(first)?, time::day_start(after)?))
    }

    fn file_part(self) -> String {
        match self {
            Self::Day(day) => day.strftime("%Y%m%d").to_string(),
            Self::Month(first) => first.strftime("%Y%m").to_string(),
        }
    }
}

/// A finished statement.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) file_name: String,
    pub(crate) zip: Bytes,
    /// How it is not as it should be; what concerns the download is done there.
    pub(crate) variants: Vec<StatementVariant>,
}

const DETAIL_COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,\
                              对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,\
                              商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,\
                              退款批次号/请求号,服务费（元）,分润（元）,备注";
const SUMMARY_COLUMNS: &str = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,\
                               商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）";

/// The columns of free text: what merchants and buyers have written.
pub(super) const FREE_TEXT: [&str; 4] = ["商品名称", "门店名称", "券名称", "备注"];

/// A line of the statement: a payment or a refund.
struct Line<'a> {
    order: &'a Order,
    trade_no: &'a str,
    buyer: String,
    created_at: Timestamp,
    completed_at: Timestamp,
    /// Positive for a payment, negative for a refund.
    amount: Fen,
    /// What the seller received or gave back, and what its coupon and Alipay's bore; signed as the amount.
    received: Fen,
    seller_coupon: Fen,
    alipay_coupon: Fen,
    coupon: Option<&'a Coupon>,
    /// Negative when charged, positive when returned.
    fee: Fen,
    /// Set for a refund.
    out_request_no: Option<&'a str>,
    remark: &'a str,
}

/// Makes the statement of one seller over a period, as known at `now`.
pub(crate) fn make<'a>(
    seller_id: &str,
    orders: impl Iterator<Item = &'a Order>,
    period: Period,
    (from, until): (Timestamp, Timestamp),
    variants: Vec<StatementVariant>,
    now: Timestamp,
) -> Statement {
    // The account of a statement is the seller's PID followed by 0156.
    let account = format!("{seller_id}0156");
    let mut lines: Vec<_> = orders.flat_map(order_lines).collect();
    lines.retain(|line| (from..until).contains(&line.completed_at));
    lines.sort_by_key(|line| line.completed_at);

    let base = format!("{account}_{}_业务明细", period.file_part());
    let entries = [
        Entry {
            name: gbk(&format!("{base}.csv")),
            content: gbk(&detail(&account, &lines, from, until, &variants, now)),
        },
        Entry {
            name: gbk(&format!("{base}(汇总).csv")),
            content: gbk(&summary(&account, &lines, from, until, now)),
        },
    ];
    let modified: DateTime = jiff::tz::Offset::constant(8).to_datetime(now);
    Statement {
        file_name: format!("{account}_{}.csv.zip", period.file_part()),
        zip: zip::archive(&entries, modified).into(),
        variants,
    }
}

fn order_lines(order: &Order) -> Vec<Line<'_>> {
    let Some(trade) = order.trade() else { return Vec::new() };
    let TradeState::Paid(paid) = &trade.state else { return Vec::new() };
    let whole = paid.split(order.spec.total);
    let payment = Line {
        order,
        trade_no: &trade.trade_no,
        buyer: trade.buyer.logon_id(),
        created_at: trade.created_at,
        completed_at: paid.at,
        amount: whole.total,
        received: whole.received(),
        seller_coupon: whole.seller,
        alipay_coupon: whole.alipay,
        coupon: paid.coupon.as_ref(),
        fee: -paid.fee,
        out_request_no: None,
        remark: &order.spec.body,
    };
    let refunds = paid.refunds.iter().map(|refund| Line {
        order,
        trade_no: &trade.trade_no,
        buyer: trade.buyer.logon_id(),
        created_at: refund.at,
        completed_at: refund.at,
        amount: -refund.amount,
        received: -refund.split.received(),
        seller_coupon: -refund.split.seller,
        alipay_coupon: -refund.split.alipay,
        coupon: paid.coupon.as_ref(),
        fee: refund.fee_returned,
        out_request_no: Some(&refund.out_request_no),
        remark: &refund.reason,
    });
    std::iter::once(payment).chain(refunds).collect()
}

fn frame_start(kind: &str, list: &str, account: &str, from: Timestamp, until: Timestamp) -> String {
    format!(
        "#支付宝{kind}查询\r\n#账号：[{account}]\r\n#起始日期：[{}]   终止日期：[{}]\r\n{}\r\n",
        time::chinese(from),
        time::chinese(until),
        ruler(list, 41, 40),
    )
}

/// `#-----业务明细列表-----`
fn ruler(list: &str, dashes_before: usize, dashes_after: usize) -> String {
    format!("#{}{list}{}", "-".repeat(dashes_before), "-".repeat(dashes_after))
}

fn detail(
    account: &str,
    lines: &[Line<'_>],
    from: Timestamp,
    until: Timestamp,
    variants: &[StatementVariant],
    now: Timestamp,
) -> String {
    let mut text = frame_start("业务明细", "业务明细列表", account, from, until);
    write!(text, "{DETAIL_COLUMNS}\r\n").expect("writing to a string cannot fail");
    let row_end = if variants.contains(&StatementVariant::TrailingComma) { ",\r\n" } else { "\r\n" };
    let mut rows: Vec<_> = lines.iter().map(cells).collect();
    if variants.contains(&StatementVariant::UnknownKind) {
        rows.push(unknown_kind(from));
    }
    for variant in variants {
        if let StatementVariant::Commas { column } = variant
            && let Some(column) = DETAIL_COLUMNS.split(',').position(|name| name == column)
        {
            for row in &mut rows {
                row[column].push_str("，加料,少糖,热");
            }
        }
    }
    for row in rows {
        write!(text, "{}{row_end}", row.join(",")).expect("writing to a string cannot fail");
    }
    text.push_str(&ruler("业务明细列表结束", 41, 36));
    text.push_str("\r\n");
    if !variants.contains(&StatementVariant::NoSums) {
        text.push_str(&sum_lines(lines));
    }
    write!(text, "#导出时间：[{}]\r\n", time::chinese(now)).expect("writing to a string cannot fail");
    text
}

/// The cells of a line, in the order of `DETAIL_COLUMNS`.
fn cells(line: &Line<'_>) -> [String; 25] {
    let spec = &line.order.spec;
    let nothing = || Fen::ZERO.to_string();
    [
        id_cell(line.trade_no),
        id_cell(&spec.out_trade_no),
        if line.out_request_no.is_some() { "退款" } else { "交易" }.to_owned(),
        text_cell(&spec.subject),
        time::wire(line.created_at),
        time::wire(line.completed_at),
        id_cell(&spec.store_id),
        String::new(), // the store's name is not part of a call
        id_cell(&spec.operator_id),
        id_cell(&spec.terminal_id),
        line.buyer.clone(),
        line.amount.to_string(),
        line.received.to_string(),
        nothing(),
        nothing(),
        line.alipay_coupon.to_string(),
        line.seller_coupon.to_string(),
        (line.seller_coupon + line.alipay_coupon).to_string(),
        line.coupon.map(|coupon| text_cell(&coupon.name)).unwrap_or_default(),
        nothing(),
        nothing(),
        id_cell(line.out_request_no.unwrap_or_default()),
        line.fee.to_string(),
        nothing(),
        text_cell(line.remark),
    ]
}

/// A row of a kind of business that nobody knows, of 1.00.
fn unknown_kind(from: Timestamp) -> [String; 25] {
    let mut cells: [String; 25] = std::array::from_fn(|_| String::new());
    cells[0] = id_cell("2026000022001000000000000000");
    "花呗贴息".clone_into(&mut cells[2]);
    "服务".clone_into(&mut cells[3]);
    (cells[4], cells[5]) = (time::wire(from), time::wire(from));
    for (column, cell) in cells.iter_mut().enumerate().take(24).skip(11) {
        match column {
            11 | 12 => "1.00".clone_into(cell),
            18 | 21 => {}
            _ => "0.00".clone_into(cell),
        }
    }
    cells
}

fn sum_lines(lines: &[Line<'_>]) -> String {
    let (payments, refunds): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.out_request_no.is_none());
    let received = |lines: &[&Line<'_>]| lines.iter().map(|line| line.received).sum::<Fen>();
    let coupons = |lines: &[&Line<'_>]| lines.iter().map(|line| line.seller_coupon).sum::<Fen>();
    // The sign of what was given back stands in the text, also before 0.00.
    format!(
        "#交易合计：{}笔，商家实收共{}元，商家优惠共{}元\r\n#退款合计：{}笔，商家实收退款共-{}元，商家优惠退款共{}元\r\n",
        payments.len(),
        received(&payments),
        coupons(&payments),
        refunds.len(),
        -received(&refunds),
        -coupons(&refunds),
    )
}

#[derive(Default)]
struct Sums {
    payments: u64,
    refunds: u64,
    amount: Fen,
    received: Fen,
    seller_coupon: Fen,
    alipay_coupon: Fen,
    fee: Fen,
}

impl Sums {
    fn add(&mut self, line: &Line<'_>) {
        match line.out_request_no {
            None => self.payments += 1,
            Some(_) => self.refunds += 1,
        }
        self.amount = self.amount + line.amount;
        self.received = self.received + line.received;
        self.seller_coupon = self.seller_coupon + line.seller_coupon;
        self.alipay_coupon = self.alipay_coupon + line.alipay_coupon;
        self.fee = self.fee + line.fee;
    }

    fn cells(&self) -> String {
        let Self { payments, refunds, amount, received, seller_coupon, alipay_coupon, fee } = self;
        let net = *received + *fee;
        format!(
            "{payments},{refunds},{amount},{received},{alipay_coupon},{seller_coupon},0.00,{fee},0.00,{net}"
        )
    }
}

fn summary(account: &str, lines: &[Line<'_>], from: Timestamp, until: Timestamp, now: Timestamp) -> String {
    let mut stores: BTreeMap<&str, Sums> = BTreeMap::new();
    let mut all = Sums::default();
    for line in lines {
        stores.entry(&line.order.spec.store_id).or_default().add(line);
        all.add(line);
    }
    let mut text = frame_start("业务汇总", "业务汇总列表", account, from, until);
    write!(text, "{SUMMARY_COLUMNS}\r\n").expect("writing to a string cannot fail");
    for (store, sums) in &stores {
        write!(text, "{},,{}\r\n", id_cell(store), sums.cells()).expect("writing to a string cannot fail");
    }
    write!(
        text,
        "合计,,{}\r\n{}\r\n#导出时间：[{}]\r\n",
        all.cells(),
        ruler("业务汇总列表结束", 41, 36),
        time::chinese(now),
    )
    .expect("writing to a string cannot fail");
    text
}

fn gbk(text: &str) -> Vec<u8> {
    Charset::Gbk.encode(text).into_owned()
}

/// Cells that look like numbers end with a TAB, so that spreadsheets keep them as text.
fn id_cell(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{}\t", text_cell(text)) }
}

/// Nothing is quoted in these files, so a comma in a text shifts the columns behind it, as in the real ones. A line
/// break would be worse than that and becomes a blank.
fn text_cell(text: &str) -> String {
    text.replace(['\r', '\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_lists_have_the_documented_lengths() {
        assert_eq!(DETAIL_COLUMNS.split(',').count(), 25);
        assert_eq!(SUMMARY_COLUMNS.split(',').count(), 12);
    }

    #[test]
    fn rulers_are_those_of_the_published_samples() {
        assert_eq!(
            ruler("业务明细列表", 41, 40),
            "#-----------------------------------------业务明细列表----------------------------------------"
        );
        assert_eq!(
            ruler("业务明细列表结束", 41, 36),
            "#-----------------------------------------业务明细列表结束------------------------------------"
        );
    }

    #[test]
    fn periods() {
        let range =
            |text| Period::from_wire(text).and_then(Period::range).map(|(from, to)| format!("{from} {to}"));
        assert_eq!(range("2026-02-28").as_deref(), Some("2026-02-27T16:00:00Z 2026-02-28T16:00:00Z"));
        assert_eq!(range("2026-12").as_deref(), Some("2026-11-30T16:00:00Z 2026-12-31T16:00:00Z"));
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-02-30",
            "20260228",
            "2026/02/28",
            "9999-12-31",
            "-001-01-01",
            "2026-02-281",
        ] {
            assert_eq!(range(text), None, "{text:?}");
        }
    }
}
