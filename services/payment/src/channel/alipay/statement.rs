//! The statement of business (业务账单; alipay.data.dataservice.bill.downloadurl.query, 业务明细): a GBK CSV inside a ZIP.

use std::io::{BufRead, BufReader, Cursor, Read};

use encoding_rs::GBK;
use jiff::civil::Date;
use tael_money::{Currency, Money};
use zip::ZipArchive;

use super::super::{StatementLine, StatementLineKind};
use super::wire::parse_time;
use super::{ChannelStatement, StatementFailure};

/// A file of this many bytes, unpacked, is no day's bill but a trap.
const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 64 << 10;

const TRANSACTION: &str = "支付宝交易号";
const ORDER: &str = "商户订单号";
const KIND: &str = "业务类型";
const GOODS: &str = "商品名称";
const FINISHED: &str = "完成时间";
const AMOUNT: &str = "订单金额";
const RECEIVED: &str = "商家实收";
const REFUND: &str = "退款批次号/请求号";
const FEE: &str = "服务费";

/// A downloaded statement.
pub(super) struct AlipayStatement {
    zip: Vec<u8>,
    seller_id: String,
    day: Date,
}

impl AlipayStatement {
    pub(super) fn new(zip: Vec<u8>, seller_id: String, day: Date) -> Self {
        Self { zip, seller_id, day }
    }
}

impl ChannelStatement for AlipayStatement {
    fn read(self: Box<Self>, line: &mut dyn FnMut(StatementLine) -> bool) -> Result<(), StatementFailure> {
        let mut archive =
            ZipArchive::new(Cursor::new(self.zip)).map_err(|e| broken(format!("not a ZIP: {e}")))?;
        let index = detail_index(&mut archive)?;
        let file = archive.by_index(index).map_err(|e| broken(format!("the ZIP can't be read: {e}")))?;
        read_detail(BufReader::new(file.take(MAX_UNPACKED_BYTES)), &self.seller_id, self.day, line)
    }
}

/// Finds the file with the single transactions. Names are GBK without the ZIP's UTF-8 flag.
fn detail_index(archive: &mut ZipArchive<Cursor<Vec<u8>>>) -> Result<usize, StatementFailure> {
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(|e| broken(format!("the ZIP can't be read: {e}")))?;
        let raw = file.name_raw();
        let name = std::str::from_utf8(raw).map_or_else(|_| GBK.decode(raw).0, Into::into);
        if name.contains("业务明细") && !name.contains("汇总") {
            return Ok(index);
        }
    }
    Err(broken("the ZIP has no 业务明细".to_owned()))
}

fn broken(problem: String) -> StatementFailure {
    StatementFailure::Broken(problem)
}

/// Lines of a GBK file. No byte of a two-byte character is a line feed, so lines can be cut before they are decoded.
struct Lines<R> {
    reader: R,
    number: u32,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<(u32, String)>, StatementFailure> {
        self.buffer.clear();
        let read = (&mut self.reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|e| broken(format!("after line {}: {e}", self.number)))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.len() as u64 == MAX_LINE_BYTES {
            return Err(broken(format!("line {} is too long", self.number)));
        }
        let (text, had_errors) = GBK.decode_without_bom_handling(&self.buffer);
        if had_errors {
            return Err(broken(format!("line {} is not GBK", self.number)));
        }
        Ok(Some((self.number, text.trim_end_matches(['\r', '\n']).to_owned())))
    }
}

/// What was counted while reading, to be compared with what the bill says of itself.
struct Sums {
    payments: u64,
    payments_received: Money,
    refunds: u64,
    refunds_received: Money,
}

fn read_detail(
    reader: impl BufRead,
    seller_id: &str,
    day: Date,
    line: &mut dyn FnMut(StatementLine) -> bool,
) -> Result<(), StatementFailure> {
    let mut lines = Lines { reader, number: 0, buffer: Vec::new() };
    let (mut account_seen, mut day_seen) = (false, false);
    let columns = loop {
        let (number, text) = lines.next()?.ok_or_else(|| broken("it has no header".to_owned()))?;
        let Some(comment) = text.strip_prefix('#') else {
            break Columns::read(&text)
                .ok_or_else(|| broken(format!("line {number} is not the header expected")))?;
        };
        if let Some(account) = bracketed(comment, "账号") {
            // The account is the seller's id followed by 0156.
            if account.strip_suffix("0156").unwrap_or(account) != seller_id {
                return Err(broken("it is another account's".to_owned()));
            }
            account_seen = true;
        } else if let Some(start) = bracketed(comment, "起始日期") {
            if start != day.strftime("%Y年%m月%d日 00:00:00").to_string() {
                return Err(broken("it is another day's".to_owned()));
            }
            day_seen = true;
        }
    };
    if !(account_seen && day_seen) {
        return Err(broken("it does not say whose and of which day it is".to_owned()));
    }

    let zero = Money::zero(Currency::CNY);
    let mut sums = Sums { payments: 0, payments_received: zero, refunds: 0, refunds_received: zero };
    let (mut payments_checked, mut refunds_checked) = (false, false);
    while let Some((number, text)) = lines.next()? {
        if let Some(comment) = text.strip_prefix('#') {
            if let Some(said) = comment.strip_prefix("交易合计：") {
                check_sum(said, sums.payments, sums.payments_received)?;
                payments_checked = true;
            } else if let Some(said) = comment.strip_prefix("退款合计：") {
                check_sum(said, sums.refunds, sums.refunds_received)?;
                refunds_checked = true;
            }
            continue;
        }
        if text.is_empty() {
            continue;
        }
        let read = columns
            .line(number, &text, &mut sums)
            .ok_or_else(|| broken(format!("line {number} can't be read")))?;
        if payments_checked || refunds_checked {
            return Err(broken(format!("line {number} comes after the sums")));
        }
        if !line(read) {
            return Ok(());
        }
    }
    if payments_checked && refunds_checked {
        Ok(())
    } else {
        Err(broken("it is cut short: its sums are missing".to_owned()))
    }
}

/// Returns what stands between brackets after a word: `账号：[20880000000000000156]`.
fn bracketed<'a>(comment: &'a str, word: &str) -> Option<&'a str> {
    let (_, after) = comment.split_once(word)?;
    let (_, inside) = after.split_once('[')?;
    Some(inside.split_once(']')?.0)
}

/// Compares with `N笔，商家实收共X元，…`; refunds have `商家实收退款共-X元`.
fn check_sum(said: &str, count: u64, received: Money) -> Result<(), StatementFailure> {
    let wrong = || broken("its sums do not agree with its lines".to_owned());
    let (said_count, rest) = said.split_once('笔').ok_or_else(wrong)?;
    let (_, rest) = rest.split_once('共').ok_or_else(wrong)?;
    let (said_sum, _) = rest.split_once('元').ok_or_else(wrong)?;
    // "-0.00" is how the bill writes no refunds.
    let said_sum = Money::parse_decimal(said_sum, Currency::CNY).map_err(|_| wrong())?;
    if said_count.trim().parse() == Ok(count) && said_sum == received { Ok(()) } else { Err(wrong()) }
}

/// Where the columns are, by name: older bills have more, or others.
struct Columns {
    count: usize,
    goods: Option<usize>,
    transaction: usize,
    order: usize,
    kind: usize,
    finished: usize,
    amount: usize,
    received: usize,
    refund: usize,
    fee: usize,
}

impl Columns {
    fn read(header: &str) -> Option<Self> {
        let names: Vec<&str> = header
            .split(',')
            .map(|name| name.trim().trim_end_matches("（元）").trim_end_matches("(元)"))
            .collect();
        let find = |wanted: &str| names.iter().position(|name| *name == wanted);
        Some(Self {
            count: names.len(),
            goods: find(GOODS),
            transaction: find(TRANSACTION)?,
            order: find(ORDER)?,
            kind: find(KIND)?,
            finished: find(FINISHED)?,
            amount: find(AMOUNT)?,
            received: find(RECEIVED)?,
            refund: find(REFUND)?,
            fee: find(FEE)?,
        })
    }

    fn line(&self, line: u32, text: &str, sums: &mut Sums) -> Option<StatementLine> {
        let cells: Vec<&str> = text.split(',').collect();
        // Cells are not quoted: commas in the name of the goods shift what comes after it.
        let shift = cells.len().checked_sub(self.count)?;
        if shift > 0 && self.goods.is_none() {
            return None;
        }
        let cell = |column: usize| {
            let at = if self.goods.is_some_and(|goods| column > goods) { column + shift } else { column };
            cells[at].trim()
        };
        let yuan = |column: usize| Money::parse_decimal(cell(column), Currency::CNY).ok();
        let (signed, received) = (yuan(self.amount)?, yuan(self.received)?);
        let (kind, amount) = match cell(self.kind) {
            "交易" if !signed.is_negative() => {
                sums.payments += 1;
                sums.payments_received = sums.payments_received.checked_add(received).ok()?;
                (StatementLineKind::Payment, signed)
            }
            "退款" if !signed.is_positive() => {
                sums.refunds += 1;
                sums.refunds_received = sums.refunds_received.checked_add(received).ok()?;
                (
                    StatementLineKind::Refund { refund_number: cell(self.refund).to_owned() },
                    signed.checked_neg().ok()?,
                )
            }
            _ => return None,
        };
        Some(StatementLine {
            line,
            kind,
            channel_transaction_id: cell(self.transaction).to_owned(),
            merchant_number: cell(self.order).to_owned(),
            amount,
            // Negative in the bill when charged.
            fee: yuan(self.fee)?.checked_neg().ok()?,
            finish_time: parse_time(cell(self.finished))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELLER: &str = "2088000000000001";
    const HEADER: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,\
        订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,\
        商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
    const PAID: &str = "2026\t,att1\t,交易,茶, 杯,2026-03-01 10:00:00,2026-03-01 10:00:05,,,,,a***@b.c,100.00,100.00,0.00,\
        0.00,0.00,0.00,0.00,,0.00,0.00,\t,-0.60,0.00,";
    const REFUNDED: &str = "2026\t,att1\t,退款,茶,2026-03-01 11:00:00,2026-03-01 11:00:05,,,,,a***@b.c,-30.00,-30.00,0.00,\
        0.00,0.00,0.00,0.00,,0.00,0.00,ref1\t,0.18,0.00,";

    fn bill(lines: &[&str], payments: &str, refunds: &str) -> String {
        let mut text = format!(
            "#支付宝业务明细查询\r\n#账号：[{SELLER}0156]\r\n#起始日期：[2026年03月01日 00:00:00]   \
             终止日期：[2026年03月02日 00:00:00]\r\n#----业务明细列表----\r\n{HEADER}\r\n"
        );
        for line in lines {
            text += line;
            text += "\r\n";
        }
        text + &format!(
            "#----业务明细列表结束----\r\n#交易合计：{payments}\r\n#退款合计：{refunds}\r\n#导出时间：[x]\r\n"
        )
    }

    fn read(text: &str) -> Result<Vec<StatementLine>, StatementFailure> {
        let bytes = GBK.encode(text).0.into_owned();
        let mut lines = Vec::new();
        let day = "2026-03-01".parse().unwrap();
        read_detail(bytes.as_slice(), SELLER, day, &mut |line| {
            lines.push(line);
            true
        })?;
        Ok(lines)
    }

    fn yuan(text: &str) -> Money {
        Money::parse_decimal(text, Currency::CNY).unwrap()
    }

    const PAYMENT_SUM: &str = "1笔，商家实收共100.00元，商家优惠共0.00元";
    const REFUND_SUM: &str = "1笔，商家实收退款共-30.00元，商家优惠退款共0.00元";

    #[test]
    fn lines_are_read_by_column_name_with_commas_in_the_goods() {
        let lines = read(&bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM)).unwrap();
        let payment = StatementLine {
            line: 6,
            kind: StatementLineKind::Payment,
            channel_transaction_id: "2026".to_owned(),
            merchant_number: "att1".to_owned(),
            amount: yuan("100"),
            fee: yuan("0.60"),
            finish_time: "2026-03-01T02:00:05Z".parse().unwrap(),
        };
        let refund = StatementLine {
            line: 7,
            kind: StatementLineKind::Refund { refund_number: "ref1".to_owned() },
            amount: yuan("30"),
            fee: yuan("-0.18"),
            finish_time: "2026-03-01T03:00:05Z".parse().unwrap(),
            ..payment.clone()
        };
        assert_eq!(lines, [payment, refund]);
    }

    #[test]
    fn a_bill_without_lines_is_a_bill() {
        let none = bill(
            &[],
            "0笔，商家实收共0.00元，商家优惠共0.00元",
            "0笔，商家实收退款共-0.00元，商家优惠退款共0.00元",
        );
        assert!(read(&none).unwrap().is_empty());
    }

    #[test]
    fn a_bill_that_contradicts_itself_or_our_question_is_an_error() {
        let good = bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM);
        assert!(read(&good).is_ok());
        let cut = good.split_once("#退款合计").unwrap().0;
        for (what, text) in [
            ("cut short", cut.to_owned()),
            ("another account", good.replace("20880000000000010156", "20880000000000020156")),
            ("another day", good.replace("[2026年03月01日", "[2026年03月02日")),
            ("another count", good.replace("1笔，商家实收共", "2笔，商家实收共")),
            ("another sum", good.replace("实收共100.00", "实收共100.01")),
            ("a line too few", bill(&[PAID], PAYMENT_SUM, REFUND_SUM)),
            ("a line twice", bill(&[PAID, PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM)),
            ("a column renamed", good.replace("服务费（元）", "费（元）")),
            ("an unknown kind", good.replace(",退款,", ",其他,")),
            ("a positive refund", good.replace("-30.00,-30.00", "30.00,30.00")),
            ("a short line", good.replace(",0.18,0.00,", "")),
            ("no text", String::new()),
        ] {
            assert!(matches!(read(&text), Err(StatementFailure::Broken(_))), "{what}");
        }
    }
}
