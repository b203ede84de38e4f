//! Which partition of `__consumer_offsets` or `__transaction_state`, and so which broker, a group or a transactional id belongs to.

/// The partition of a group or transactional id among `partition_count`.
///
/// Java's string hash over UTF-16 units, its absolute value (0 for the smallest integer), modulo the count: every broker, old or new,
/// must come to the same. Source: Kafka 3.9 `GroupMetadataManager.partitionFor`,
/// `TransactionStateManager.partitionFor`, `Utils.abs`.
pub fn partition_for(id: &str, partition_count: i32) -> i32 {
    let hash = id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partition_count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        let check = |name: &str, hash: i32| assert_eq!(partition_for(name, i32::MAX), hash, "{name}");
        check("", 0);
        check("a", 97);
        check("hello", 99_162_322);
        check("grüße", 98_768_023);
        // The smallest integer has no absolute value.
        check("polygenelubricants", 0);
        // Two units beyond the basic plane.
        check("𝔄", 1_772_399);
        assert_eq!(partition_for("hello", 50), 22);
    }
}
