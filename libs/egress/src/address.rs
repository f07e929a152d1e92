//! Which addresses and names are everybody's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The last labels of names that no public DNS serves: the machine's own (RFC 6761), the local network's (RFC 6762,
/// RFC 8375), those that resolvers of private networks use, and Kubernetes' before its search domains complete them.
const LOCAL_SUFFIXES: [&str; 8] =
    ["localhost", "local", "home.arpa", "internal", "intranet", "lan", "svc", "onion"];

/// Whether an address is reachable for everybody: not private, local, shared, reserved, for documentation or for groups, by
/// the IANA special-purpose address registries (RFC 6890 and its updates).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Whether a name could lead to a public address, as far as the name itself tells.
pub(crate) fn may_be_public(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends_in = |suffix: &str| name.strip_suffix(suffix).is_some_and(|front| front.ends_with('.'));
    // A name of one label is a service beside us, or the machine itself.
    name.contains('.') && !LOCAL_SUFFIXES.into_iter().any(ends_in)
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
    fn names_of_the_platform_s_own_network_are_local() {
        for local in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "payment",
            "postgres-rw.",
            "payment.tael.svc",
            "payment.tael.svc.cluster.local",
            "printer.local",
            "metadata.google.internal",
            "router.home.arpa",
            "nas.lan",
        ] {
            assert!(!may_be_public(local), "{local}");
        }
        for public in ["shop.example", "openapi.alipay.com", "local.example", "mylocal.example", "sub.svcs"] {
            assert!(may_be_public(public), "{public}");
        }
    }
}
