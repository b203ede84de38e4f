//! The order in which the JVM's hash maps list their keys, so that our JSON has the very bytes of Kafka's.
//!
//! Readers do not care; people who compare znodes, and tools that set data conditionally on bytes, do.

/// `String.hashCode`.
fn string_hash(text: &str) -> u32 {
    text.encode_utf16()
        .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

fn spread(hash: u32) -> u32 {
    hash ^ (hash >> 16)
}

/// Sorts as a `java.util.Properties` lists its keys: a `ConcurrentHashMap` that starts with 16 buckets and doubles
/// at three quarters full.
pub(crate) fn sort_as_properties<T>(entries: &mut [T], key: impl Fn(&T) -> &str) {
    let mut buckets = 16usize;
    while entries.len() * 4 >= buckets * 3 {
        buckets *= 2;
    }
    let mask = (buckets - 1) as u32;
    entries.sort_by_key(|entry| spread(string_hash(key(entry))) & mask);
}

/// Sorts as a Scala 2.13 `mutable.Map` does: 16 buckets, doubled when the next entry would make it three quarters
/// full, ordered by hash within a bucket.
pub(crate) fn sort_as_scala_mutable<T>(entries: &mut [T], key: impl Fn(&T) -> &str) {
    let mut buckets = 16usize;
    while entries.len() * 4 >= buckets * 3 {
        buckets *= 2;
    }
    let mask = (buckets - 1) as u32;
    entries.sort_by_key(|entry| {
        let hash = spread(string_hash(key(entry)));
        // Scala compares hashes as signed numbers.
        (hash & mask, hash as i32)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_the_jvms_order() {
        let check = |mut keys: Vec<&str>, expected: &[&str]| {
            keys.sort_unstable();
            sort_as_properties(&mut keys, |key| key);
            assert_eq!(keys, expected);
        };
        check(
            vec![
                "cleanup.policy",
                "compression.type",
                "min.insync.replicas",
                "segment.bytes",
                "unclean.leader.election.enable",
            ],
            &[
                "compression.type",
                "cleanup.policy",
                "min.insync.replicas",
                "segment.bytes",
                "unclean.leader.election.enable",
            ],
        );
        check(
            vec!["SCRAM-SHA-256", "producer_byte_rate", "consumer_byte_rate"],
            &["SCRAM-SHA-256", "producer_byte_rate", "consumer_byte_rate"],
        );
    }

    #[test]
    fn partitions_come_in_scalas_order() {
        let mut keys: Vec<String> = (0..13).map(|p: i32| p.to_string()).collect();
        sort_as_scala_mutable(&mut keys, |key| key);
        // Among 32 buckets "11" and "12" (1568, 1569) come first, "0" to "9" (48 to 57) from 16 on, "10" (1567) last.
        assert_eq!(
            keys,
            ["11", "12", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"].map(String::from)
        );
    }
}
