//! IP addresses in a text, and whether one of them lies in a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::text::is_word;

/// Bytes of the longest address as text, `ffff:` seven times and an embedded IPv4 address.
const ADDRESS_BYTES_MAX: usize = 45;

/// A network of IP addresses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Network {
    V4 { base: u32, mask: u32 },
    V6 { base: u128, mask: u128 },
}

impl Network {
    /// `None` when an address has fewer bits than the prefix.
    pub(super) fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let prefix = u32::from(prefix);
        Some(match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
                Self::V4 { base: u32::from(address) & mask, mask }
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
                Self::V6 { base: u128::from(address) & mask, mask }
            }
        })
    }

    /// Whether an address that stands free in the text lies in the network.
    pub(super) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::V4 { base, mask } => runs(text, |c| c.is_ascii_digit() || c == '.')
                .filter_map(|run| run.trim_matches('.').parse::<Ipv4Addr>().ok())
                .any(|address| u32::from(address) & mask == *base),
            Self::V6 { base, mask } => {
                runs(text, |c| c.is_ascii_hexdigit() || c == ':' || c == '.')
                    .filter(|run| run.bytes().filter(|byte| *byte == b':').count() >= 2)
                    .filter_map(read_v6)
                    .any(|address| u128::from(address) & mask == *base)
            }
        }
    }
}

/// A full stop or a colon may follow an address; a colon can also be its own.
fn read_v6(run: &str) -> Option<Ipv6Addr> {
    let run = run.trim_matches('.');
    let shorter = || run.strip_suffix(':')?.parse().ok();
    run.parse().ok().or_else(shorter)
}

/// The longest runs of such characters that no word goes on from.
fn runs(text: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let start = at + rest.find(&is_part)?;
            let run = text.get(start..)?;
            let end = start + run.find(|c| !is_part(c)).unwrap_or(run.len());
            at = end;
            let joined = |c: Option<char>| c.is_some_and(is_word);
            let free = !joined(text.get(..start)?.chars().next_back())
                && !joined(text.get(end..)?.chars().next());
            if free && end - start <= ADDRESS_BYTES_MAX {
                return text.get(start..end);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, text: &str, expected: bool) {
        let (address, prefix) = network.split_once('/').unwrap();
        let network = Network::new(address.parse().unwrap(), prefix.parse().unwrap()).unwrap();
        assert_eq!(network.is_in(text), expected, "{text}");
    }

    #[test]
    fn addresses_are_found_where_they_stand_free() {
        check("10.0.0.0/8", "from 10.1.2.3:80 to x", true);
        check("10.0.0.0/8", "from 110.1.2.3", false);
        check("10.0.0.0/8", "version 10.1.2.3.4", false);
        check("10.0.0.0/8", "v10.1.2.3", false);
        check("10.0.0.0/8", "it was 10.1.2.3.", true);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("10.1.2.3/32", "[10.1.2.3]", true);
        check("10.1.2.2/32", "10.1.2.3", false);
        check("fe80::/10", "at fe80::1ff:fe23:4567:890a%eth0", true);
        check("2001:db8::/32", "2001:db8::1: refused", true);
        check("2001:db8::/32", "12:30:01", false);
        check("::/0", "12:30:01", false);
        check("::/0", "", false);
    }

    #[test]
    fn a_prefix_has_no_more_bits_than_an_address() {
        assert!(Network::new(Ipv4Addr::LOCALHOST.into(), 33).is_none());
        assert!(Network::new(Ipv6Addr::LOCALHOST.into(), 129).is_none());
    }
}
