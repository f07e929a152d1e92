use std::io::{Cursor, Read};

use encoding_rs::GBK;
use serde_json::json;
use tael_sandbox::{Config, alipay};

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
