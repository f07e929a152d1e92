//! The statement of business (业务账单; alipay.data.dataservice.bill.downloadurl.query, 业务明细): a GBK CSV inside a ZIP.
//!
//! Nothing signs it, and whoever the gateway is may have written it: what is read of it is bounded in every direction, and
//! what can't be read is told line by line.

mod columns;

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use encoding_rs::GBK;
use jiff::civil::Date;
use tael_money::{Currency, Money};
use zip::ZipArchive;

use self::columns::Columns;
use super::super::{StatementEntry, StatementLine, StatementLineKind};
use super::{ChannelStatement, StatementFailure};

/// A file of this many bytes, unpacked, is no day's statement but a trap.
const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// What may be read to find out what is in the ZIP. Two files are; what is held in memory of them grows with this.
const MAX_DIRECTORY_BYTES: u64 = 256 << 10;
/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// A file with more lines that can't be read is no statement.
const MAX_UNREADABLE: u32 = 1_000;
/// A file with more remarks and empty lines is none either.
const MAX_REMARKS: u32 = 10_000;

/// A downloaded statement.
pub(super) struct AlipayStatement<F> {
    zip: F,
    seller_id: String,
    day: Date,
}

impl<F: Read + Seek> AlipayStatement<F> {
    pub(super) fn new(zip: F, seller_id: String, day: Date) -> Self {
        Self { zip, seller_id, day }
    }
}

impl<F: Read + Seek + Send> ChannelStatement for AlipayStatement<F> {
    fn read(
        mut self: Box<Self>,
        line: &mut dyn FnMut(StatementEntry) -> bool,
    ) -> Result<(), StatementFailure> {
        let unpackable =
            |error: zip::result::ZipError| broken(format!("not a ZIP that can be read: {error}"));
        check_directory(&mut self.zip)
            .map_err(|error| broken(format!("not a ZIP that can be read: {error}")))?;
        let budget = Rc::new(Cell::new(MAX_DIRECTORY_BYTES));
        let zip = Bounded { inner: self.zip, budget: Rc::clone(&budget) };
        let mut archive = ZipArchive::new(zip).map_err(unpackable)?;
        let index = detail_index(&mut archive)?;
        budget.set(u64::MAX);
        let file = archive.by_index(index).map_err(unpackable)?;
        let file = Bounded { inner: file, budget: Rc::new(Cell::new(MAX_UNPACKED_BYTES)) };
        read_detail(BufReader::new(file), &self.seller_id, self.day, line)
    }
}

/// Ends with an error, and not as if there were no more, when more is read than the budget has.
struct Bounded<R> {
    inner: R,
    budget: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.budget.get().checked_sub(read as u64);
        self.budget.set(left.ok_or_else(|| io::Error::other("it is too large"))?);
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

/// Refuses a ZIP whose end says, in the form for huge archives, how many files it has: the number is believed, and memory
/// reserved for so many, before any is seen.
fn check_directory(zip: &mut (impl Read + Seek)) -> io::Result<()> {
    const END: [u8; 4] = *b"PK\x05\x06";
    const HUGE: [u8; 4] = *b"PK\x06\x07";
    /// What stands between the two.
    const LOCATOR: usize = 20;

    let size = zip.seek(SeekFrom::End(0))?;
    zip.seek(SeekFrom::Start(size.saturating_sub(MAX_DIRECTORY_BYTES + LOCATOR as u64)))?;
    let mut tail = Vec::new();
    zip.read_to_end(&mut tail)?;
    let is_huge = |window: &[u8]| window.starts_with(&HUGE) && window.ends_with(&END);
    if tail.windows(LOCATOR + END.len()).any(is_huge) {
        return Err(io::Error::other("it is said to be huge"));
    }
    zip.rewind()
}

/// Finds the file with the single transactions. Names are GBK without the ZIP's UTF-8 flag.
fn detail_index(archive: &mut ZipArchive<impl Read + Seek>) -> Result<usize, StatementFailure> {
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
        // What is not GBK in a free text does no harm, and in nothing that we take it can be overlooked.
        let (text, _) = GBK.decode_without_bom_handling(&self.buffer);
        Ok(Some((self.number, text.trim_end_matches(['\r', '\n']).to_owned())))
    }
}

/// What was counted while reading, to be compared with what the statement says of itself.
struct Sums {
    payments: u64,
    payments_received: Money,
    refunds: u64,
    refunds_received: Money,
    unreadable: u32,
}

impl Sums {
    fn count(&mut self, entry: &StatementEntry) -> Result<(), StatementFailure> {
        let StatementEntry::Line(StatementLine { kind, received, .. }) = entry else {
            self.unreadable += 1;
            return if self.unreadable > MAX_UNREADABLE {
                Err(broken(format!("more than {MAX_UNREADABLE} of its lines can't be read")))
            } else {
                Ok(())
            };
        };
        let (count, sum) = match kind {
            StatementLineKind::Payment => (&mut self.payments, &mut self.payments_received),
            StatementLineKind::Refund { .. } => (&mut self.refunds, &mut self.refunds_received),
        };
        *count += 1;
        *sum = sum
            .checked_add(*received)
            .map_err(|_| broken("its sums leave the range of amounts".to_owned()))?;
        Ok(())
    }

    /// Compares with `N笔，商家实收共X元，…`; refunds have `商家实收退款共-X元`. Sums in other words are not compared, and
    /// neither are those of a statement that we could not read in full.
    fn check(&self, said: &str, count: u64, received: Money) -> Result<(), StatementFailure> {
        let Some((said_count, said_sum)) = said_sums(said) else { return Ok(()) };
        if self.unreadable > 0 || (said_count == count && said_sum == received) {
            Ok(())
        } else {
            Err(broken("its sums do not agree with its lines".to_owned()))
        }
    }
}

/// Reads `N笔，商家实收共X元`. What was given back stands there as `-X`, also where it is nothing.
fn said_sums(said: &str) -> Option<(u64, Money)> {
    let (count, rest) = said.split_once('笔')?;
    let (_, rest) = rest.split_once("商家实收")?;
    let (sum, _) = rest.strip_prefix("退款").unwrap_or(rest).strip_prefix('共')?.split_once('元')?;
    Some((count.trim().parse().ok()?, Money::parse_decimal(sum, Currency::CNY).ok()?))
}

fn read_detail(
    reader: impl BufRead,
    seller_id: &str,
    day: Date,
    line: &mut dyn FnMut(StatementEntry) -> bool,
) -> Result<(), StatementFailure> {
    let mut lines = Lines { reader, number: 0, buffer: Vec::new() };
    let columns = read_frame(&mut lines, seller_id, day)?;

    let zero = Money::zero(Currency::CNY);
    let mut sums =
        Sums { payments: 0, payments_received: zero, refunds: 0, refunds_received: zero, unreadable: 0 };
    let (mut ended, mut remarks) = (false, 0);
    while let Some((number, text)) = lines.next()? {
        if text.is_empty() || text.starts_with('#') {
            remarks += 1;
            if remarks > MAX_REMARKS {
                return Err(broken("it has more remarks than lines could need".to_owned()));
            }
            if let Some(said) = text.strip_prefix("#交易合计：") {
                sums.check(said, sums.payments, sums.payments_received)?;
                ended = true;
            } else if let Some(said) = text.strip_prefix("#退款合计：") {
                sums.check(said, sums.refunds, sums.refunds_received.checked_neg().unwrap_or(zero))?;
                ended = true;
            } else {
                ended |= text.contains("列表结束");
            }
            continue;
        }
        if ended {
            return Err(broken(format!("line {number} comes after the end of the list")));
        }
        let entry = columns.line(number, &text);
        sums.count(&entry)?;
        if !line(entry) {
            return Ok(());
        }
    }
    // Sums may be missing, an end may not: what is behind it is not there either.
    if ended { Ok(()) } else { Err(broken("it is cut short".to_owned())) }
}

/// Reads what stands before the lines: whose statement it is, of which day, and its columns.
fn read_frame(
    lines: &mut Lines<impl BufRead>,
    seller_id: &str,
    day: Date,
) -> Result<Columns, StatementFailure> {
    let (mut account_seen, mut day_seen) = (false, false);
    for _ in 0..MAX_REMARKS {
        let Some((number, text)) = lines.next()? else { break };
        if text.is_empty() {
            continue;
        }
        let Some(comment) = text.strip_prefix('#') else {
            if !(account_seen && day_seen) {
                return Err(broken("it does not say whose and of which day it is".to_owned()));
            }
            return Columns::read(&text)
                .ok_or_else(|| broken(format!("line {number} is not the header expected")));
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
    }
    Err(broken("it has no header".to_owned()))
}

/// Returns what stands between brackets after a word: `账号：[20880000000000000156]`.
fn bracketed<'a>(comment: &'a str, word: &str) -> Option<&'a str> {
    let (_, after) = comment.split_once(word)?;
    let (_, inside) = after.split_once('[')?;
    Some(inside.split_once(']')?.0)
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

    fn entries(text: &str) -> Result<Vec<StatementEntry>, StatementFailure> {
        let bytes = GBK.encode(text).0.into_owned();
        let mut entries = Vec::new();
        let day = "2026-03-01".parse().unwrap();
        read_detail(bytes.as_slice(), SELLER, day, &mut |entry| {
            entries.push(entry);
            true
        })?;
        Ok(entries)
    }

    /// The lines of a statement all of whose lines can be read.
    fn read(text: &str) -> Result<Vec<StatementLine>, StatementFailure> {
        let lines = entries(text)?.into_iter().map(|entry| match entry {
            StatementEntry::Line(line) => line,
            StatementEntry::Unreadable(unreadable) => panic!("{unreadable:?}"),
        });
        Ok(lines.collect())
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
            received: yuan("100"),
            fee: yuan("0.60"),
            finish_time: "2026-03-01T02:00:05Z".parse().unwrap(),
        };
        let refund = StatementLine {
            line: 7,
            kind: StatementLineKind::Refund { refund_number: "ref1".to_owned() },
            amount: yuan("30"),
            received: yuan("30"),
            fee: yuan("-0.18"),
            finish_time: "2026-03-01T03:00:05Z".parse().unwrap(),
            ..payment.clone()
        };
        assert_eq!(lines, [payment, refund]);
    }

    #[test]
    fn what_the_merchant_receives_is_less_where_it_funds_a_coupon() {
        let paid = PAID.replace("100.00,100.00", "100.00,95.00");
        let lines = read(&bill(&[&paid], &PAYMENT_SUM.replace("100.00", "95.00"), NO_REFUNDS)).unwrap();
        assert_eq!((lines[0].amount, lines[0].received), (yuan("100"), yuan("95")));
    }

    const NO_REFUNDS: &str = "0笔，商家实收退款共-0.00元，商家优惠退款共0.00元";

    #[test]
    fn a_bill_without_lines_is_a_bill() {
        let none = bill(&[], "0笔，商家实收共0.00元，商家优惠共0.00元", NO_REFUNDS);
        assert!(read(&none).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_read_ends_no_day() {
        let unknown = PAID.replace("交易", "花呗贴息");
        let sums = "3笔，商家实收共300.00元，商家优惠共0.00元";
        let entries = entries(&bill(&[&unknown, "只有,一半", PAID], sums, NO_REFUNDS)).unwrap();
        let problems: Vec<(u32, &str)> = entries[..2]
            .iter()
            .map(|entry| match entry {
                StatementEntry::Unreadable(unreadable) => (unreadable.line, unreadable.problem.as_str()),
                StatementEntry::Line(line) => panic!("{line:?}"),
            })
            .collect();
        assert_eq!(problems, [(6, "业务类型 花呗贴息 is not known"), (7, "it has 2 cells instead of 25")]);
        assert!(matches!(&entries[2], StatementEntry::Line(line) if line.merchant_number == "att1"));
    }

    #[test]
    fn missing_sums_and_trailing_commas_end_no_day() {
        let good = bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM);
        let expected = read(&good).unwrap();
        let without = |prefix: &str| {
            good.split_inclusive("\r\n").filter(|line| !line.starts_with(prefix)).collect::<String>()
        };
        assert_eq!(read(&without("#交易合计")).unwrap(), expected);
        assert_eq!(read(&without("#退款合计")).unwrap(), expected);
        assert_eq!(read(good.split_once("#交易合计").unwrap().0).unwrap(), expected);
        assert_eq!(read(&good.replace("共100.00元", "见汇总")).unwrap(), expected);
        let commas = bill(&[&format!("{PAID},"), &format!("{REFUNDED},")], PAYMENT_SUM, REFUND_SUM);
        assert_eq!(read(&commas).unwrap(), expected);
    }

    #[test]
    fn text_that_is_not_gbk_in_a_remark_ends_no_day() {
        let good = bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM);
        let (before, behind) = good.split_once("茶, 杯").unwrap();
        let mut bytes = GBK.encode(before).0.into_owned();
        bytes.extend(b"\xff\x81,");
        bytes.extend(GBK.encode(behind).0.iter());
        let mut lines = 0;
        let day = "2026-03-01".parse().unwrap();
        read_detail(bytes.as_slice(), SELLER, day, &mut |entry| {
            assert!(matches!(entry, StatementEntry::Line(_)), "{entry:?}");
            lines += 1;
            true
        })
        .unwrap();
        assert_eq!(lines, 2);
    }

    #[test]
    fn a_bill_that_contradicts_itself_or_our_question_is_an_error() {
        let good = bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM);
        assert!(read(&good).is_ok());
        let cut = good.split_once("#----业务明细列表结束").unwrap().0;
        let behind = good.clone() + PAID;
        for (what, text) in [
            ("cut short", cut.to_owned()),
            ("a line behind the end", behind),
            ("another account", good.replace("20880000000000010156", "20880000000000020156")),
            ("another day", good.replace("[2026年03月01日", "[2026年03月02日")),
            ("nobody's", good.replace("#账号", "#名称")),
            ("another count", good.replace("1笔，商家实收共", "2笔，商家实收共")),
            ("another sum", good.replace("实收共100.00", "实收共100.01")),
            ("a line too few", bill(&[PAID], PAYMENT_SUM, REFUND_SUM)),
            ("a line twice", bill(&[PAID, PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM)),
            ("a column renamed", good.replace("服务费（元）", "费（元）")),
            ("no text", String::new()),
        ] {
            assert!(matches!(read(&text), Err(StatementFailure::Broken(_))), "{what}");
        }
    }

    #[test]
    fn a_file_of_lines_that_say_nothing_is_given_up() {
        let good = bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM);
        let (before, behind) = good.split_once("#----业务明细列表结束").unwrap();
        for (what, noise, count) in [
            ("remarks", "#\r\n", MAX_REMARKS),
            ("empty lines", "\r\n", MAX_REMARKS),
            ("unreadable lines", "x\r\n", MAX_UNREADABLE),
        ] {
            let text =
                |count: u32| format!("{before}{}#----业务明细列表结束{behind}", noise.repeat(count as usize));
            assert!(matches!(entries(&text(count + 1)), Err(StatementFailure::Broken(_))), "{what}");
            assert!(entries(&text(count / 2)).is_ok(), "{what}");
        }
    }

    /// A ZIP with one file of these bytes under the name that Alipay gives it.
    fn zipped(content: &[u8]) -> Vec<u8> {
        use std::io::{Cursor, Write as _};

        use zip::ZipWriter;
        use zip::write::SimpleFileOptions;

        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer
            .start_file("20880000000000010156_20260301_业务明细.csv", SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap().into_inner()
    }

    fn read_zip(zip: Vec<u8>) -> Result<usize, StatementFailure> {
        let statement =
            AlipayStatement::new(io::Cursor::new(zip), SELLER.to_owned(), "2026-03-01".parse().unwrap());
        let mut lines = 0;
        Box::new(statement).read(&mut |_| {
            lines += 1;
            true
        })?;
        Ok(lines)
    }

    #[test]
    fn a_file_inside_a_zip_is_read_and_what_is_no_zip_is_no_statement() {
        let good = GBK.encode(&bill(&[PAID, REFUNDED], PAYMENT_SUM, REFUND_SUM)).0.into_owned();
        let zip = zipped(&good);
        assert_eq!(read_zip(zip.clone()).unwrap(), 2);
        let mut damaged = zip.clone();
        damaged[zip.len() / 3] ^= 0xff;
        // A number of files that nobody could hold, in the form for huge archives.
        let mut huge = zip[..zip.len() - 22].to_vec();
        huge.extend(b"PK\x06\x07");
        huge.extend([0xff; 16]);
        huge.extend(&zip[zip.len() - 22..]);
        for (what, zip) in [
            ("a page", b"<html></html>".to_vec()),
            ("nothing", Vec::new()),
            ("zeros", vec![0; 4 << 20]),
            ("half of it", zip[..zip.len() / 2].to_vec()),
            ("damaged", damaged),
            ("huge", huge),
        ] {
            assert!(matches!(read_zip(zip), Err(StatementFailure::Broken(_))), "{what}");
        }
    }

    #[test]
    fn no_more_is_unpacked_than_the_budget_has() {
        let reader =
            |budget| Bounded { inner: io::repeat(b'x').take(1 << 20), budget: Rc::new(Cell::new(budget)) };
        assert_eq!(io::copy(&mut reader(1 << 20), &mut io::sink()).unwrap(), 1 << 20);
        assert!(io::copy(&mut reader((1 << 20) - 1), &mut io::sink()).is_err());
    }
}
