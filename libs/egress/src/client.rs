//! Calls that keep to a policy.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::Method;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{ClientBuilder, RequestBuilder, redirect};
use url::Url;

use crate::address::is_public;
use crate::policy::{Policy, Refusal};

/// Makes calls to addresses that a policy allows. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    policy: Policy,
}

/// Why a call had no answer, in words for who named its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The URL is not allowed, its host leads to no public address, or to none.
    NotPublic,
    /// It took too long.
    Timeout,
    /// Nobody took the connection, or not with a certificate that can be trusted.
    NotConnected,
    /// What came is no HTTP answer.
    NoAnswer,
}

impl Client {
    /// Builds a client whose time-outs, pool and name are `settings`'; its resolver, redirects and proxies are not theirs to
    /// say.
    pub fn new(policy: Policy, settings: ClientBuilder) -> Result<Self, reqwest::Error> {
        Self::with_lookup(policy, settings, Arc::new(|name| Box::pin(lookup(name))))
    }

    fn with_lookup(policy: Policy, settings: ClientBuilder, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let resolver = PublicResolver { allow_local: policy.allows_local(), lookup };
        let http = settings
            .redirect(redirect::Policy::none())
            // A proxy of the environment would resolve names by itself.
            .no_proxy()
            .dns_resolver(Arc::new(resolver))
            .build()?;
        Ok(Self { http, policy })
    }

    /// The same client, over the same connections, for these hosts alone ([`Policy::only`]).
    #[must_use]
    pub fn only(&self, hosts: &'static [&'static str]) -> Self {
        Self { http: self.http.clone(), policy: self.policy.clone().only(hosts) }
    }

    /// What this client keeps to.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Begins a request, unless the policy refuses its URL.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Refusal> {
        // A literal address is not resolved, so it is judged here.
        self.policy.check(&url)?;
        Ok(self.http.request(method, url))
    }
}

impl Failure {
    /// Says why a request failed.
    pub fn of(error: &reqwest::Error) -> Self {
        let mut source: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = source {
            if cause.is::<NotPublic>() {
                return Self::NotPublic;
            }
            source = cause.source();
        }
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::NotConnected
        } else {
            Self::NoAnswer
        }
    }

    /// Some fixed words; never the error itself, whose text may hold the URL, and that a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPublic => "no public address",
            Self::Timeout => "timeout",
            Self::NotConnected => "connection failed",
            Self::NoAnswer => "no valid answer",
        }
    }
}

/// A name leads to no address that may be connected to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no public address")]
struct NotPublic;

type Lookup =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

async fn lookup(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

/// Resolves names to public addresses only. The connection is made to what this returns and the name is not resolved a
/// second time, so that no other answer can come in between.
struct PublicResolver {
    allow_local: bool,
    lookup: Lookup,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_local = self.allow_local;
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            // A name that does not exist is told like one that may not be connected to.
            let mut addresses = found.await.map_err(|_| NotPublic)?;
            addresses.retain(|address| allow_local || is_public(address.ip()));
            if addresses.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A DNS in which every name leads to this address.
    fn leading_to(address: &str) -> Lookup {
        let address = SocketAddr::new(address.parse().unwrap(), 0);
        Arc::new(move |_| Box::pin(async move { Ok(vec![address]) }))
    }

    fn client(policy: Policy, lookup: Lookup) -> Client {
        Client::with_lookup(policy, reqwest::Client::builder().timeout(Duration::from_secs(5)), lookup)
            .unwrap()
    }

    async fn failure(client: &Client, url: &str) -> Failure {
        let request = client.request(Method::GET, url.parse().unwrap()).unwrap();
        Failure::of(&request.send().await.unwrap_err())
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let policy = Policy::strict().with_ports(&[port]);
        for inside in
            ["127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"]
        {
            let client = client(policy.clone(), leading_to(inside));
            let told = failure(&client, &format!("https://rebound.example:{port}/")).await;
            assert_eq!(told, Failure::NotPublic, "{inside}");
        }
        // Nobody knocked.
        assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err());
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_like_one_that_leads_inside() {
        let nowhere: Lookup = Arc::new(|_| Box::pin(async { Err(io::Error::other("no such name")) }));
        let told = failure(&client(Policy::strict(), nowhere), "https://rebound.example/").await;
        assert_eq!((told, told.as_str()), (Failure::NotPublic, "no public address"));
    }

    #[tokio::test]
    async fn a_literal_address_is_judged_before_the_request() {
        let client = client(Policy::strict(), leading_to("8.8.8.8"));
        for (url, expected) in [
            ("https://127.0.0.1/", Refusal::Private),
            ("https://[::1]/", Refusal::Private),
            ("https://payment:50052/", Refusal::Private),
            ("http://shop.example/", Refusal::Scheme),
            ("https://shop.example:22/", Refusal::Port),
        ] {
            assert_eq!(client.request(Method::GET, url.parse().unwrap()).err(), Some(expected), "{url}");
        }
        let channel = client.only(&["*.channel.example"]);
        let elsewhere = channel.request(Method::GET, "https://elsewhere.example/".parse().unwrap());
        assert_eq!(elsewhere.err(), Some(Refusal::Host));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://shop.example:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 16]).await.unwrap();
            let answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            std::future::pending::<()>().await;
        });
        let client = client(Policy::development(), leading_to("127.0.0.1"));
        let answer = client.request(Method::GET, url.parse().unwrap()).unwrap().send().await.unwrap();
        assert_eq!(answer.status(), 302);
    }

    #[tokio::test]
    async fn nobody_at_home_is_told_apart() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let client = client(Policy::development(), leading_to("127.0.0.1"));
        assert_eq!(failure(&client, &format!("http://shop.example:{port}/")).await, Failure::NotConnected);
    }
}
