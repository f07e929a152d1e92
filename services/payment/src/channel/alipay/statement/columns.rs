//! The columns of a statement, and which cells of a line stand in them.
//!
//! Cells are not quoted: a comma in a free text (the name of the goods, of a store or a coupon, a remark) makes a line
//! longer than the header and moves what stands behind it. All readings of such a line are tried at once in which the
//! surplus cells belong to free texts and every other cell is what its column says. If all of them agree on what we take
//! from the line, that is what it says; else nobody can know.

use tael_money::{Currency, Money};

use super::super::super::{StatementEntry, StatementLine, StatementLineKind, UnreadableLine};
use super::super::wire::parse_time;

const TRANSACTION: &str = "支付宝交易号";
const ORDER: &str = "商户订单号";
const BUSINESS: &str = "业务类型";
const FINISHED: &str = "完成时间";
const AMOUNT: &str = "订单金额";
const RECEIVED: &str = "商家实收";
const REFUND: &str = "退款批次号/请求号";
const FEE: &str = "服务费";

/// A line with more surplus cells than this is not read: the work grows with their square.
const MAX_SURPLUS: usize = 64;

/// The header: where the columns are that we take, by name, for older statements have more, or others.
pub(super) struct Columns {
    kinds: Vec<Kind>,
    transaction: usize,
    order: usize,
    business: usize,
    finished: usize,
    amount: usize,
    received: usize,
    refund: usize,
    fee: usize,
}

/// What may stand in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number of something: letters, digits, hyphens and underscores, or nothing.
    Number,
    Time,
    /// In yuan, with two decimals.
    Amount,
    /// One of Alipay's own words.
    Word,
    /// Whatever somebody wrote, over as many cells as it has commas and one more.
    Text,
}

impl Kind {
    fn of(name: &str) -> Self {
        if name == BUSINESS {
            Self::Word
        } else if name.ends_with("（元）") || name.ends_with("(元)") {
            Self::Amount
        } else if name.ends_with("时间") {
            Self::Time
        } else if name.ends_with('号') {
            Self::Number
        } else {
            Self::Text
        }
    }

    /// Whether this can stand in such a column when the line's reading is in question: as Alipay writes it, and no other way.
    fn fits(self, cell: &str) -> bool {
        match self {
            Self::Number => cell.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')),
            Self::Time => parse_time(cell).is_some(),
            Self::Amount => {
                let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
                unsigned.split_once('.').is_some_and(|(yuan, fen)| {
                    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
                    !yuan.is_empty() && fen.len() == 2 && digits(yuan) && digits(fen)
                })
            }
            Self::Word => !cell.is_empty(),
            Self::Text => true,
        }
    }
}

impl Columns {
    /// Reads the header; none if it lacks a column that we take.
    pub(super) fn read(header: &str) -> Option<Self> {
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
        let find = |wanted: &str| {
            names.iter().position(|name| name.trim_end_matches("（元）").trim_end_matches("(元)") == wanted)
        };
        Some(Self {
            kinds: names.iter().map(|name| Kind::of(name)).collect(),
            transaction: find(TRANSACTION)?,
            order: find(ORDER)?,
            business: find(BUSINESS)?,
            finished: find(FINISHED)?,
            amount: find(AMOUNT)?,
            received: find(RECEIVED)?,
            refund: find(REFUND)?,
            fee: find(FEE)?,
        })
    }

    /// Reads a line, or says why it can't be read.
    pub(super) fn line(&self, line: u32, text: &str) -> StatementEntry {
        let mut cells: Vec<&str> = text.split(',').map(str::trim).collect();
        // A comma at the end of a line. Where the last column is a text, the comma is the text's.
        if cells.len() > self.kinds.len()
            && cells.last() == Some(&"")
            && self.kinds.last() != Some(&Kind::Text)
        {
            cells.pop();
        }
        let read = self.place(&cells).and_then(|placed| placed.line(line));
        read.map_or_else(
            |problem| StatementEntry::Unreadable(self.unreadable(line, &cells, problem)),
            StatementEntry::Line,
        )
    }

    /// Says which cell stands in each column that we take.
    fn place<'a>(&self, cells: &[&'a str]) -> Result<Placed<'a>, String> {
        let (count, expected) = (cells.len(), self.kinds.len());
        let surplus = count
            .checked_sub(expected)
            .ok_or_else(|| format!("it has {count} cells instead of {expected}"))?;
        if surplus > MAX_SURPLUS {
            return Err(format!("it has {count} cells instead of {expected}"));
        }
        let possible = if surplus > 0 { self.possible(cells, surplus) } else { Vec::new() };
        let cell = |column: usize| {
            if surplus == 0 {
                return Ok(cells[column]);
            }
            let mut readings =
                (0..=surplus).filter(|shift| possible[column][*shift]).map(|shift| cells[column + shift]);
            let first = readings
                .next()
                .ok_or_else(|| format!("its {count} cells do not fit the {expected} columns in any way"))?;
            if readings.all(|other| other == first) {
                Ok(first)
            } else {
                Err(format!("its {count} cells fit the {expected} columns in more than one way"))
            }
        };
        Ok(Placed {
            transaction: cell(self.transaction)?,
            order: cell(self.order)?,
            business: cell(self.business)?,
            finished: cell(self.finished)?,
            amount: cell(self.amount)?,
            received: cell(self.received)?,
            refund: cell(self.refund)?,
            fee: cell(self.fee)?,
        })
    }

    /// Says by how much each column can be moved in a reading of the whole line. Every column is judged from both sides: what
    /// stands before it must take all cells before it, and what stands behind it all that are left.
    fn possible(&self, cells: &[&str], surplus: usize) -> Vec<Vec<bool>> {
        let columns = self.kinds.len();
        let fits = |column: usize, shift: usize| self.kinds[column].fits(cells[column + shift]);
        // A text that takes some of the surplus moves the next column further than it was moved itself.
        let most =
            |column: usize, shift: usize| if self.kinds[column] == Kind::Text { surplus } else { shift };
        let mut before = vec![vec![false; surplus + 1]; columns + 1];
        before[0][0] = true;
        for column in 0..columns {
            for shift in 0..=surplus {
                if before[column][shift] && fits(column, shift) {
                    before[column + 1][shift..=most(column, shift)].fill(true);
                }
            }
        }
        let mut behind = vec![vec![false; surplus + 1]; columns + 1];
        behind[columns][surplus] = true;
        for column in (0..columns).rev() {
            for shift in 0..=surplus {
                behind[column][shift] =
                    fits(column, shift) && behind[column + 1][shift..=most(column, shift)].contains(&true);
            }
        }
        for (before, behind) in before.iter_mut().zip(&behind) {
            for (before, behind) in before.iter_mut().zip(behind) {
                *before &= behind;
            }
        }
        before
    }

    /// Keeps the numbers that stand before the first text, where no comma can have moved them, or in a line of the right
    /// length.
    fn unreadable(&self, line: u32, cells: &[&str], problem: String) -> UnreadableLine {
        let whole = cells.len() == self.kinds.len();
        let first_text = self.kinds.iter().position(|kind| *kind == Kind::Text).unwrap_or(self.kinds.len());
        let number = |column: usize| {
            let cell = if whole || column < first_text { cells.get(column) } else { None };
            cell.filter(|cell| cell.len() <= 64 && Kind::Number.fits(cell)).map(|&cell| cell.to_owned())
        };
        UnreadableLine {
            line,
            problem,
            channel_transaction_id: number(self.transaction).unwrap_or_default(),
            merchant_number: number(self.order).unwrap_or_default(),
            refund_number: number(self.refund).unwrap_or_default(),
        }
    }
}

/// The cells that we take from a line.
struct Placed<'a> {
    transaction: &'a str,
    order: &'a str,
    business: &'a str,
    finished: &'a str,
    amount: &'a str,
    received: &'a str,
    refund: &'a str,
    fee: &'a str,
}

impl Placed<'_> {
    fn line(&self, line: u32) -> Result<StatementLine, String> {
        let yuan = |name: &str, cell: &str| {
            Money::parse_decimal(cell, Currency::CNY).map_err(|_| format!("{name} is no amount"))
        };
        let (amount, received) = (yuan(AMOUNT, self.amount)?, yuan(RECEIVED, self.received)?);
        let fee = yuan(FEE, self.fee)?.checked_neg().map_err(|_| format!("{FEE} is no amount"))?;
        let (kind, amount, received) = match self.business {
            "交易" if amount.is_negative() || received.is_negative() => {
                return Err("a payment of less than nothing".to_owned());
            }
            "交易" => (StatementLineKind::Payment, amount, received),
            "退款" if amount.is_positive() || received.is_positive() => {
                return Err("a refund that brings money".to_owned());
            }
            "退款" => {
                let given = |money: Money| money.checked_neg().map_err(|_| format!("{AMOUNT} is no amount"));
                let refund_number = self.refund.to_owned();
                (StatementLineKind::Refund { refund_number }, given(amount)?, given(received)?)
            }
            other => {
                let other: String = other.chars().take(16).collect();
                return Err(format!("{BUSINESS} {other} is not known"));
            }
        };
        Ok(StatementLine {
            line,
            kind,
            channel_transaction_id: self.transaction.to_owned(),
            merchant_number: self.order.to_owned(),
            amount,
            received,
            // Negative in the statement when charged.
            fee,
            finish_time: parse_time(self.finished).ok_or_else(|| format!("{FINISHED} is no time"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,\
        订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,\
        商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

    /// A refund of 30.00 of which the merchant gives back 28.50, with these texts.
    fn row(goods: &str, store: &str, coupon: &str, refund: &str, remark: &str) -> String {
        format!(
            "2026\t,att1\t,退款,{goods},2026-03-01 11:00:00,2026-03-01 11:00:05,S1\t,{store},op\t,T-1\t,张*(139****0001),\
             -30.00,-28.50,0.00,0.00,0.00,-1.50,-1.50,{coupon},0.00,0.00,{refund}\t,0.17,0.00,{remark}"
        )
    }

    fn read(text: &str) -> StatementEntry {
        Columns::read(HEADER).unwrap().line(7, text)
    }

    fn problem(text: &str) -> String {
        match read(text) {
            StatementEntry::Unreadable(unreadable) => unreadable.problem,
            StatementEntry::Line(line) => panic!("{line:?}"),
        }
    }

    #[test]
    fn commas_in_any_free_text_leave_the_line_readable() {
        let plain = read(&row("茶", "店", "券", "ref1", "备注"));
        let StatementEntry::Line(line) = &plain else { panic!("{plain:?}") };
        assert_eq!((line.amount.minor(), line.received.minor(), line.fee.minor()), (3_000, 2_850, -17));
        assert_eq!(line.kind, StatementLineKind::Refund { refund_number: "ref1".to_owned() });
        let texts = ["a,b", ",", "满100,减5", "a,,b,", "1,234.00", "2026-03-01 11:00:00,x", "退款,交易"];
        for text in texts {
            for row in [
                row(text, "店", "券", "ref1", ""),
                row("茶", text, "券", "ref1", ""),
                row("茶", "店", text, "ref1", ""),
                row("茶", "店", "券", "ref1", text),
                row(text, text, text, "ref1", text),
            ] {
                assert_eq!(read(&row), plain, "{row}");
            }
        }
        // A comma behind every row is the remark's.
        assert_eq!(read(&(row("茶", "店", "券", "ref1", "") + ",")), plain);
    }

    #[test]
    fn a_comma_behind_a_row_that_ends_in_no_text_is_dropped() {
        let header = HEADER.strip_suffix(",备注").unwrap();
        let row = row("茶,杯", "店", "", "ref1", "");
        let row = row.strip_suffix(',').unwrap();
        let columns = Columns::read(header).unwrap();
        let plain = columns.line(7, row);
        assert!(matches!(plain, StatementEntry::Line(_)), "{plain:?}");
        assert_eq!(columns.line(7, &format!("{row},")), plain);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        // The coupon's name ends like the columns behind it: is ref1 the refund's number, or 9?
        let text = row("茶", "店", "券,0.00,0.00,9,0.17,0.00", "ref1", "");
        assert!(problem(&text).contains("in more than one way"), "{}", problem(&text));
        // Or is it the payer's name that has the comma, and the first amount behind it?
        let text = row("茶", "店", "0.00,0.00", "ref1", "");
        assert!(problem(&text).contains("in more than one way"), "{}", problem(&text));
    }

    #[test]
    fn a_line_that_cannot_be_read_says_why_and_whose_it_is() {
        let good = row("茶", "店", "券", "ref1", "");
        for (text, expected) in [
            (good.replace(",退款,", ",花呗贴息,"), "业务类型 花呗贴息 is not known"),
            (good.replace("-30.00,-28.50", "30.00,28.50"), "a refund that brings money"),
            (good.replace(",退款,", ",交易,"), "a payment of less than nothing"),
            (good.replace(",0.17,0.00,", ","), "it has 23 cells instead of 25"),
            (good.replace("-30.00", "x"), "订单金额 is no amount"),
            (good.replace("-30.00", "x") + ",", "its 26 cells do not fit the 25 columns in any way"),
            (good.replace("11:00:05", "11"), "完成时间 is no time"),
            (good.clone() + &",".repeat(65), "it has 90 cells instead of 25"),
        ] {
            let StatementEntry::Unreadable(unreadable) = read(&text) else { panic!("{text}") };
            assert_eq!((unreadable.line, unreadable.problem.as_str()), (7, expected));
            assert_eq!(
                (unreadable.channel_transaction_id, unreadable.merchant_number),
                ("2026".into(), "att1".into())
            );
        }
    }
}
