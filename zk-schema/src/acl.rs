//! `/kafka-acl/<Type>/<name>`, `/kafka-acl-extended/prefixed/<Type>/<name>`, and news of their changes.
//!
//! Persistent; written by the authorizer of whichever broker is asked, with an expected version; deleted when the
//! last entry goes. A change is announced under `/kafka-acl-changes` (literal, plain text) or
//! `/kafka-acl-extended-changes` (prefixed, JSON). Names are not percent-encoded, so a name with `/` is refused.

use serde_json::{Value, json};

use crate::decode::{DecodeError, Object};

/// Parent of literal ACLs.
pub const LITERAL_PATH: &str = "/kafka-acl";
/// Parent of the other kinds of ACLs.
pub const EXTENDED_PATH: &str = "/kafka-acl-extended";
/// Parent of news about literal ACLs.
pub const LITERAL_CHANGES_PATH: &str = "/kafka-acl-changes";
/// Parent of news about the others.
pub const EXTENDED_CHANGES_PATH: &str = "/kafka-acl-extended-changes";
/// How a notification's name starts; the server appends ten digits.
pub const CHANGE_NAME_PREFIX: &str = "acl_changes_";

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $camel:literal, $upper:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As in ACL znodes and their paths.
            pub const fn camel(self) -> &'static str {
                match self { $(Self::$variant => $camel,)* }
            }

            /// As in change notifications.
            pub const fn upper(self) -> &'static str {
                match self { $(Self::$variant => $upper,)* }
            }

            /// By either name, in any case.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|v| v.camel().eq_ignore_ascii_case(name) || v.upper().eq_ignore_ascii_case(name))
            }
        }
    };
}

names! {
    /// What an ACL is about. Source: Kafka `ResourceType`.
    ResourceType {
        /// A topic.
        Topic = "Topic", "TOPIC";
        /// A consumer group.
        Group = "Group", "GROUP";
        /// The cluster (`kafka-cluster`).
        Cluster = "Cluster", "CLUSTER";
        /// A transactional id.
        TransactionalId = "TransactionalId", "TRANSACTIONAL_ID";
        /// A delegation token.
        DelegationToken = "DelegationToken", "DELEGATION_TOKEN";
        /// A user, for tokens.
        User = "User", "USER";
    }
}

names! {
    /// What an ACL allows or denies. Source: Kafka `AclOperation`.
    Operation {
        /// Everything.
        All = "All", "ALL";
        /// Read.
        Read = "Read", "READ";
        /// Write.
        Write = "Write", "WRITE";
        /// Create.
        Create = "Create", "CREATE";
        /// Delete.
        Delete = "Delete", "DELETE";
        /// Alter.
        Alter = "Alter", "ALTER";
        /// Describe.
        Describe = "Describe", "DESCRIBE";
        /// What only brokers do.
        ClusterAction = "ClusterAction", "CLUSTER_ACTION";
        /// Describe configurations.
        DescribeConfigs = "DescribeConfigs", "DESCRIBE_CONFIGS";
        /// Alter configurations.
        AlterConfigs = "AlterConfigs", "ALTER_CONFIGS";
        /// Produce idempotently.
        IdempotentWrite = "IdempotentWrite", "IDEMPOTENT_WRITE";
        /// Create tokens for a user.
        CreateTokens = "CreateTokens", "CREATE_TOKENS";
        /// Describe a user's tokens.
        DescribeTokens = "DescribeTokens", "DESCRIBE_TOKENS";
    }
}

names! {
    /// How a resource is named. Source: Kafka `PatternType`, the two that are stored.
    PatternType {
        /// By its name; `*` is all.
        Literal = "literal", "LITERAL";
        /// By the start of its name.
        Prefixed = "prefixed", "PREFIXED";
    }
}

/// Parent of the ACLs of one kind of patterns.
pub fn root(pattern_type: PatternType) -> String {
    match pattern_type {
        PatternType::Literal => LITERAL_PATH.to_owned(),
        PatternType::Prefixed => format!("{EXTENDED_PATH}/{}", pattern_type.camel()),
    }
}

/// What an authorizer creates when it starts, in this order, which is that of Kafka's enumeration of a set.
///
/// Source: Kafka 3.9 `KafkaZkClient.createAclPaths`.
pub fn persistent_paths() -> Vec<String> {
    let kinds = [
        ResourceType::TransactionalId,
        ResourceType::Cluster,
        ResourceType::Group,
        ResourceType::Topic,
        ResourceType::DelegationToken,
        ResourceType::User,
    ];
    let mut paths = Vec::new();
    for pattern_type in PatternType::ALL {
        let root = root(*pattern_type);
        paths.push(root.clone());
        paths.extend(kinds.iter().map(|kind| format!("{root}/{}", kind.camel())));
    }
    paths.extend([LITERAL_CHANGES_PATH.to_owned(), EXTENDED_CHANGES_PATH.to_owned()]);
    paths
}

/// What ACLs are attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePattern {
    /// Its kind.
    pub resource_type: ResourceType,
    /// Its name, or how it starts.
    pub name: String,
    /// Which of the two.
    pub pattern_type: PatternType,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclEntry {
    /// `User:alice`, `User:*`.
    pub principal: String,
    /// Allow, or deny.
    pub allow: bool,
    /// An address, or `*`.
    pub host: String,
    /// What.
    pub operation: Operation,
}

impl ResourcePattern {
    /// Where its ACLs are.
    pub fn path(&self) -> String {
        format!(
            "{}/{}/{}",
            root(self.pattern_type),
            self.resource_type.camel(),
            self.name
        )
    }

    /// Prefix of the path, and content, of the notification that its ACLs have changed.
    pub fn change(&self) -> (String, Vec<u8>) {
        match self.pattern_type {
            PatternType::Literal => (
                format!("{LITERAL_CHANGES_PATH}/{CHANGE_NAME_PREFIX}"),
                format!("{}:{}", self.resource_type.upper(), self.name).into_bytes(),
            ),
            PatternType::Prefixed => (
                format!("{EXTENDED_CHANGES_PATH}/{CHANGE_NAME_PREFIX}"),
                json!({
                    "version": 1,
                    "resourceType": self.resource_type.upper(),
                    "name": self.name,
                    "patternType": self.pattern_type.upper(),
                })
                .to_string()
                .into_bytes(),
            ),
        }
    }

    /// Reads a notification about literal ACLs. In 2.0 and 2.1 the kind was written as in paths.
    ///
    /// # Errors
    /// Not `<kind>:<name>`.
    pub fn decode_literal_change(data: &[u8]) -> Result<Self, DecodeError> {
        let bad = || DecodeError::new(LITERAL_CHANGES_PATH, "not <resource type>:<name>", data);
        let text = core::str::from_utf8(data).map_err(|_| bad())?;
        let (kind, name) = text.split_once(':').ok_or_else(bad)?;
        Ok(Self {
            resource_type: ResourceType::from_name(kind).ok_or_else(bad)?,
            name: name.to_owned(),
            pattern_type: PatternType::Literal,
        })
    }

    /// Reads a notification about other ACLs.
    ///
    /// # Errors
    /// A version above 1, or not a resource pattern.
    pub fn decode_extended_change(data: &[u8]) -> Result<Self, DecodeError> {
        let object = Object::parse(EXTENDED_CHANGES_PATH, data)?;
        if object.number::<i32>("version")? > 1 {
            return Err(object.error("unsupported version"));
        }
        let kind = object.string("resourceType")?;
        let pattern = object.string("patternType")?;
        Ok(Self {
            resource_type: ResourceType::from_name(&kind).ok_or_else(|| object.error("unknown resourceType"))?,
            name: object.string("name")?,
            pattern_type: PatternType::from_name(&pattern).ok_or_else(|| object.error("unknown patternType"))?,
        })
    }
}

/// The rules of one resource, as Kafka writes them (version 1).
pub fn encode(entries: &[AclEntry]) -> Vec<u8> {
    let acls: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "principal": entry.principal,
                "permissionType": if entry.allow { "Allow" } else { "Deny" },
                "host": entry.host,
                "operation": entry.operation.camel(),
            })
        })
        .collect();
    json!({"acls": acls, "version": 1}).to_string().into_bytes()
}

/// Reads the rules of one resource.
///
/// # Errors
/// Another version, or an entry that cannot be understood: a rule must never be lost silently.
pub fn decode(path: &str, data: &[u8]) -> Result<Vec<AclEntry>, DecodeError> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let object = Object::parse(path, data)?;
    if object.number::<i32>("version")? != 1 {
        return Err(object.error("unsupported version"));
    }
    let acls = object.array("acls")?.ok_or_else(|| object.error("no 'acls'"))?;
    acls.iter()
        .map(|acl| {
            let text = |field: &str| acl.get(field).and_then(Value::as_str);
            let entry = || {
                Some(AclEntry {
                    principal: text("principal")?.to_owned(),
                    allow: match text("permissionType")? {
                        allow if allow.eq_ignore_ascii_case("allow") => true,
                        deny if deny.eq_ignore_ascii_case("deny") => false,
                        _ => return None,
                    },
                    host: text("host")?.to_owned(),
                    operation: Operation::from_name(text("operation")?)?,
                })
            };
            entry().ok_or_else(|| object.error("an entry of 'acls' cannot be understood"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_cannot_be_understood_is_an_error() {
        for bad in [
            r#"{"version":2,"acls":[]}"#,
            r#"{"version":1}"#,
            r#"{"version":1,"acls":[{}]}"#,
            r#"{"version":1,"acls":[{"principal":"User:a","permissionType":"Maybe","host":"*","operation":"Read"}]}"#,
            r#"{"version":1,"acls":[{"principal":"User:a","permissionType":"Allow","host":"*","operation":"Fly"}]}"#,
        ] {
            assert!(decode("/kafka-acl/Topic/t", bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(decode("/kafka-acl/Topic/t", b""), Ok(Vec::new()));
        assert!(ResourcePattern::decode_literal_change(b"TOPIC").is_err());
        assert!(ResourcePattern::decode_literal_change(b"\xff:x").is_err());
    }
}
