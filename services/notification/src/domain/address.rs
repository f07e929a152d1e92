//! To which addresses a webhook may go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The longest URL, in characters.
const MAX_URL: usize = 2048;

/// Which URLs are accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// http is accepted beside https.
    pub(crate) allow_http: bool,
    /// Addresses that are not public are accepted.
    pub(crate) allow_private: bool,
}

/// Why a URL is not accepted; completes the sentence "the URL …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("is missing")]
    Missing,
    #[error("must have at most 2048 characters")]
    TooLong,
    #[error("is not an absolute URL")]
    Malformed,
    #[error("must begin with https://")]
    Scheme,
    #[error("must not hold a user name or password")]
    Credentials,
    #[error("must not hold a fragment")]
    Fragment,
    #[error("must not lead to a private address")]
    Private,
}

impl Rules {
    /// Reads a URL. A host name is accepted here; what it resolves to is judged whenever it is resolved.
    pub(crate) fn parse(self, text: &str) -> Result<Url, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Missing);
        }
        if text.chars().count() > MAX_URL {
            return Err(UrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        // As it is stored and sent: other scripts' letters take several characters each.
        if url.as_str().len() > MAX_URL {
            return Err(UrlError::TooLong);
        }
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(UrlError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        if self.allows_host(&url) { Ok(url) } else { Err(UrlError::Private) }
    }

    /// Says whether the URL's host may be connected to, as far as that can be said without resolving it.
    pub(crate) fn allows_host(self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                // RFC 6761: these names are the machine's own.
                self.allow_private || !(name == "localhost" || name.ends_with(".localhost"))
            }
            Some(Host::Ipv4(address)) => self.allows(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.allows(IpAddr::V6(address)),
            None => false,
        }
    }

    /// Says whether an address may be connected to.
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }
}

/// Says whether an address is reachable for everybody: not private, local, shared, reserved, for documentation or for
/// groups, by the IANA special-purpose address registries (RFC 6890 and its updates).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127 | 224..=255, _, _)            // this network, private, loopback, multicast and reserved
        | (100, 64..=127, _)                        // shared by a carrier's customers (CGNAT)
        | (169, 254, _)                             // link-local, also where clouds serve their metadata
        | (172, 16..=31, _) | (192, 168, _)         // private
        | (192, 0, 0 | 2) | (192, 88, 99)           // protocol assignments, documentation, 6to4 relays
        | (198, 18..=19, _) | (198, 51, 100)        // benchmarks, documentation
        | (203, 0, 113) => true,                    // documentation
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [_, _, _, _, _, _, high, low] = segments;
    match segments {
        // NAT64 leads to the IPv4 address at its end (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => is_public_v4(v4(high, low)),
        // 6to4 leads to the IPv4 address that follows the prefix (RFC 3056).
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Protocol assignments, among them Teredo, and documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Only 2000::/3 is given out for global unicast (RFC 4291); outside are loopback, mapped IPv4, local, groups.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules { allow_http: false, allow_private: false };

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2400:3200::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "3fff:1000::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn urls_are_read_by_the_rules() {
        for (text, expected) in [
            ("https://shop.example/hooks?from=tael", Ok(())),
            ("https://8.8.8.8:8443/", Ok(())),
            ("", Err(UrlError::Missing)),
            ("/hooks", Err(UrlError::Malformed)),
            ("https://", Err(UrlError::Malformed)),
            ("http://shop.example/", Err(UrlError::Scheme)),
            ("ftp://shop.example/", Err(UrlError::Scheme)),
            ("file:///etc/passwd", Err(UrlError::Scheme)),
            ("https://user@shop.example/", Err(UrlError::Credentials)),
            ("https://:secret@shop.example/", Err(UrlError::Credentials)),
            ("https://shop.example/#top", Err(UrlError::Fragment)),
            ("https://127.0.0.1/", Err(UrlError::Private)),
            ("https://2130706433/", Err(UrlError::Private)), // 127.0.0.1 as one number
            ("https://0x7f.1/", Err(UrlError::Private)),
            ("https://[::1]/", Err(UrlError::Private)),
            ("https://[::ffff:10.0.0.1]/", Err(UrlError::Private)),
            ("https://localhost/", Err(UrlError::Private)),
            ("https://LOCALHOST./", Err(UrlError::Private)),
            ("https://a.localhost/", Err(UrlError::Private)),
        ] {
            assert_eq!(STRICT.parse(text).map(drop), expected, "{text}");
        }
        let long = format!("https://shop.example/{}", "a".repeat(2048));
        assert_eq!(STRICT.parse(&long), Err(UrlError::TooLong));
        let long_when_encoded = format!("https://shop.example/{}", "店".repeat(300));
        assert_eq!(STRICT.parse(&long_when_encoded), Err(UrlError::TooLong));
    }

    #[test]
    fn development_may_allow_more() {
        let open = Rules { allow_http: true, allow_private: true };
        assert!(open.parse("http://127.0.0.1:8080/hooks").is_ok());
        assert!(open.parse("http://localhost/hooks").is_ok());
    }
}
