use std::io::{Cursor, Read};

use encoding_rs::GBK;
use serde_json::json;
use tael_sandbox::{
    Config, alipay,
    control::{
        AddFault, ConsoleRefund, Coupon, CouponFunding, Fault, PayerAction, PayerMove, StatementVariant,
    },
};

use crate::merchant::{World, world, world_with};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The Beijing day of the sandbox's clock.
async fn today(world: &World) -> jiff::civil::Date {
    world.control.clock().await.unwrap().now.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).date()
}

async fn statement_link(world: &World, date: &str) -> String {
    let biz = json!({ "bill_type": "trade", "bill_date": date });
    let answer = world.call("alipay.data.dataservice.bill.downloadurl.query", biz).await;
    assert_eq!(answer.outcome(), "10000");
    answer.get("bill_download_url").to_owned()
}

/// The names and texts of a statement's two files.
fn unpack(zip: Vec<u8>) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let name =
            GBK.decode_without_bom_handling_and_without_replacement(file.name_raw()).unwrap().into_owned();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert!(std::str::from_utf8(&bytes).is_err(), "the content is GBK, not UTF-8");
        let text = GBK.decode_without_bom_handling_and_without_replacement(&bytes).unwrap().into_owned();
        files.push((name, text));
    }
    files
}

/// Moves the sandbox to noon of the next Beijing day, so that no test meets a midnight by chance.
async fn set_noon(world: &World) {
    let now = world.control.clock().await.unwrap().now;
    let tomorrow_noon = today(world).await.tomorrow().unwrap().at(12, 0, 0, 0);
    let noon = jiff::tz::offset(8).to_timestamp(tomorrow_noon).unwrap();
    let ahead = i64::try_from(noon.duration_since(now).as_millis()).unwrap();
    world.control.set_clock(ahead).await.unwrap();
}

/// A world in which two orders were paid, one of them refunded in two parts, around noon.
async fn traded_world() -> World {
    let world = world().await;
    set_noon(&world).await;
    world.paid("order1", "100.00", None).await;
    let biz = json!({
        "out_trade_no": "order2", "total_amount": "0.50", "subject": "铁观音🍵", "body": "备注",
        "store_id": "S001", "operator_id": "Yx_001", "terminal_id": "T_001",
    });
    assert_eq!(world.call("alipay.trade.precreate", biz).await.outcome(), "10000");
    world.control.pay(world.trade("order2")).await.unwrap();
    world.refund("order1", "r1", "33.33").await;
    let biz = json!({
        "out_trade_no": "order1", "out_request_no": "r2", "refund_amount": "66.67", "refund_reason": "不想要了",
    });
    assert_eq!(world.call("alipay.trade.refund", biz).await.outcome(), "10000");
    world
}

#[tokio::test]
async fn the_archive_is_laid_out_as_alipays() {
    let world = traded_world().await;
    let day = today(&world).await;
    let link = statement_link(&world, &day.to_string()).await;
    let response = world.http.get(&link).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/zip");
    let zip = response.bytes().await.unwrap().to_vec();

    // Bit 11 of the flags, which would declare the names UTF-8, is clear in both kinds of headers.
    let flags_at = |signature: &[u8], offset: usize| {
        let starts =
            zip.windows(4).enumerate().filter(|(_, window)| *window == signature).map(|(start, _)| start);
        starts
            .map(|start| u16::from_le_bytes([zip[start + offset], zip[start + offset + 1]]))
            .collect::<Vec<_>>()
    };
    assert_eq!(flags_at(b"PK\x03\x04", 6), [0, 0]);
    assert_eq!(flags_at(b"PK\x01\x02", 8), [0, 0]);

    let files = unpack(zip.clone());
    let account = format!("{}0156", world.app.seller_id);
    let compact = day.strftime("%Y%m%d").to_string();
    assert_eq!(files[0].0, format!("{account}_{compact}_业务明细.csv"));
    assert_eq!(files[1].0, format!("{account}_{compact}_业务明细(汇总).csv"));

    let detail = &files[0].1;
    assert!(detail.ends_with("\r\n") && !detail.replace("\r\n", "").contains(['\r', '\n']));
    let lines: Vec<_> = detail.lines().collect();
    let chinese = |date: jiff::civil::Date| date.strftime("%Y年%m月%d日 00:00:00").to_string();
    assert_eq!(lines[0], "#支付宝业务明细查询");
    assert_eq!(lines[1], format!("#账号：[{account}]"));
    assert_eq!(
        lines[2],
        format!("#起始日期：[{}]   终止日期：[{}]", chinese(day), chinese(day.tomorrow().unwrap()))
    );
    assert!(lines[3].starts_with("#-----") && lines[3].contains("-业务明细列表-"));
    assert_eq!(lines[4].split(',').count(), 25);
    assert!(lines[9].contains("-业务明细列表结束-"));
    assert_eq!(lines[10], "#交易合计：2笔，商家实收共100.50元，商家优惠共0.00元");
    assert_eq!(lines[11], "#退款合计：2笔，商家实收退款共-100.00元，商家优惠退款共0.00元");
    assert!(lines[12].starts_with("#导出时间：["));
    assert_eq!(lines.len(), 13);
}

#[tokio::test]
async fn the_rows_and_fees_are_right() {
    let world = traded_world().await;
    let link = statement_link(&world, &today(&world).await.to_string()).await;
    let files = unpack(world.http.get(&link).send().await.unwrap().bytes().await.unwrap().to_vec());
    let lines: Vec<_> = files[0].1.lines().collect();
    let header: Vec<_> = lines[4].split(',').collect();
    let rows: Vec<Vec<_>> = lines[5..9].iter().map(|line| line.split(',').collect()).collect();
    let cell = |row: usize, name: &str| rows[row][header.iter().position(|column| *column == name).unwrap()];
    let column = |name: &str| [0, 1, 2, 3].map(|row| cell(row, name));

    assert_eq!(column("业务类型"), ["交易", "交易", "退款", "退款"]);
    assert_eq!(column("商户订单号"), ["order1\t", "order2\t", "order1\t", "order1\t"]);
    assert_eq!(column("订单金额（元）"), ["100.00", "0.50", "-33.33", "-66.67"]);
    assert_eq!(column("商家实收（元）"), ["100.00", "0.50", "-33.33", "-66.67"]);
    // 0.6 %: 0.60 charged, returned as 0.20 and 0.40; 0.003 rounds to nothing.
    assert_eq!(column("服务费（元）"), ["-0.60", "0.00", "0.20", "0.40"]);
    assert_eq!(column("退款批次号/请求号"), ["", "", "r1\t", "r2\t"]);
    assert_eq!(column("备注"), ["", "备注", "", "不想要了"]);
    assert_eq!(cell(1, "商品名称"), "铁观音?");
    assert_eq!(cell(1, "门店编号"), "S001\t");
    let trade = world.control.trade(&world.app.app_id, "order1").await.unwrap();
    assert_eq!(cell(0, "支付宝交易号"), format!("{}\t", trade.trade_no.unwrap()));

    let summary: Vec<_> = files[1].1.lines().collect();
    assert_eq!(summary[0], "#支付宝业务汇总查询");
    assert_eq!(summary[4].split(',').count(), 12);
    assert_eq!(summary[5], ",,1,2,0.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00");
    assert_eq!(summary[6], "S001\t,,1,0,0.50,0.50,0.00,0.00,0.00,0.00,0.00,0.50");
    assert_eq!(summary[7], "合计,,2,2,0.50,0.50,0.00,0.00,0.00,0.00,0.00,0.50");
}

#[tokio::test]
async fn days_are_cut_at_beijing_midnight() {
    let world = traded_world().await;
    let day = today(&world).await;
    world.control.skip_ms(DAY_MS).await.unwrap();
    world.paid("nextday", "1.00", None).await;
    let details = async |date: String| {
        let link = statement_link(&world, &date).await;
        unpack(world.http.get(&link).send().await.unwrap().bytes().await.unwrap().to_vec()).remove(0).1
    };
    let first = details(day.to_string()).await;
    assert!(first.contains("order1\t") && !first.contains("nextday\t"));
    let second = details(day.tomorrow().unwrap().to_string()).await;
    assert!(!second.contains("order1\t") && second.contains("nextday\t"));
    let month = details(day.tomorrow().unwrap().strftime("%Y-%m").to_string()).await;
    assert!(month.contains("nextday\t"));
}

#[tokio::test]
async fn a_link_lives_thirty_seconds() {
    let world = traded_world().await;
    let link = statement_link(&world, &today(&world).await.to_string()).await;
    world.control.skip_ms(29_000).await.unwrap();
    assert_eq!(world.http.get(&link).send().await.unwrap().status(), 200);
    world.control.skip_ms(1_000).await.unwrap();
    assert_eq!(world.http.get(&link).send().await.unwrap().status(), 403);
    assert_eq!(world.http.get(format!("{link}0")).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn only_days_that_have_come_have_a_statement() {
    let world = world().await;
    let strict = Config {
        alipay: alipay::Config { current_day_statement: false, ..alipay::Config::default() },
        ..Config::default()
    };
    let strict = world_with(strict).await;
    set_noon(&world).await;
    set_noon(&strict).await;
    let day = today(&world).await;
    let outcome = async |world: &World, bill_type: &str, date: String| {
        let biz = json!({ "bill_type": bill_type, "bill_date": date });
        world.call("alipay.data.dataservice.bill.downloadurl.query", biz).await.outcome()
    };
    let far = day.checked_add(jiff::ToSpan::days(2)).unwrap().to_string();
    assert_eq!(outcome(&world, "trade", far).await, "40004 isp.bill_not_exist");
    assert_eq!(outcome(&world, "trade", day.to_string()).await, "10000");
    assert_eq!(outcome(&strict, "trade", day.to_string()).await, "40004 isp.bill_not_exist");
    assert_eq!(outcome(&strict, "trade", day.yesterday().unwrap().to_string()).await, "10000");
    assert_eq!(outcome(&world, "signcustomer", day.to_string()).await, "40004 isp.bill_not_exist");
    assert_eq!(outcome(&world, "else", day.to_string()).await, "40004 ACQ.INVALID_PARAMETER");
    assert_eq!(outcome(&world, "trade", "2026-02-30".to_owned()).await, "40004 ACQ.INVALID_PARAMETER");
}

/// The rows of the detail file of today's statement, with one thing wrong with it.
async fn spoiled_detail(world: &World, variants: Vec<StatementVariant>) -> Vec<String> {
    let rule = AddFault::new(Fault::Statement { variants }).account(&world.app.app_id).times(1);
    world.control.add_fault(&rule).await.unwrap();
    let link = statement_link(world, &today(world).await.to_string()).await;
    let files = unpack(world.http.get(&link).send().await.unwrap().bytes().await.unwrap().to_vec());
    files[0].1.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_statement_can_be_written_in_ways_that_break_its_columns() {
    let world = traded_world().await;
    for column in ["商品名称", "门店名称", "券名称", "备注"] {
        let lines =
            spoiled_detail(&world, vec![StatementVariant::Commas { column: column.to_owned() }]).await;
        assert!(lines[5..9].iter().all(|row| row.split(',').count() == 27), "{column}");
        let position = lines[4].split(',').position(|name| name == column).unwrap();
        assert!(lines[5].split(',').nth(position).unwrap().ends_with("，加料"), "{column}: {}", lines[5]);
    }
    let lines = spoiled_detail(&world, vec![StatementVariant::TrailingComma]).await;
    assert!(lines[5..9].iter().all(|row| row.ends_with(',') && row.split(',').count() == 26));

    let lines = spoiled_detail(&world, vec![StatementVariant::UnknownKind]).await;
    let kinds: Vec<_> = lines[5..10].iter().map(|row| row.split(',').nth(2).unwrap()).collect();
    assert_eq!(kinds, ["交易", "交易", "退款", "退款", "花呗贴息"]);
    assert!(lines[5..10].iter().all(|row| row.split(',').count() == 25));

    let both = vec![StatementVariant::NoSums, StatementVariant::TrailingComma];
    let lines = spoiled_detail(&world, both).await;
    assert!(!lines.iter().any(|line| line.contains("合计")) && lines[5].split(',').count() == 26);

    // The next one is right again.
    let link = statement_link(&world, &today(&world).await.to_string()).await;
    let files = unpack(world.http.get(&link).send().await.unwrap().bytes().await.unwrap().to_vec());
    assert!(files[0].1.contains("#交易合计：2笔"));
    assert!(files[0].1.lines().skip(5).take(4).all(|row| row.split(',').count() == 25));
}

#[tokio::test]
async fn a_statements_file_can_be_bad_in_other_ways() {
    let world = traded_world().await;
    let day = today(&world).await.to_string();
    let spoiled = async |variant: StatementVariant| {
        let rule = AddFault::new(Fault::Statement { variants: vec![variant] }).times(1);
        world.control.add_fault(&rule).await.unwrap();
        world.http.get(statement_link(&world, &day).await).send().await.unwrap()
    };
    let page = spoiled(StatementVariant::NotAnArchive).await;
    assert!(page.text().await.unwrap().starts_with("<html>"));

    let mut endless = spoiled(StatementVariant::Endless).await;
    let mut read = 0;
    while read < 4 * 1024 * 1024 {
        read += endless.chunk().await.unwrap().expect("it never ends").len();
    }

    let broken = spoiled(StatementVariant::Broken).await;
    assert_eq!(broken.status(), 200);
    broken.bytes().await.unwrap_err();

    let rule =
        AddFault::new(Fault::Statement { variants: vec![StatementVariant::Slow { delay_ms: 600_000 }] });
    world.control.add_fault(&rule.times(1)).await.unwrap();
    let link = statement_link(&world, &day).await;
    let slow = world.http.get(link).timeout(std::time::Duration::from_millis(200)).send().await;
    assert!(slow.unwrap_err().is_timeout());
}

#[tokio::test]
async fn only_free_text_has_commas() {
    let world = world().await;
    for variants in [vec![StatementVariant::Commas { column: "订单金额（元）".to_owned() }], vec![]] {
        let rule = AddFault::new(Fault::Statement { variants });
        assert!(world.control.add_fault(&rule).await.is_err());
    }
}

#[tokio::test]
async fn coupons_stand_in_columns_of_their_own() {
    let world = world().await;
    set_noon(&world).await;
    world.precreate("order1", "100.00", None).await;
    let coupon =
        Coupon { name: "满100减5".to_owned(), amount_minor: 500, funded_by: CouponFunding::Merchant };
    let action = PayerAction { coupon: Some(coupon), ..PayerAction::on(world.trade("order1")) };
    world.control.act(PayerMove::Pay, &action).await.unwrap();
    world.refund("order1", "r1", "40.00").await;
    let console =
        ConsoleRefund { trade: world.trade("order1"), amount_minor: Some(2_000), reason: String::new() };
    let console = world.control.refund(&console).await.unwrap().refunds.pop().unwrap();

    let link = statement_link(&world, &today(&world).await.to_string()).await;
    let files = unpack(world.http.get(&link).send().await.unwrap().bytes().await.unwrap().to_vec());
    let lines: Vec<_> = files[0].1.lines().collect();
    let header: Vec<_> = lines[4].split(',').collect();
    let column = |name: &str| {
        let position = header.iter().position(|column| *column == name).unwrap();
        [5, 6, 7].map(|line| lines[line].split(',').nth(position).unwrap())
    };
    assert_eq!(column("订单金额（元）"), ["100.00", "-40.00", "-20.00"]);
    assert_eq!(column("商家实收（元）"), ["95.00", "-38.00", "-19.00"]);
    assert_eq!(column("商家优惠（元）"), ["5.00", "-2.00", "-1.00"]);
    assert_eq!(column("券名称"), ["满100减5"; 3]);
    assert_eq!(column("退款批次号/请求号"), ["", "r1\t", &format!("{}\t", console.refund_no)]);
    assert_eq!(lines[9], "#交易合计：1笔，商家实收共95.00元，商家优惠共5.00元");
    assert_eq!(lines[10], "#退款合计：2笔，商家实收退款共-57.00元，商家优惠退款共3.00元");
    // The day's net: 95.00 - 57.00 received, less the fee that was kept.
    let fees: Vec<_> = column("服务费（元）").to_vec();
    assert_eq!(fees, ["-0.57", "0.23", "0.11"]);
    assert!(files[1].1.contains("合计,,1,2,40.00,38.00,0.00,2.00,0.00,-0.23,0.00,37.77"), "{}", files[1].1);
}
