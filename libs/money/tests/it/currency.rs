use tael_money::{Currency, UnknownCurrency};

#[test]
fn exponents_are_those_of_iso_4217() {
    for (code, exponent, per_major) in
        [("CNY", 2, 100), ("USD", 2, 100), ("JPY", 0, 1), ("KRW", 0, 1), ("KWD", 3, 1000), ("BHD", 3, 1000)]
    {
        let currency = Currency::parse(code).unwrap();
        assert_eq!((currency.code(), currency.exponent()), (code, exponent));
        assert_eq!(currency.minor_per_major(), per_major);
    }
    assert_eq!(Currency::parse("KWD").unwrap(), Currency::KWD);
}

#[test]
fn every_currency_is_found_by_its_own_code() {
    assert!(Currency::all().count() > 150);
    for currency in Currency::all() {
        assert_eq!(currency.to_string().parse::<Currency>(), Ok(currency));
        assert!([0, 2, 3].contains(&currency.exponent()));
    }
}

#[test]
fn anything_else_is_unknown() {
    for text in ["", "cny", "CN", "CNYY", " CNY", "RMB", "XXX", "XAU", "CLF", "UYW", "元", "\0\0\0"] {
        assert_eq!(Currency::parse(text), Err(UnknownCurrency), "{text:?}");
    }
}
