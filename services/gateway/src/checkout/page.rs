//! HTML, from the templates embedded in the binary.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::response::{Html, IntoResponse as _, Response};
use http::header::CONTENT_SECURITY_POLICY;
use http::{StatusCode, Uri};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use tael_grpc::status::Chain;
use tael_ids::PaymentId;

use crate::checkout::i18n::{messages, notice};
use crate::checkout::language::Language;
use crate::checkout::view::{Checkout, PayerAction, State};
use crate::checkout::{price, qr};

/// Why there is no payment to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No payment has this id.
    Unknown,
    /// It can't be said right now.
    Unavailable,
}

/// Values are escaped for HTML in every template whose name ends in ".html".
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in [
        ("layout.html", include_str!("../../templates/layout.html")),
        ("checkout.html", include_str!("../../templates/checkout.html")),
        ("problem.html", include_str!("../../templates/problem.html")),
        ("style.css", include_str!("../../templates/style.css")),
        ("checkout.js", include_str!("../../templates/checkout.js")),
    ] {
        templates.add_template(name, source).expect("the templates are part of the program");
    }
    templates
});

/// The page of a payment.
pub(crate) fn checkout(language: Language, id: PaymentId, checkout: &Checkout) -> Response {
    let messages = messages(language);
    let mut shown = Shown::default();
    match &checkout.state {
        State::Pending(PayerAction::QrCode(qr_code)) => match qr::svg(qr_code, messages.qr_label) {
            Ok(svg) => {
                shown.qr = Some(Value::from_safe_string(svg));
                shown.wallet_link = web_link(qr_code);
            }
            Err(error) => {
                tracing::error!(tael.payment_id = %id, error = %Chain(&error), "a QR code can't be drawn");
                return problem(language, Problem::Unavailable);
            }
        },
        State::Pending(PayerAction::Redirect { url, form }) => {
            let Some(origin) = origin(url) else {
                tracing::error!(tael.payment_id = %id, "the address that a payer must go to is no web address");
                return problem(language, Problem::Unavailable);
            };
            shown.redirect = Some(Redirection { url, form });
            shown.form_origin = origin;
        }
        State::Pending(PayerAction::Instructions { reference, details }) => {
            shown.instructions = Some(Instructions { reference, details });
        }
        State::Pending(PayerAction::GoBack | PayerAction::Wait)
        | State::Preparing
        | State::Succeeded
        | State::Closed
        | State::Failed(_) => {}
    }
    let values = context! {
        messages,
        lang => language.tag(),
        subject => checkout.subject,
        currency => checkout.amount.currency().code(),
        number => price::number(checkout.amount),
        notice => notice(language, checkout),
        poll => format!("/checkout/{id}/state?lang={}", language.tag()),
        qr => shown.qr,
        wallet_link => shown.wallet_link,
        redirect => shown.redirect,
        instructions => shown.instructions,
    };
    respond(StatusCode::OK, "checkout.html", &shown.form_origin, values)
}

/// What the page shows of the payer's action; a part of it for each kind.
#[derive(Debug, Default)]
struct Shown<'a> {
    qr: Option<Value>,
    wallet_link: Option<&'a str>,
    redirect: Option<Redirection<'a>>,
    /// Where a form may go, beside nowhere.
    form_origin: String,
    instructions: Option<Instructions<'a>>,
}

#[derive(Debug, Serialize)]
struct Redirection<'a> {
    url: &'a str,
    form: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Instructions<'a> {
    reference: &'a str,
    details: &'a BTreeMap<String, String>,
}

/// The page that says that there is none.
pub(crate) fn problem(language: Language, problem: Problem) -> Response {
    let messages = messages(language);
    let (status, title, detail) = match problem {
        Problem::Unknown => (StatusCode::NOT_FOUND, messages.not_found, messages.not_found_detail),
        Problem::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, messages.unavailable, messages.unavailable_detail)
        }
    };
    respond(status, "problem.html", "", context! { messages, lang => language.tag(), title, detail })
}

/// What a wallet's code says is a link that opens the wallet on the phone itself, if it is a web address.
fn web_link(qr_code: &str) -> Option<&str> {
    (qr_code.starts_with("https://") || qr_code.starts_with("http://")).then_some(qr_code)
}

/// The origin of a web address, as a content security policy names it; none of anything else.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    // Nothing that would end a directive, or be a user's name.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let is_web = matches!(scheme, "https" | "http") && authority.bytes().all(is_plain);
    is_web.then(|| format!("{scheme}://{authority}"))
}

fn respond(status: StatusCode, template: &str, form_origin: &str, values: impl Serialize) -> Response {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let page = TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(context! { nonce, ..Value::from_serialize(values) }))
        .expect("every value that the template names is given");
    let form_action = if form_origin.is_empty() { "'none'" } else { form_origin };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    );
    (status, [(CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_web_address_has_an_origin() {
        for (url, expected) in [
            ("https://pay.example/a?b=c", Some("https://pay.example")),
            ("http://127.0.0.1:8080/pay", Some("http://127.0.0.1:8080")),
            ("javascript:alert(1)", None),
            ("/pay", None),
            ("https://user@pay.example/", None),
            ("https://pay.example;script-src/", None),
            ("ftp://pay.example/", None),
            ("", None),
        ] {
            assert_eq!(origin(url).as_deref(), expected, "{url}");
        }
    }
}
