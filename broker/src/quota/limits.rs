//! Which quota applies to whom: the most specific one that is set for a user, a client id, or both.
//!
//! Names are as the user and the client say them, not as znodes spell them. A client that has no id has no client
//! quota, not even the default one.
//!
//! Source: Kafka 3.9 `ClientQuotaManager`, whose documentation has the order; `DefaultQuotaCallback`.

use hashbrown::HashMap;
use zk_schema::config::Entity;

/// Who is to be counted: all connections with these count as one. Empty: told apart by the other alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tags<'a> {
    /// The principal's name.
    pub(super) user: &'a str,
    /// The client's id.
    pub(super) client: &'a str,
}

/// The limits of one kind, by entity.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    users: HashMap<String, OfUser>,
    default_user: OfUser,
    clients: ByClient,
}

#[derive(Clone, Debug, Default)]
struct OfUser {
    own: Option<f64>,
    clients: ByClient,
}

#[derive(Clone, Debug, Default)]
struct ByClient {
    named: HashMap<String, f64>,
    default: Option<f64>,
}

impl Limits {
    /// Sets, or with `None` removes, the limit of an entity; what is no quota entity has none.
    pub(super) fn set(&mut self, entity: &Entity, limit: Option<f64>) {
        match entity {
            Entity::Client(client) => self.clients.set(client.as_deref(), limit),
            Entity::User(user) => self.of_user(user.as_deref(), |of| of.own = limit),
            Entity::UserClient(user, client) => {
                self.of_user(user.as_deref(), |of| of.clients.set(client.as_deref(), limit));
            }
            Entity::Topic(_) | Entity::Broker(_) | Entity::Ip(_) => {}
        }
    }

    /// Whether there is none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.default_user.is_empty() && self.clients.is_empty()
    }

    /// The limit for this user and client id, and with whom they are counted.
    pub(super) fn find<'a>(&self, user: &'a str, client: &'a str) -> Option<(Tags<'a>, f64)> {
        let both = Tags { user, client };
        let by_user = Tags { user, client: "" };
        let of_user = |of: &OfUser| {
            let for_client = of.clients.find(client).map(|limit| (both, limit));
            for_client.or_else(|| of.own.map(|limit| (by_user, limit)))
        };
        self.users
            .get(user)
            .and_then(of_user)
            .or_else(|| of_user(&self.default_user))
            .or_else(|| {
                self.clients
                    .find(client)
                    .map(|limit| (Tags { user: "", client }, limit))
            })
    }

    fn of_user(&mut self, user: Option<&str>, change: impl FnOnce(&mut OfUser)) {
        match user {
            None => change(&mut self.default_user),
            Some(user) => {
                change(self.users.entry_ref(user).or_default());
                if self.users.get(user).is_some_and(OfUser::is_empty) {
                    self.users.remove(user);
                }
            }
        }
    }
}

impl OfUser {
    fn is_empty(&self) -> bool {
        self.own.is_none() && self.clients.is_empty()
    }
}

impl ByClient {
    fn set(&mut self, client: Option<&str>, limit: Option<f64>) {
        match (client, limit) {
            (None, limit) => self.default = limit,
            (Some(client), Some(limit)) => {
                self.named.insert(client.to_owned(), limit);
            }
            (Some(client), None) => {
                self.named.remove(client);
            }
        }
    }

    fn find(&self, client: &str) -> Option<f64> {
        if client.is_empty() {
            return None;
        }
        self.named.get(client).copied().or(self.default)
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.default.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the most specific to the least; the limit is the row.
    fn order() -> [(Entity, Tags<'static>); 8] {
        let name = |name: &str| Some(name.to_owned());
        let tags = |user, client| Tags { user, client };
        [
            (Entity::UserClient(name("u"), name("c")), tags("u", "c")),
            (Entity::UserClient(name("u"), None), tags("u", "c")),
            (Entity::User(name("u")), tags("u", "")),
            (Entity::UserClient(None, name("c")), tags("u", "c")),
            (Entity::UserClient(None, None), tags("u", "c")),
            (Entity::User(None), tags("u", "")),
            (Entity::Client(name("c")), tags("", "c")),
            (Entity::Client(None), tags("", "c")),
        ]
    }

    #[test]
    fn the_most_specific_limit_applies_and_says_who_is_counted_together() {
        let mut limits = Limits::default();
        for (row, (entity, _)) in order().iter().enumerate() {
            limits.set(entity, Some(row as f64));
        }
        for (row, (entity, tags)) in order().iter().enumerate() {
            assert_eq!(limits.find("u", "c"), Some((*tags, row as f64)), "{entity:?}");
            limits.set(entity, None);
        }
        assert_eq!(limits.find("u", "c"), None);
        assert!(limits.is_empty());
    }

    #[test]
    fn others_have_the_defaults() {
        let mut limits = Limits::default();
        for (row, (entity, _)) in order().iter().enumerate() {
            limits.set(entity, Some(row as f64));
        }
        let check = |user: &str, client: &str, limit: f64| {
            assert_eq!(
                limits.find(user, client).map(|(_, limit)| limit),
                Some(limit),
                "{user} {client}"
            );
        };
        check("u", "other", 1.0);
        check("other", "c", 3.0);
        check("other", "other", 4.0);
        check("u", "", 2.0);
        check("other", "", 5.0);
    }

    #[test]
    fn a_client_without_an_id_has_no_client_quota() {
        let mut limits = Limits::default();
        limits.set(&Entity::Client(None), Some(1.0));
        limits.set(&Entity::UserClient(None, None), Some(2.0));
        assert_eq!(limits.find("u", ""), None);
        assert_eq!(limits.find("u", "c").map(|(_, limit)| limit), Some(2.0));
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut limits = Limits::default();
        for (entity, _) in order() {
            limits.set(&entity, None);
        }
        limits.set(&Entity::Ip(None), Some(1.0));
        assert!(limits.is_empty());
        assert!(limits.users.is_empty());
    }
}
