//! What a channel's URLs say.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, InvalidUri, Parts, PathAndQuery, Scheme};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Identity;

/// Why a channel can't be made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// The text is no URL.
    #[error("{0:?} is not a URL")]
    Malformed(String, #[source] InvalidUri),
    /// The URL is of another kind.
    #[error("{0:?} is not of the form http://host:port or https://host:port")]
    Unsupported(String),
    /// There is no certificate to show.
    #[error("{0:?} needs certificates")]
    NoIdentity(String),
    /// The list is empty.
    #[error("there is no URL")]
    None,
}

/// One URL.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
    /// As it is sent in `:authority`.
    pub(super) authority: Authority,
    /// How it proves who it is, and we who we are; none without TLS.
    pub(super) security: Option<Security>,
}

impl Target {
    /// Where a method is found.
    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(if self.security.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("it has all three parts")
    }
}

/// TLS with one peer.
#[derive(Clone)]
pub(super) struct Security {
    identity: Identity,
    /// What the peer's certificate must be for.
    name: ServerName<'static>,
}

impl Security {
    /// Shakes hands with the certificates of this moment.
    pub(super) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.identity.client_config()).connect(self.name.clone(), stream).await
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// It is always this address.
    Address(IpAddr),
    /// Its addresses are looked up.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Reads URLs that are separated by commas.
pub(super) fn parse(urls: &str, identity: Option<&Identity>) -> Result<Vec<Target>, InvalidUrl> {
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let targets = urls.map(|url| parse_one(url, identity)).collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() { Err(InvalidUrl::None) } else { Ok(targets) }
}

fn parse_one(url: &str, identity: Option<&Identity>) -> Result<Target, InvalidUrl> {
    let uri: Uri = url.parse().map_err(|error| InvalidUrl::Malformed(url.to_owned(), error))?;
    let unsupported = || InvalidUrl::Unsupported(url.to_owned());
    let (default_port, secure) = match uri.scheme_str() {
        Some("http") => (80, false),
        Some("https") => (443, true),
        Some(_) | None => return Err(unsupported()),
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(unsupported)?.clone();
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(unsupported());
    }
    // An address of version 6 stands in brackets.
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        return Err(unsupported());
    }
    let host = name.parse().map_or_else(|_| Host::Name(name.to_owned()), Host::Address);
    let port = authority.port_u16().unwrap_or(default_port);
    let security = match (secure, identity) {
        (false, _) => None,
        (true, None) => return Err(InvalidUrl::NoIdentity(url.to_owned())),
        (true, Some(identity)) => {
            let name = ServerName::try_from(name.to_owned()).map_err(|_| unsupported())?;
            Some(Security { identity: identity.clone(), name })
        }
    };
    Ok(Target { host, port, authority, security })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(urls: &str) -> Result<Vec<(String, u16)>, String> {
        let targets = parse(urls, None).map_err(|error| error.to_string())?;
        Ok(targets.into_iter().map(|target| (target.host.to_string(), target.port)).collect())
    }

    #[test]
    fn a_list_of_hosts_and_addresses_reads() {
        let read =
            read("http://order:50051, http://10.0.0.7:1,http://[::1]:2/,http://order.tael.svc").unwrap();
        let expected = [("order", 50051), ("10.0.0.7", 1), ("::1", 2), ("order.tael.svc", 80)];
        assert_eq!(read, expected.map(|(host, port)| (host.to_owned(), port)));
        assert!(matches!(parse("http://[::1]:2", None).unwrap()[0].host, Host::Address(_)));
    }

    #[test]
    fn what_is_no_address_of_a_service_is_named() {
        let bad =
            ["order:50051", "ftp://order", "http://order/path", "http://order?q", "http://me@order", "/"];
        for bad in bad {
            assert!(read(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
        assert_eq!(read(" , "), Err("there is no URL".to_owned()));
        assert_eq!(read("https://order:1"), Err("\"https://order:1\" needs certificates".to_owned()));
    }
}
