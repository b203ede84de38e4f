//! What has been measured of each user and client id that has a quota; bounded in number.
//!
//! Client ids are whatever clients say: whoever says a new one each time must not fill the memory. Entries without use
//! for an hour go, as in Kafka; before there are too many, those go that hold nothing that would make a difference; and
//! if that does not help, newcomers are counted together, as one.

use hashbrown::{Equivalent, HashMap};
use model::Millis;

use super::limits::Tags;

/// How long an entry stays that nobody uses. Source: Kafka `ClientQuotaManager.InactiveSensorExpirationTimeSeconds`.
const EXPIRATION: Millis = Millis(3_600_000);
/// How often expired entries are looked for.
const SWEEP_PERIOD: Millis = Millis(60_000);
/// How often room is looked for once there is none.
const FULL_SWEEP_PERIOD: Millis = Millis(1_000);
/// At most so many entries.
const ENTRIES_MAX: usize = 65_536;
/// Whoever comes when all entries are taken.
const OVERFLOW: Tags<'static> = Tags { user: "", client: "" };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OwnedTags {
    user: Box<str>,
    client: Box<str>,
}

impl Equivalent<OwnedTags> for Tags<'_> {
    fn equivalent(&self, key: &OwnedTags) -> bool {
        *self.user == *key.user && *self.client == *key.client
    }
}

#[derive(Debug)]
struct Entry<T> {
    used: Millis,
    value: T,
}

/// One `T` for each user and client id.
#[derive(Debug)]
pub(super) struct Counted<T> {
    entries: HashMap<OwnedTags, Entry<T>>,
    entries_max: usize,
    swept: Millis,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            entries_max: ENTRIES_MAX,
            swept: Millis(0),
        }
    }
}

impl<T> Counted<T> {
    /// What is measured of `tags`, made by `new` where there is nothing yet. `is_blank`: an entry that is as good as new.
    pub(super) fn of(
        &mut self,
        tags: Tags<'_>,
        now: Millis,
        new: impl FnOnce() -> T,
        is_blank: impl FnMut(&mut T) -> bool,
    ) -> &mut T {
        let tags = if self.entries.contains_key(&tags) || self.make_room(now, is_blank) {
            tags
        } else {
            OVERFLOW
        };
        // Two look-ups, so that a key is made only for a new entry.
        if !self.entries.contains_key(&tags) {
            let key = OwnedTags {
                user: tags.user.into(),
                client: tags.client.into(),
            };
            let value = new();
            self.entries.insert(key, Entry { used: now, value });
        }
        let entry = self.entries.get_mut(&tags).expect("it was there, or has been inserted");
        entry.used = now;
        &mut entry.value
    }

    /// Whether there is room for one more.
    fn make_room(&mut self, now: Millis, mut is_blank: impl FnMut(&mut T) -> bool) -> bool {
        let full = self.entries.len() >= self.entries_max;
        let since = now - self.swept;
        if full && since >= FULL_SWEEP_PERIOD {
            self.swept = now;
            self.entries.retain(|_, entry| !is_blank(&mut entry.value));
        } else if since >= SWEEP_PERIOD {
            self.swept = now;
            self.entries.retain(|_, entry| now - entry.used < EXPIRATION);
        }
        self.entries.len() < self.entries_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(client: &str) -> Tags<'_> {
        Tags { user: "u", client }
    }

    fn count(counted: &mut Counted<i32>, client: &str, now: i64) -> i32 {
        let value = counted.of(tags(client), Millis(now), || 0, |value| *value < 0);
        *value += 1;
        *value
    }

    #[test]
    fn everybody_has_an_entry() {
        let mut counted = Counted::default();
        assert_eq!(count(&mut counted, "a", 0), 1);
        assert_eq!(count(&mut counted, "a", 0), 2);
        assert_eq!(count(&mut counted, "b", 0), 1);
        let other = Tags { user: "", client: "a" };
        assert_eq!(*counted.of(other, Millis(0), || 7, |_| false), 7);
    }

    #[test]
    fn entries_without_use_for_an_hour_go() {
        let mut counted = Counted::default();
        count(&mut counted, "a", 0);
        count(&mut counted, "b", 1_800_000);
        count(&mut counted, "c", 3_600_000);
        assert_eq!(counted.entries.len(), 2);
        assert_eq!(count(&mut counted, "b", 3_600_000), 2);
    }

    #[test]
    fn newcomers_are_counted_together_when_there_is_no_room() {
        let mut counted = Counted {
            entries_max: 3,
            ..Counted::default()
        };
        for client in ["a", "b", "c"] {
            count(&mut counted, client, 10_000);
        }
        assert_eq!(count(&mut counted, "d", 10_000), 1);
        assert_eq!(count(&mut counted, "e", 10_000), 2, "with d");
        assert_eq!(count(&mut counted, "a", 10_000), 2, "still its own");
        assert!(counted.entries.len() <= 4);
        *counted.of(tags("b"), Millis(10_500), || 0, |_| false) = -1;
        assert_eq!(count(&mut counted, "f", 10_500), 3, "not looked for again yet");
        *counted.of(tags("c"), Millis(12_000), || 0, |_| false) = -1;
        assert_eq!(count(&mut counted, "g", 12_000), 1, "in the place of b and c");
    }
}
