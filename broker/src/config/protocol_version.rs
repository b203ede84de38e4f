//! `inter.broker.protocol.version`: the versions of Kafka's inter-broker protocol, in their order.
//!
//! Invariant: a later version is greater, so features are asked for by comparison
//! (`version >= ProtocolVersion::IBP_2_8_IV0`). Source: Kafka 3.9 `MetadataVersion`.

use core::fmt;
use core::str::FromStr;

/// A version of the inter-broker protocol. Prints in full: `3.9-IV0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion(u8);

/// Every version in order.
#[rustfmt::skip]
pub(super) const NAMES: &[&str] = &[
    "0.8.0", "0.8.1", "0.8.2", "0.9.0", "0.10.0-IV0", "0.10.0-IV1", "0.10.1-IV0", "0.10.1-IV1", "0.10.1-IV2",
    "0.10.2-IV0", "0.11.0-IV0", "0.11.0-IV1", "0.11.0-IV2", "1.0-IV0", "1.1-IV0", "2.0-IV0", "2.0-IV1", "2.1-IV0",
    "2.1-IV1", "2.1-IV2", "2.2-IV0", "2.2-IV1", "2.3-IV0", "2.3-IV1", "2.4-IV0", "2.4-IV1", "2.5-IV0", "2.6-IV0",
    "2.7-IV0", "2.7-IV1", "2.7-IV2", "2.8-IV0", "2.8-IV1", "3.0-IV0", "3.0-IV1", "3.1-IV0", "3.2-IV0", "3.3-IV0",
    "3.3-IV1", "3.3-IV2", "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1",
];

impl ProtocolVersion {
    /// ControlledShutdown names the client.
    pub const IBP_0_9_0: Self = Self(3);
    /// Broker registrations in JSON version 4.
    pub const IBP_0_10_0_IV1: Self = Self(5);
    /// Requests of the controller carry broker epochs.
    pub const IBP_2_2_IV0: Self = Self(20);
    /// Requests between brokers have flexible headers.
    pub const IBP_2_4_IV1: Self = Self(25);
    /// StopReplica says per partition whether to delete; ISR changes still go through ZooKeeper.
    pub const IBP_2_6_IV0: Self = Self(27);
    /// Broker registrations in JSON version 5, with features.
    pub const IBP_2_7_IV0: Self = Self(28);
    /// The leader asks the controller to change the ISR (AlterPartition).
    pub const IBP_2_7_IV2: Self = Self(30);
    /// Topics have ids.
    pub const IBP_2_8_IV0: Self = Self(31);
    /// Message formats 0 and 1 are no longer written.
    pub const IBP_3_0_IV1: Self = Self(34);
    /// The default of a 3.9 broker.
    pub const LATEST_PRODUCTION: Self = Self(54);

    /// The full name: `3.9-IV0`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The name without the internal step: `3.9`.
    pub fn short_name(self) -> &'static str {
        let name = self.name();
        name.split_once("-IV").map_or(name, |(short, _)| short)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Version `{0}` is not a valid version")]
pub struct UnknownProtocolVersion(String);

impl FromStr for ProtocolVersion {
    type Err = UnknownProtocolVersion;

    /// Reads `3.9-IV0` exactly, or `3.9` and `3.9.1` as the last step of 3.9.
    fn from_str(text: &str) -> Result<Self, UnknownProtocolVersion> {
        let segments = if text.starts_with("0.") { 3 } else { 2 };
        let key = text.split('.').take(segments).collect::<Vec<_>>().join(".");
        (0..NAMES.len() as u8)
            .rev()
            .map(Self)
            .find(|version| version.name() == key || version.short_name() == key)
            .ok_or_else(|| UnknownProtocolVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_means_the_last_step_of_that_release() {
        let check = |text: &str, name: Option<&str>| {
            assert_eq!(
                text.parse::<ProtocolVersion>().ok().map(ProtocolVersion::name),
                name,
                "{text}"
            );
        };
        check("3.9-IV0", Some("3.9-IV0"));
        check("3.9", Some("3.9-IV0"));
        check("3.9.1", Some("3.9-IV0"));
        check("3.7", Some("3.7-IV4"));
        check("2.8-IV0", Some("2.8-IV0"));
        check("0.10.2", Some("0.10.2-IV0"));
        check("0.8.2.2", Some("0.8.2"));
        check("0.10", None);
        check("3", None);
        check("5.0", None);
        check("", None);
    }

    #[test]
    fn the_named_versions_are_what_they_say() {
        assert_eq!(ProtocolVersion::IBP_2_6_IV0.name(), "2.6-IV0");
        assert_eq!(ProtocolVersion::IBP_0_9_0.name(), "0.9.0");
        assert_eq!(ProtocolVersion::IBP_2_2_IV0.name(), "2.2-IV0");
        assert_eq!(ProtocolVersion::IBP_2_4_IV1.name(), "2.4-IV1");
        assert_eq!(ProtocolVersion::IBP_0_10_0_IV1.name(), "0.10.0-IV1");
        assert_eq!(ProtocolVersion::IBP_2_7_IV0.name(), "2.7-IV0");
        assert_eq!(ProtocolVersion::IBP_2_7_IV2.name(), "2.7-IV2");
        assert_eq!(ProtocolVersion::IBP_2_8_IV0.name(), "2.8-IV0");
        assert_eq!(ProtocolVersion::IBP_3_0_IV1.name(), "3.0-IV1");
        assert_eq!(ProtocolVersion::LATEST_PRODUCTION.name(), "3.9-IV0");
    }
}
