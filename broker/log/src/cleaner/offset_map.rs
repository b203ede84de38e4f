//! The newest offset of each key, in bounded memory: what tells a superseded record from one that counts.
//!
//! Keys are not kept but their 128-bit hashes, 24 bytes an entry with the offset. The hash is keyed with randomness of
//! this process: whoever chooses the keys of records cannot make two of them collide, which would lose a record (Kafka's
//! MD5 can be collided on purpose). Memory is taken as keys come, in shards that grow one by one, so that growing never
//! needs the map twice.
//!
//! Invariants: no more than `budget` bytes of slots; never more than the load factor's share of them in use; an offset
//! never goes back.
//!
//! Source: Kafka 3.9 `SkimpyOffsetMap`, which allocates `log.cleaner.dedupe.buffer.size` at once.

use std::hash::{BuildHasher, RandomState};

use model::Offset;

/// Enough that growing one is little against the whole.
const SHARDS: usize = 64;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();
/// Slots of a shard when its first key comes.
const LEAST_SLOTS: usize = 16;
/// While a shard can still grow it is not fuller than this: linear probing is slow in a full table.
const GROW_AT: f64 = 0.85;

/// The map is full: no other key fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One key.
#[derive(Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// −1 where the slot is free.
    offset: i64,
}

const FREE: Slot = Slot {
    hash: [0; 2],
    offset: -1,
};

/// What one key takes.
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();

/// See the module.
pub(crate) struct OffsetMap {
    hashers: [RandomState; 2],
    shards: Vec<Shard>,
    len: usize,
    max_len: usize,
    /// Slots that one shard may have at the most.
    max_slots: usize,
    latest: Offset,
}

#[derive(Default)]
struct Shard {
    slots: Vec<Slot>,
    len: usize,
}

impl OffsetMap {
    /// An empty map that takes up to `budget` bytes, of which `load_factor` may be filled.
    ///
    /// Source: Kafka `log.cleaner.dedupe.buffer.size`, `log.cleaner.io.buffer.load.factor`.
    pub(crate) fn new(budget: u64, load_factor: f64) -> Self {
        let slots = usize::try_from(budget).unwrap_or(usize::MAX) / SLOT_BYTES;
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            len: 0,
            max_len: (slots as f64 * load_factor.clamp(0.0, 1.0)) as usize,
            max_slots: slots / SHARDS,
            latest: Offset(-1),
        }
    }

    /// Remembers that `key` was seen at `offset`.
    ///
    /// # Errors
    /// When it is a key that does not fit any more; the map is as before.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        let hash = self.hash(key);
        let room = self.len < self.max_len;
        let shard = &mut self.shards[shard_of(hash)];
        if let Some(at) = shard.find(hash)
            && shard.slots[at].offset >= 0
        {
            let known = &mut shard.slots[at].offset;
            *known = (*known).max(offset.0);
            return Ok(());
        }
        if !room || !shard.make_room(self.max_slots) {
            return Err(Full);
        }
        let Some(at) = shard.find(hash) else { return Err(Full) };
        shard.slots[at] = Slot {
            hash,
            offset: offset.0.max(0),
        };
        shard.len += 1;
        self.len += 1;
        Ok(())
    }

    /// The newest offset of `key`, −1 if it was not seen.
    pub(crate) fn get(&self, key: &[u8]) -> Offset {
        let hash = self.hash(key);
        let shard = &self.shards[shard_of(hash)];
        Offset(shard.find(hash).map_or(-1, |at| shard.slots[at].offset))
    }

    /// Everything up to here was taken in; −1 at the start.
    pub(crate) fn latest(&self) -> Offset {
        self.latest
    }

    /// Everything up to `offset` is taken in.
    pub(crate) fn reached(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many keys fit.
    pub(crate) fn capacity(&self) -> usize {
        self.max_len
    }

    /// Bytes that the slots take now.
    pub(crate) fn bytes(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.slots.capacity() * SLOT_BYTES)
            .sum()
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }
}

/// By bits that the place within the shard does not go by.
fn shard_of(hash: [u64; 2]) -> usize {
    (hash[1] >> (64 - SHARD_BITS)) as usize
}

impl Shard {
    /// Where `hash` is, or the free slot where it would be; `None` if it is not there and no slot is free.
    fn find(&self, hash: [u64; 2]) -> Option<usize> {
        let count = self.slots.len();
        if count == 0 {
            return None;
        }
        let start = place(hash, count);
        let (before, after) = self.slots.split_at(start);
        let hit = |slot: &Slot| slot.offset < 0 || slot.hash == hash;
        after
            .iter()
            .position(hit)
            .map(|at| start + at)
            .or_else(|| before.iter().position(hit))
    }

    /// Grows if it is too full and may. Whether one more fits.
    fn make_room(&mut self, max_slots: usize) -> bool {
        let count = self.slots.len();
        if self.len + 1 > (count as f64 * GROW_AT) as usize && count < max_slots {
            let more = (count + count / 2).max(LEAST_SLOTS).min(max_slots);
            let old = std::mem::replace(&mut self.slots, vec![FREE; more]);
            for slot in old.into_iter().filter(|slot| slot.offset >= 0) {
                if let Some(at) = self.find(slot.hash) {
                    self.slots[at] = slot;
                }
            }
        }
        self.len < self.slots.len()
    }
}

/// Spreads over any number of slots without a division.
fn place(hash: [u64; 2], count: usize) -> usize {
    ((u128::from(hash[0]) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_newest_offset_of_each_key_is_known() {
        let mut map = OffsetMap::new(1 << 20, 0.9);
        assert_eq!((map.get(b"a"), map.latest()), (Offset(-1), Offset(-1)));
        map.put(b"a", Offset(0)).unwrap();
        map.put(b"b", Offset(1)).unwrap();
        map.put(b"a", Offset(2)).unwrap();
        map.put(b"a", Offset(1)).unwrap();
        assert_eq!(
            (map.get(b"a"), map.get(b"b"), map.get(b"")),
            (Offset(2), Offset(1), Offset(-1))
        );
        assert_eq!(map.len(), 2);
        map.reached(Offset(7));
        map.reached(Offset(3));
        assert_eq!(map.latest(), Offset(7));
    }

    #[test]
    fn a_full_map_takes_known_keys_and_refuses_others() {
        let slots = 640;
        let mut map = OffsetMap::new((slots * SLOT_BYTES) as u64, 0.5);
        let mut taken = Vec::new();
        for i in 0..slots as i64 {
            match map.put(&i.to_be_bytes(), Offset(i)) {
                Ok(()) => taken.push(i),
                Err(Full) => assert_eq!(map.get(&i.to_be_bytes()), Offset(-1)),
            }
        }
        // A shard may be full a little before the whole is.
        assert!(taken.len() <= slots / 2 && taken.len() > slots / 3, "{}", taken.len());
        assert_eq!(map.len(), taken.len());
        assert!(map.bytes() <= slots * SLOT_BYTES);
        for i in taken {
            map.put(&i.to_be_bytes(), Offset(i + 1000)).unwrap();
            assert_eq!(map.get(&i.to_be_bytes()), Offset(i + 1000));
        }
    }

    #[test]
    fn no_memory_no_keys() {
        for (budget, load) in [(0, 0.9), (1000, 0.9), (1 << 20, 0.0)] {
            let mut map = OffsetMap::new(budget, load);
            assert_eq!(map.put(b"a", Offset(0)), Err(Full));
            assert_eq!(map.get(b"a"), Offset(-1));
        }
    }

    #[test]
    fn memory_follows_the_keys() {
        let mut map = OffsetMap::new(128 << 20, 0.9);
        assert_eq!(map.bytes(), 0);
        let keys = 200_000;
        for i in 0..keys {
            map.put(format!("key-{i}").as_bytes(), Offset(i)).unwrap();
        }
        assert!(map.bytes() as i64 <= keys * 44, "{} bytes for {keys} keys", map.bytes());
        assert_eq!(map.get(b"key-123456"), Offset(123_456));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_a_map_while_there_is_room(puts in prop::collection::vec((0u16..500, 0i64..10_000), 0..2000)) {
            let mut map = OffsetMap::new(1 << 20, 0.9);
            let mut model: HashMap<u16, i64> = HashMap::new();
            for (key, offset) in puts {
                map.put(&key.to_be_bytes(), Offset(offset)).unwrap();
                let newest = model.entry(key).or_insert(offset);
                *newest = (*newest).max(offset);
            }
            for key in 0..500u16 {
                prop_assert_eq!(map.get(&key.to_be_bytes()).0, model.get(&key).copied().unwrap_or(-1));
            }
        }
    }
}
