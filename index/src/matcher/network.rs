//! IP addresses in a text, and whether one of them lies in a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::text::{is_boundary, is_word};

/// Bytes of the longest address as text, `ffff:` six times and an embedded IPv4 address, and of a colon
/// on either side.
const ADDRESS_BYTES_MAX: usize = 45 + 2;

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
                .filter(|run| !is_word_at(run.before) && !is_word_at(run.behind))
                .filter_map(|run| run.text.trim_matches('.').parse::<Ipv4Addr>().ok())
                .any(|address| u32::from(address) & mask == *base),
            Self::V6 { base, mask } => {
                runs(text, |c| c.is_ascii_hexdigit() || c == ':' || c == '.')
                    .filter(|run| run.text.bytes().filter(|byte| *byte == b':').count() >= 2)
                    .filter_map(|run| run.without_words().read_v6())
                    .any(|address| u128::from(address) & mask == *base)
            }
        }
    }
}

/// A longest run of characters that an address may have, and its neighbours in the text.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    text: &'a str,
    before: Option<char>,
    behind: Option<char>,
}

impl<'a> Run<'a> {
    /// The run without the parts of words at its ends: `node:2001:db8::1` has it from the first
    /// colon on.
    fn without_words(self) -> Self {
        let Self { mut text, before, behind } = self;
        if is_word_at(before) {
            text = text.trim_start_matches(is_word);
        }
        if is_word_at(behind) {
            text = text.trim_end_matches(is_word);
        }
        Self { text, before, behind }
    }

    /// The address. A full stop or a colon may stand beside it; a colon can also be its own, but not
    /// beside a word: `std::add` has none.
    fn read_v6(&self) -> Option<Ipv6Addr> {
        let text = self.text.trim_matches('.');
        if text.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let starts = [
            (!(is_word_at(self.before) && self.text.starts_with(':'))).then_some(text),
            text.strip_prefix(':'),
        ];
        let is_own = !(is_word_at(self.behind) && self.text.ends_with(':'));
        let ends = |start: &'a str| [is_own.then_some(start), start.strip_suffix(':')];
        starts.into_iter().flatten().flat_map(ends).flatten().find_map(|text| text.parse().ok())
    }
}

/// Whether a neighbour of a digit would go on with its word.
fn is_word_at(neighbour: Option<char>) -> bool {
    neighbour.is_some_and(|c| !is_boundary(c, '0'))
}

/// The longest runs of such characters.
fn runs(text: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = Run<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(&is_part)?;
        let run = text.get(start..)?;
        let end = start + run.find(|c| !is_part(c)).unwrap_or(run.len());
        at = end;
        let before = text.get(..start)?.chars().next_back();
        Some(Run { text: text.get(start..end)?, before, behind: text.get(end..)?.chars().next() })
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
    fn other_scripts_and_colons_stand_beside_an_address() {
        check("10.0.0.0/8", "来自10.1.2.3的连接", true);
        check("10.0.0.0/8", "é10.1.2.3", false);
        check("2001:db8::/32", "来自2001:db8::1的连接", true);
        check("2001:db8::/32", "peer:2001:db8::1", true);
        check("2001:db8::/32", "node:2001:db8::1", true);
        check("2001:db8::/32", "2001:db8::1:refused", true);
        check("2001:db8::/32", "at=:2001:db8::1:", true);
        check("2001:db8::/32", "2001:db8::refused", false);
        check("2001:db8::/32", "x2001:db8::1", false);
        check("2001:db8::/32", "2001:db8::1x", false);
        check("::1/128", "[::1]:80", true);
        check("::1/128", "peer:::1", true);
        check("10.0.0.0/8", "10.1.2.3.example.com", false);
        check("::1/128", "来自::1的", true);
        check("::/0", "std::add", false);
        check("::/0", "std::dead::beef", false);
        check("::ffff:10.0.0.0/104", "peer ::ffff:10.1.2.3.", true);
        check(
            "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128",
            "at:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255:",
            true,
        );
    }

    #[test]
    fn a_prefix_has_no_more_bits_than_an_address() {
        assert!(Network::new(Ipv4Addr::LOCALHOST.into(), 33).is_none());
        assert!(Network::new(Ipv6Addr::LOCALHOST.into(), 129).is_none());
    }
}
