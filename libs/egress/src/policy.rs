//! Which URLs may be called.

use std::str::FromStr;
use std::sync::Arc;

use tael_config::Env;
use url::{Host, Url};

use crate::address::{is_public, may_be_public};

/// The longest URL, in characters.
const MAX_URL: usize = 2048;
/// The port that the platform's network policy lets out.
const HTTPS: u16 = 443;

/// Which addresses may be called on behalf of somebody outside. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Policy {
    allow_local: bool,
    ports: Arc<[u16]>,
    /// None for every host.
    hosts: Option<&'static [&'static str]>,
}

/// Why a URL may not be called; completes the sentence "the URL …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is empty.
    #[error("is missing")]
    Missing,
    /// It has more than 2048 characters, also after other scripts' letters were encoded.
    #[error("must have at most 2048 characters")]
    TooLong,
    /// It is not an absolute URL with a host.
    #[error("is not an absolute URL")]
    Malformed,
    /// Its scheme is not https.
    #[error("must begin with https://")]
    Scheme,
    /// It holds a user name or a password.
    #[error("must not hold a user name or password")]
    Credentials,
    /// It holds a fragment.
    #[error("must not hold a fragment")]
    Fragment,
    /// Its host is certainly none of the internet's.
    #[error("must not lead to a private address")]
    Private,
    /// Nothing leaves the platform to its port.
    #[error("must not name another port than that of https")]
    Port,
    /// Its host is not one of those that this call is meant for.
    #[error("must name a host of this channel")]
    Host,
}

/// A list of ports is not one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected ports from 1 to 65535, separated by commas")]
pub struct PortsError;

struct Ports(Arc<[u16]>);

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0).ok_or(PortsError);
        text.split(',').map(port).collect::<Result<_, _>>().map(Self)
    }
}

impl Policy {
    /// Only https, only port 443, only public addresses: what leaves a production platform.
    pub fn strict() -> Self {
        Self { allow_local: false, ports: [HTTPS].into(), hosts: None }
    }

    /// Everything, also http and the machine's own network: for development and tests.
    pub fn development() -> Self {
        Self { allow_local: true, ..Self::strict() }
    }

    /// Reads `TAEL_EGRESS_ALLOW_LOCAL`: http, any port and addresses that are not public are accepted as well; for
    /// development, not by default. And `TAEL_EGRESS_PORTS`: the ports that the network policy lets out, `443` by default.
    pub fn read(env: &mut Env) -> Self {
        let Ports(ports) = env.or("TAEL_EGRESS_PORTS", Ports([HTTPS].into()));
        Self { allow_local: env.flag("TAEL_EGRESS_ALLOW_LOCAL", false), ports, hosts: None }
    }

    /// The same with other ports.
    #[must_use]
    pub fn with_ports(self, ports: &[u16]) -> Self {
        Self { ports: ports.into(), ..self }
    }

    /// The same for these hosts alone: a name, or `*.` and a name for all below it. Where local addresses are allowed every
    /// host is, as simulated channels have none of the real ones' names.
    #[must_use]
    pub fn only(self, hosts: &'static [&'static str]) -> Self {
        Self { hosts: Some(hosts), ..self }
    }

    /// Whether addresses that are not public, http and all ports are accepted.
    pub fn allows_local(&self) -> bool {
        self.allow_local
    }

    /// Reads a URL that somebody names. A host's name is judged by itself here; what it resolves to is judged whenever it is
    /// resolved.
    pub fn parse(&self, text: &str) -> Result<Url, Refusal> {
        if text.is_empty() {
            return Err(Refusal::Missing);
        }
        if text.chars().count() > MAX_URL {
            return Err(Refusal::TooLong);
        }
        let url = Url::parse(text).map_err(|_| Refusal::Malformed)?;
        // As it is stored and sent: other scripts' letters take several characters each.
        if url.as_str().len() > MAX_URL {
            return Err(Refusal::TooLong);
        }
        if url.fragment().is_some() {
            return Err(Refusal::Fragment);
        }
        self.check(&url).map(|()| url)
    }

    /// Judges a URL, as far as that is possible without resolving its host.
    pub fn check(&self, url: &Url) -> Result<(), Refusal> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_local => {}
            _ => return Err(Refusal::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let host = url.host().ok_or(Refusal::Malformed)?;
        if self.allow_local {
            return Ok(());
        }
        let may_be_public = match host {
            Host::Domain(name) => may_be_public(name),
            Host::Ipv4(address) => is_public(address.into()),
            Host::Ipv6(address) => is_public(address.into()),
        };
        if !may_be_public {
            return Err(Refusal::Private);
        }
        if !self.hosts.is_none_or(|hosts| hosts.iter().any(|allowed| is_host(&host, allowed))) {
            return Err(Refusal::Host);
        }
        if !url.port_or_known_default().is_some_and(|port| self.ports.contains(&port)) {
            return Err(Refusal::Port);
        }
        Ok(())
    }

    /// Turns http into https where http is not allowed, for links that others write: the file is the same, and its way is
    /// not read by everybody.
    #[must_use]
    pub fn upgrade(&self, mut url: Url) -> Url {
        if !self.allow_local && url.scheme() == "http" && url.port().is_none() {
            // From http to https it cannot fail.
            let _ = url.set_scheme("https");
        }
        url
    }
}

fn is_host(host: &Host<&str>, allowed: &str) -> bool {
    let Host::Domain(name) = host else { return false };
    let name = name.trim_end_matches('.');
    match allowed.strip_prefix('*') {
        // With its dot, so that "notalipay.com" is not below "alipay.com".
        Some(below) => name.len() > below.len() && name.ends_with(below),
        None => name == allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms in which an address inside was asked for, beside many others that end as one of them.
    const PRIVATE: [&str; 24] = [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/", // 127.0.0.1 as one number
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::1]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://localhost/",
        "https://a.LOCALHOST./",
        "https://payment:50052/",
        "https://payment.tael.svc.cluster.local/",
    ];

    #[test]
    fn addresses_inside_are_refused() {
        for text in PRIVATE {
            assert_eq!(Policy::strict().parse(text), Err(Refusal::Private), "{text}");
            assert!(Policy::development().parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn urls_are_read_by_the_policy() {
        let policy = Policy::strict();
        for (text, expected) in [
            ("https://shop.example/hooks?from=tael", Ok(())),
            ("https://shop.example:443/", Ok(())),
            ("https://8.8.8.8/", Ok(())),
            ("", Err(Refusal::Missing)),
            ("/hooks", Err(Refusal::Malformed)),
            ("https://", Err(Refusal::Malformed)),
            ("http://shop.example/", Err(Refusal::Scheme)),
            ("ftp://shop.example/", Err(Refusal::Scheme)),
            ("file:///etc/passwd", Err(Refusal::Scheme)),
            ("gopher://127.0.0.1:6379/_FLUSHALL", Err(Refusal::Scheme)),
            ("https://user@shop.example/", Err(Refusal::Credentials)),
            ("https://:secret@shop.example/", Err(Refusal::Credentials)),
            ("https://shop.example/#top", Err(Refusal::Fragment)),
            ("https://shop.example:8443/", Err(Refusal::Port)),
            ("https://shop.example:22/", Err(Refusal::Port)),
        ] {
            assert_eq!(policy.parse(text).map(drop), expected, "{text}");
        }
        let long = format!("https://shop.example/{}", "a".repeat(2048));
        assert_eq!(policy.parse(&long), Err(Refusal::TooLong));
        let long_when_encoded = format!("https://shop.example/{}", "店".repeat(300));
        assert_eq!(policy.parse(&long_when_encoded), Err(Refusal::TooLong));
        assert!(policy.with_ports(&[443, 8443]).parse("https://shop.example:8443/").is_ok());
    }

    #[test]
    fn a_call_may_be_meant_for_few_hosts() {
        let channel = Policy::strict().only(&["openapi.alipay.com", "*.alipaydev.com"]);
        for allowed in ["https://openapi.alipay.com/gateway.do", "https://openapi-sandbox.dl.alipaydev.com/"]
        {
            assert!(channel.parse(allowed).is_ok(), "{allowed}");
        }
        for other in [
            "https://alipay.com/",
            "https://alipaydev.com/",
            "https://notalipaydev.com/",
            "https://openapi.alipay.com.evil.example/",
            "https://8.8.8.8/",
        ] {
            assert_eq!(channel.parse(other), Err(Refusal::Host), "{other}");
        }
        let development = Policy::development().only(&["openapi.alipay.com"]);
        assert!(development.parse("http://127.0.0.1:8080/gateway.do").is_ok());
    }

    #[test]
    fn links_are_upgraded_to_https() {
        let upgraded = |policy: Policy, text: &str| policy.upgrade(text.parse().unwrap()).to_string();
        assert_eq!(upgraded(Policy::strict(), "http://files.example/a?b=c"), "https://files.example/a?b=c");
        assert_eq!(upgraded(Policy::strict(), "http://files.example:8080/"), "http://files.example:8080/");
        assert_eq!(upgraded(Policy::development(), "http://127.0.0.1/"), "http://127.0.0.1/");
    }

    #[test]
    fn the_environment_is_strict_unless_it_says_otherwise() {
        let read = |variables: &[(&str, &str)]| {
            let mut env = Env::from_map(
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            );
            let policy = Policy::read(&mut env);
            env.finish(|| Some(policy))
        };
        let strict = read(&[]).unwrap();
        assert_eq!(strict.parse("https://127.0.0.1/"), Err(Refusal::Private));
        assert_eq!(strict.parse("https://shop.example:8443/"), Err(Refusal::Port));
        let ports = read(&[("TAEL_EGRESS_PORTS", "443, 8443")]).unwrap();
        assert!(ports.parse("https://shop.example:8443/").is_ok());
        assert!(read(&[("TAEL_EGRESS_ALLOW_LOCAL", "true")]).unwrap().parse("http://127.0.0.1:1/").is_ok());
        for ports in ["0", "443,", "https", "65536"] {
            assert!(read(&[("TAEL_EGRESS_PORTS", ports)]).is_err(), "{ports}");
        }
    }
}
