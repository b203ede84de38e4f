//! The operations that make sense for a kind of resource, as the bit field that responses carry (KIP-430).

/// `AclOperation` codes.
const READ: u8 = 3;
const WRITE: u8 = 4;
const CREATE: u8 = 5;
const DELETE: u8 = 6;
const ALTER: u8 = 7;
const DESCRIBE: u8 = 8;
const CLUSTER_ACTION: u8 = 9;
const DESCRIBE_CONFIGS: u8 = 10;
const ALTER_CONFIGS: u8 = 11;
const IDEMPOTENT_WRITE: u8 = 12;

/// A kind of resource that responses tell operations of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// The cluster.
    Cluster,
}

/// All operations that apply to the resource type: what a principal may do where there is no authorizer.
///
/// Source: Kafka 3.9 `AclEntry.supportedOperations`, `Utils.to32BitField`.
pub fn all_operations(resource: ResourceType) -> i32 {
    let codes: &[u8] = match resource {
        ResourceType::Topic => &[
            READ,
            WRITE,
            CREATE,
            DESCRIBE,
            DELETE,
            ALTER,
            DESCRIBE_CONFIGS,
            ALTER_CONFIGS,
        ],
        ResourceType::Group => &[READ, DESCRIBE, DELETE],
        ResourceType::Cluster => &[
            CREATE,
            CLUSTER_ACTION,
            DESCRIBE_CONFIGS,
            ALTER_CONFIGS,
            IDEMPOTENT_WRITE,
            ALTER,
            DESCRIBE,
        ],
    };
    codes.iter().fold(0, |bits, code| bits | 1 << code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_kafkas() {
        assert_eq!(all_operations(ResourceType::Topic), 3576);
        assert_eq!(all_operations(ResourceType::Group), 328);
        assert_eq!(all_operations(ResourceType::Cluster), 8096);
    }
}
