//! Who may do what with a znode that a broker creates.
//!
//! Without `zookeeper.set.acl` everybody may do everything. With it only whoever is logged in as its creator was may
//! change it; everybody may read it, but for secrets.
//!
//! Source: Kafka 3.9 `ZkData.defaultAcls`.

use crate::{config, consumers, delegation_token};

/// One of the lists of permissions that brokers give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAcl {
    /// `world:anyone:cdrwa`.
    Open,
    /// Its creator everything, `world:anyone:r`.
    CreatorAndReaders,
    /// Its creator everything, nobody else anything.
    CreatorOnly,
}

impl NodeAcl {
    /// What a znode at `path` (below the chroot) gets.
    pub fn of(path: &str, is_secure: bool) -> Self {
        match is_secure {
            false => Self::Open,
            // Consumers of old wrote below it, without logging in.
            true if path == consumers::PATH => Self::Open,
            true if is_sensitive(path) => Self::CreatorOnly,
            true => Self::CreatorAndReaders,
        }
    }
}

/// Whether it may hold secrets: credentials of users, passwords of brokers, tokens.
///
/// Source: Kafka 3.9 `ZkData.SensitiveRootPaths`; by prefix, as there.
pub fn is_sensitive(path: &str) -> bool {
    const ROOTS: [&str; 3] = [
        config::TYPE_PATHS[2],
        config::TYPE_PATHS[3],
        delegation_token::TOKENS_PATH,
    ];
    ROOTS.iter().any(|root| path.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_their_creator_and_consumers_for_everybody() {
        let check = |path: &str, expected: NodeAcl| {
            assert_eq!(NodeAcl::of(path, true), expected, "{path}");
            assert_eq!(NodeAcl::of(path, false), NodeAcl::Open, "{path}");
        };
        check("/brokers/ids/1", NodeAcl::CreatorAndReaders);
        check("/config", NodeAcl::CreatorAndReaders);
        check("/config/topics/t", NodeAcl::CreatorAndReaders);
        check("/config/users", NodeAcl::CreatorOnly);
        check("/config/users/alice", NodeAcl::CreatorOnly);
        check("/config/brokers", NodeAcl::CreatorOnly);
        check("/config/brokers/<default>", NodeAcl::CreatorOnly);
        check("/delegation_token", NodeAcl::CreatorAndReaders);
        check("/delegation_token/token_changes", NodeAcl::CreatorAndReaders);
        check("/delegation_token/tokens/x", NodeAcl::CreatorOnly);
        check("/consumers", NodeAcl::Open);
        check("/consumers/g", NodeAcl::CreatorAndReaders);
        check("", NodeAcl::CreatorAndReaders);
    }
}
