//! HTML, from the templates embedded in the binary.

use std::sync::LazyLock;

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_SECURITY_POLICY;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use tael_grpc::status::Chain;
use tael_ids::PaymentId;

use crate::checkout::i18n::{messages, notice};
use crate::checkout::language::Language;
use crate::checkout::view::{Checkout, State};
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
    let (qr, wallet_link) = match &checkout.state {
        State::Pending { qr_code } => match qr::svg(qr_code, messages.qr_label) {
            Ok(svg) => (Some(Value::from_safe_string(svg)), web_link(qr_code)),
            Err(error) => {
                tracing::error!(tael.payment_id = %id, error = %Chain(&error), "a QR code can't be drawn");
                return problem(language, Problem::Unavailable);
            }
        },
        State::Preparing | State::Succeeded | State::Closed | State::Failed(_) => (None, None),
    };
    let values = context! {
        messages,
        lang => language.tag(),
        subject => checkout.subject,
        currency => checkout.amount.currency().code(),
        number => price::number(checkout.amount),
        notice => notice(language, checkout),
        poll => format!("/checkout/{id}/state?lang={}", language.tag()),
        qr,
        wallet_link,
    };
    respond(StatusCode::OK, "checkout.html", values)
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
    respond(status, "problem.html", context! { messages, lang => language.tag(), title, detail })
}

/// What a wallet's code says is a link that opens the wallet on the phone itself, if it is a web address.
fn web_link(qr_code: &str) -> Option<&str> {
    (qr_code.starts_with("https://") || qr_code.starts_with("http://")).then_some(qr_code)
}

fn respond(status: StatusCode, template: &str, values: impl Serialize) -> Response {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let page = TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(context! { nonce, ..Value::from_serialize(values) }))
        .expect("every value that the template names is given");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (status, [(CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}
