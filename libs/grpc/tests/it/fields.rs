use tael_grpc::fields::Fields;
use tael_grpc::status::{bad_fields, error, invalid_field};
use tael_ids::{MerchantId, OrderId};
use tael_money::{Currency, Money};
use tael_proto::payment::v1::PaymentState;
use tael_proto::r#type::v1 as wire;
use tonic::{Code, Status};

/// Reads one field and returns the fields that were found bad.
fn bad<T>(read: impl FnOnce(&mut Fields) -> Option<T>) -> Vec<String> {
    let mut fields = Fields::default();
    let value = read(&mut fields);
    match fields.finish(|| value) {
        Ok(_) => Vec::new(),
        Err(status) => {
            assert_eq!(status.code(), Code::InvalidArgument);
            bad_fields(&status)
        }
    }
}

fn money(minor: i64, currency: &str) -> wire::Money {
    wire::Money { minor, currency: currency.to_owned() }
}

const GOOD: [&str; 0] = [];

#[test]
fn every_bad_field_is_named_in_one_answer() {
    let mut fields = Fields::default();
    let id = fields.id::<MerchantId>("merchant_id", "");
    let text = fields.text("name", " x", 1..=5);
    let status = fields.finish(|| Some((id?, text?))).unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "name"]);
    assert_eq!(status.message(), "merchant_id is missing, and 1 more field is bad");
}

/// How many bytes the headers have that bring an error: names, values, and the 32 that HTTP/2 counts for each.
fn header_bytes(status: &Status) -> usize {
    let answer = status.clone().into_http::<String>();
    let headers = answer.headers();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// Clients on gRPC's C core, as Python's grpcio, take no more than 8 KiB of headers.
#[test]
fn an_error_fits_into_the_headers_of_every_client() {
    let mut fields = Fields::default();
    for line in 0..1000 {
        let field = format!("lines[{line}].unit_price.currency");
        let _: Option<()> = fields.bad(field, "is not a currency: 「龙井茶叶礼盒」");
    }
    let status = fields.finish(|| Some(())).unwrap_err();
    let named = bad_fields(&status);
    assert!((20..1000).contains(&named.len()), "{}", named.len());
    assert_eq!(named[0], "lines[0].unit_price.currency");
    assert_eq!(named[19], "lines[19].unit_price.currency");
    let told = format!("and 999 more fields are bad; the details name the first {}", named.len());
    assert!(status.message().ends_with(&told), "{}", status.message());
    assert!(header_bytes(&status) < 8 << 10, "{} bytes", header_bytes(&status));

    let long = "龙".repeat(10_000);
    let one = invalid_field(long.clone(), long.clone());
    assert_eq!(bad_fields(&one).len(), 1);
    assert!(header_bytes(&one) < 8 << 10, "{} bytes", header_bytes(&one));
    let refusal = error(Code::NotFound, "tael.test", "SOME", long.clone(), [("merchant_id", long)]);
    assert!(header_bytes(&refusal) < 8 << 10, "{} bytes", header_bytes(&refusal));
}

#[test]
fn ids_are_of_their_kind() {
    let id = MerchantId::new();
    let read = |text: &str| bad(|f| f.id::<MerchantId>("id", text));
    assert_eq!(read(&id.to_string()), GOOD);
    for text in ["", "x", &OrderId::new().to_string(), &id.to_string().to_uppercase(), "mer_", "mer_é"] {
        assert_eq!(read(text), ["id"], "{text}");
    }
    assert_eq!(bad(|f| f.optional_id::<MerchantId>("id", "")), GOOD);
    assert_eq!(bad(|f| f.optional_id::<MerchantId>("id", "x")), ["id"]);
}

#[test]
fn texts_are_counted_in_characters_and_are_what_they_look_like() {
    let read = |text: &str| bad(|f| f.text("t", text, 1..=4));
    assert_eq!(read("龙井茶!"), GOOD);
    for text in ["", "龙井茶叶五", " a", "a\u{3000}", "a\nb", "a\0", "\u{7f}"] {
        assert_eq!(read(text), ["t"], "{text:?}");
    }
    assert_eq!(bad(|f| f.text("t", "", 0..=4)), GOOD);
}

#[test]
fn amounts_name_the_part_that_is_bad() {
    let mut fields = Fields::default();
    assert_eq!(fields.positive_money("m", Some(&money(5, "CNY"))), Some(Money::new(5, Currency::CNY)));
    let positive = |m: wire::Money| bad(|f| f.positive_money("m", Some(&m)));
    assert_eq!(bad(|f| f.positive_money("m", None)), ["m"]);
    assert_eq!(positive(money(5, "")), ["m.currency"]);
    assert_eq!(positive(money(5, "XXX")), ["m.currency"]);
    assert_eq!(positive(money(5, "cny")), ["m.currency"]);
    assert_eq!(positive(money(0, "CNY")), ["m.minor"]);
    assert_eq!(positive(money(i64::MIN, "CNY")), ["m.minor"]);
    let not_negative = |m: wire::Money| bad(|f| f.money_not_negative("m", Some(&m)));
    assert_eq!(not_negative(money(0, "JPY")), GOOD);
    assert_eq!(not_negative(money(-1, "JPY")), ["m.minor"]);
    assert_eq!(bad(|f| f.money("m", Some(&money(-1, "KWD")))), GOOD);
}

#[test]
fn numbers_choices_and_times_have_bounds() {
    assert_eq!(bad(|f| f.number("n", 100, 1..=100)), GOOD);
    assert_eq!(bad(|f| f.number("n", 101, 1..=100)), ["n"]);
    assert_eq!(bad(|f| f.choice::<PaymentState>("c", 2)), GOOD);
    assert_eq!(bad(|f| f.choice::<PaymentState>("c", 0)), ["c"]);
    assert_eq!(bad(|f| f.choice::<PaymentState>("c", -7)), ["c"]);
    let time = |seconds, nanos| {
        let time = prost_types::Timestamp { seconds, nanos };
        bad(|f| f.timestamp("t", Some(&time)))
    };
    assert_eq!(time(1_790_000_000, 999_999_999), GOOD);
    assert_eq!(time(1_790_000_000, 1_000_000_000), ["t"]);
    assert_eq!(time(1_790_000_000, -1), ["t"]);
    assert_eq!(time(i64::MAX, 0), ["t"]);
    assert_eq!(bad(|f| f.timestamp("t", None)), ["t"]);
}

#[test]
fn times_come_back_as_they_were_written_also_before_1970() {
    for nanoseconds in [0, 1, -1, 999_999_999, -1_000_000_000, -1_500_000_000, 1_790_000_000_123_456_789] {
        let time = jiff::Timestamp::from_nanosecond(nanoseconds).unwrap();
        let wire = tael_grpc::convert::timestamp(time);
        assert!((0..1_000_000_000).contains(&wire.nanos), "{wire:?}");
        let mut fields = Fields::default();
        let read = fields.timestamp("t", Some(&wire));
        assert_eq!(fields.finish(|| read).unwrap(), time);
    }
}

#[test]
fn a_reader_that_forgot_to_note_its_field_is_no_panic() {
    assert_eq!(bad(|_| None::<()>), ["request"]);
}

#[test]
fn what_reads_as_another_text_is_refused_and_what_scripts_need_is_not() {
    for (text, good) in [
        ("茶 & Tea", true),
        ("👩‍🌾 می‌خواهم", true),
        ("shop\u{202e}gnp.exe", false),
        ("pay\u{200b}pal", false),
        ("two\u{2028}lines", false),
        ("\u{feff}bom", false),
        ("bell\u{7}", false),
    ] {
        let mut fields = Fields::default();
        assert_eq!(fields.text("name", text, 1..=64).is_some(), good, "{text:?}");
    }
}
