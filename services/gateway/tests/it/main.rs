//! The gateway as channels and browsers see it: real HTTP in front, a payment service of the tests' own behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod callback;
mod checkout;
mod config;
mod edge;
mod health;
mod payment;
mod process;
mod trace;

use std::net::{Ipv4Addr, SocketAddr};

use payment::Payment;
use reqwest::{Client, RequestBuilder, Response};
use tael_clock::Clock;
use tael_gateway::{App, Config, Limits};
use tael_testkit::Running;

/// A gateway and the payment service behind it.
struct Fixture {
    payment: Payment,
    gateway: Running,
    browser: Client,
}

impl Fixture {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let payment = Payment::start().await;
        let gateway = gateway(payment.url(), limits).await;
        Self { payment, gateway, browser: Client::new() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url())
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.browser.get(self.url(path))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.browser.post(self.url(path))
    }
}

async fn gateway(payment_url: String, limits: Limits) -> Running {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    tael_testkit::run::<App>(Config { listen, payment_url, tls: None, limits }, Clock::system()).await
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
}
