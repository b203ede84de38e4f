//! Hosts as ACLs name them: the text that Java makes of an address.
//!
//! A rule for `::1` matches nobody in Kafka, for Java writes `0:0:0:0:0:0:0:1`; such a rule is kept, and matches nobody
//! here either.

use core::net::IpAddr;

/// An address as Java writes it, and as ACLs name it.
///
/// Source: Java `InetAddress.getHostAddress`: no abbreviation of zeros, IPv4 also where it is mapped into IPv6.
pub fn host_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let words = v6.segments().map(|word| format!("{word:x}"));
            words.join(":")
        }
    }
}

/// For which hosts a rule is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// `*`.
    Any,
    /// This one.
    Address(IpAddr),
    /// A text that no address has: it matches nobody.
    Text(Box<str>),
}

impl Host {
    pub(super) fn new(text: &str) -> Self {
        if text == super::WILDCARD {
            return Self::Any;
        }
        match text.parse::<IpAddr>() {
            Ok(address) if host_address(address) == text => Self::Address(address.to_canonical()),
            _ => Self::Text(text.into()),
        }
    }

    /// Whether the rule is for this host, which is in its canonical form.
    pub(super) fn matches(&self, canonical: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Address(address) => *address == canonical,
            Self::Text(_) => false,
        }
    }
}

impl core::fmt::Display for Host {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Any => f.write_str(super::WILDCARD),
            Self::Address(address) => f.write_str(&host_address(*address)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_java_names_it() {
        let check = |text: &str, address: &str, matches: bool| {
            let host = Host::new(text);
            assert_eq!(host.to_string(), text);
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(host.matches(address.to_canonical()), matches, "{text} for {address}");
        };
        check("*", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("10.0.0.01", "10.0.0.1", false);
        check("::1", "::1", false);
        check("0:0:0:0:0:0:0:1", "::1", true);
        check("2001:db8:0:0:0:0:0:ff", "2001:db8::ff", true);
        check("2001:DB8:0:0:0:0:0:ff", "2001:db8::ff", false);
        check("::ffff:10.0.0.1", "10.0.0.1", false);
        check("localhost", "127.0.0.1", false);
        check("10.0.0.0/8", "10.0.0.1", false);
    }
}
