//! What was set, as it was written: file, environment, command line and, at run time, what ZooKeeper holds.
//!
//! A map from key to text that does not show its values when it is printed: passwords are among them, also under names
//! that no table knows.

use core::fmt;
use core::ops::Deref;
use std::collections::{BTreeMap, btree_map};

/// Pairs of key and text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Originals(BTreeMap<String, String>);

impl Deref for Originals {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Originals {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        Self(pairs)
    }
}

impl<'a> IntoIterator for &'a Originals {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The keys alone.
impl fmt::Debug for Originals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_printed() {
        let pairs = [("ssl.key.password", "secret"), ("my.own.token", "secret")];
        let originals = Originals::from(BTreeMap::from(pairs.map(|(k, v)| (k.to_owned(), v.to_owned()))));
        assert_eq!(format!("{originals:?}"), r#"{"my.own.token", "ssl.key.password"}"#);
        assert_eq!(originals.get("ssl.key.password").map(String::as_str), Some("secret"));
    }
}
