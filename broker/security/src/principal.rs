//! Whom a connection belongs to.

use core::fmt;
use core::str::FromStr;

/// A principal: `User:alice`.
///
/// Two are the same if their types and names are; how they logged in does not matter.
///
/// Source: Kafka 3.9 `KafkaPrincipal`.
#[derive(Clone, Debug)]
pub struct KafkaPrincipal {
    /// `User`, but for what ACLs of other authorizers may name.
    pub principal_type: String,
    /// `alice`, `CN=alice,O=example`; `*` in ACLs.
    pub name: String,
    /// Whether a delegation token stands for it: such a connection may not ask for tokens.
    pub token_authenticated: bool,
}

/// The type of all principals that log in here.
pub const USER_TYPE: &str = "User";

impl KafkaPrincipal {
    /// `User:name`.
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            principal_type: USER_TYPE.to_owned(),
            name: name.into(),
            token_authenticated: false,
        }
    }

    /// Whoever has not said who they are: `User:ANONYMOUS`.
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }
}

impl PartialEq for KafkaPrincipal {
    fn eq(&self, other: &Self) -> bool {
        self.principal_type == other.principal_type && self.name == other.name
    }
}

impl Eq for KafkaPrincipal {}

impl core::hash::Hash for KafkaPrincipal {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.principal_type.hash(state);
        self.name.hash(state);
    }
}

impl fmt::Display for KafkaPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.principal_type, self.name)
    }
}

/// Source: Kafka 3.9 `SecurityUtils.parseKafkaPrincipal`.
impl FromStr for KafkaPrincipal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((principal_type, name)) => Ok(Self {
                principal_type: principal_type.to_owned(),
                name: name.to_owned(),
                token_authenticated: false,
            }),
            None => Err(format!(
                "expected a string in format principalType:principalName but got {text}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_its_type_and_its_name() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let parsed = text.parse::<KafkaPrincipal>().ok();
            let found = parsed.as_ref().map(|p| (p.principal_type.as_str(), p.name.as_str()));
            assert_eq!(found, expected, "{text}");
            if let Some(principal) = parsed {
                assert_eq!(principal.to_string(), text);
            }
        };
        check("User:alice", Some(("User", "alice")));
        check("User:CN=a:b,O=c", Some(("User", "CN=a:b,O=c")));
        check("Group:*", Some(("Group", "*")));
        check(":", Some(("", "")));
        check("alice", None);
    }
}
