//! Topic configurations against the table of the real broker: defaults, bounds, synonyms, texts of refusals.

use std::collections::BTreeMap;

use super::*;

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn the_table_is_sorted_and_equals_kafkas_list() {
    assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
    let reference = include_str!("../../testdata/topic-configs-3.9.1.tsv");
    let mut names = Vec::new();
    for line in reference.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let key = find(columns[0]).unwrap_or_else(|| panic!("{} is missing", columns[0]));
        assert_eq!(key.kind.type_name(), columns[1], "{}", key.name);
        assert_eq!(key.default, columns[2].trim_matches('"'), "{}", key.name);
        assert_eq!(key.synonyms.first().map_or("", |s| s.name), columns[5], "{}", key.name);
        names.push(columns[0]);
    }
    assert_eq!(names.len(), KEYS.len());
}

#[test]
fn every_default_is_valid() {
    for key in KEYS {
        assert_eq!(check(key, key.default), Ok(()), "{}", key.name);
    }
    let config = LogConfig::default();
    assert_eq!(config.segment_bytes, 1 << 30);
    assert_eq!(config.retention_ms, Millis(604_800_000));
    assert!(config.delete && !config.compact);
}

#[test]
fn values_are_checked_as_kafka_does() {
    let check = |name: &str, value: &str, answer: &str| {
        let text = match check(find(name).unwrap(), value) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, answer);
    };
    check("retention.ms", "-1", "");
    check("retention.ms", " 5 ", "");
    check(
        "retention.ms",
        "-2",
        "Invalid value -2 for configuration retention.ms: Value must be at least -1",
    );
    check(
        "retention.ms",
        "x",
        "Invalid value x for configuration retention.ms: Not a number of type LONG",
    );
    check("retention.bytes", "-17", "");
    check(
        "segment.bytes",
        "13",
        "Invalid value 13 for configuration segment.bytes: Value must be at least 14",
    );
    check("cleanup.policy", "compact, delete", "");
    check(
        "cleanup.policy",
        "Compact",
        "Invalid value Compact for configuration cleanup.policy: String must be one of: compact, delete",
    );
    check("compression.gzip.level", "-1", "");
    check(
        "compression.gzip.level",
        "0",
        "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
    );
    check("compression.zstd.level", "-5", "");
    check(
        "compression.lz4.level",
        "18",
        "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
    );
    check("preallocate", "TRUE", "");
    check(
        "preallocate",
        "yes",
        "Invalid value yes for configuration preallocate: Expected value to be either true or false",
    );
    check("leader.replication.throttled.replicas", "0:1,2:3", "");
    check("leader.replication.throttled.replicas", "*", "");
    check("message.format.version", "2.6", "");
    check("message.format.version", "2.6.1", "");
    check("message.format.version", "0.10.2-IV0", "");
    check(
        "message.format.version",
        "7.7",
        "Invalid value 7.7 for configuration message.format.version: Version `7.7` is not a valid version",
    );
    assert!(super::check(find("leader.replication.throttled.replicas").unwrap(), "0-1").is_err());
    assert!(super::check(find("min.cleanable.dirty.ratio").unwrap(), "1.5").is_err());
    assert!(super::check(find("min.cleanable.dirty.ratio").unwrap(), "NaN").is_err());
}

#[test]
fn the_first_broker_config_that_is_set_gives_the_default() {
    let check = |set: &[(&str, &str)], retention_ms: i64| {
        let config = LogConfig::from_broker(|name| set.iter().find(|(k, _)| *k == name).map(|(_, v)| *v)).unwrap();
        assert_eq!(config.retention_ms, Millis(retention_ms), "{set:?}");
    };
    check(&[], 604_800_000);
    check(&[("log.retention.hours", "2")], 7_200_000);
    check(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")], 180_000);
    check(&[("log.retention.minutes", "3"), ("log.retention.ms", "4")], 4);
    check(&[("log.retention.hours", "-1")], -1);
    let refused = LogConfig::from_broker(|name| (name == "log.segment.bytes").then_some("1"));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "Invalid value 1 for configuration log.segment.bytes: Value must be at least 14"
    );
}

#[test]
fn overrides_win_over_defaults_and_unknown_ones_are_passed_over() {
    let defaults = LogConfig::from_broker(|name| (name == "log.segment.bytes").then_some("1000")).unwrap();
    let config = LogConfig::resolve(
        &defaults,
        &overrides(&[
            ("retention.ms", "7"),
            ("of.the.future", "x"),
            ("cleanup.policy", "compact,delete"),
        ]),
    )
    .unwrap();
    assert_eq!((config.segment_bytes, config.retention_ms), (1000, Millis(7)));
    assert!(config.compact && config.delete);
    assert_eq!(config.value("segment.bytes"), Some("1000"));
    assert_eq!(config.overridden("segment.bytes"), None);
    assert_eq!(config.overridden("retention.ms"), Some("7"));
    assert_eq!(config.value("of.the.future"), None);
    assert_eq!(
        LogConfig::validate(&defaults, &overrides(&[("of.the.future", "x")])),
        Err(ConfigError::UnknownName("of.the.future".to_owned()))
    );
    assert!(
        LogConfig::validate(
            &defaults,
            &overrides(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")])
        )
        .is_err()
    );
}

#[test]
fn the_old_timestamp_difference_counts_where_the_new_bounds_are_not_set() {
    let config = LogConfig::resolve(
        &LogConfig::default(),
        &overrides(&[
            ("message.timestamp.difference.max.ms", "5"),
            ("message.timestamp.after.max.ms", "6"),
        ]),
    )
    .unwrap();
    assert_eq!(
        (
            config.message_timestamp_before_max_ms,
            config.message_timestamp_after_max_ms
        ),
        (Millis(5), Millis(6))
    );
}
