//! DescribeConfigs against the entries of the real broker.

use std::collections::BTreeMap;

use super::*;
use crate::config::BrokerConfig;

/// Name, value, source, type and synonyms, as a real broker answered for a topic with `min.insync.replicas=1`.
const TOPIC: &str = include_str!("testdata/describe-topic-3.9.1.tsv");
/// Name, value, read-only, source, sensitive and type, as a real broker answered for itself.
const BROKER: &str = include_str!("testdata/describe-broker-3.9.1.tsv");

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn handle(pairs: &[(&str, &str)]) -> ConfigHandle {
    let all = [("zookeeper.connect", "localhost"), ("broker.id", "0")];
    ConfigHandle::new(BrokerConfig::from_pairs(all.iter().chain(pairs).copied()).unwrap())
}

fn synonyms(entry: &Entry) -> String {
    let shown = entry.synonyms.iter().map(|synonym| {
        let value = synonym.value.as_deref().unwrap_or("null");
        format!("{}:{}={value}", synonym.source as i8, synonym.name)
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_topic_is_described_as_by_kafka() {
    let overrides = map(&[("min.insync.replicas", "1")]);
    let found = of_topic_overrides(&handle(&[]), &LogConfig::default(), overrides);
    let found: Vec<String> = found
        .iter()
        .map(|entry| {
            let value = entry.value.as_deref().unwrap_or("null");
            let source = entry.source as i8;
            format!(
                "{}\t{value}\t{source}\t{}\t{}",
                entry.name,
                entry.config_type,
                synonyms(entry)
            )
        })
        .collect();
    // The captured broker ran with `log.segment.delete.delay.ms` and the like at their defaults.
    assert_eq!(found, TOPIC.lines().collect::<Vec<_>>());
}

#[test]
fn a_broker_is_described_as_by_kafka() {
    // What this broker refuses to run with, or would look at.
    let other = |name: &str| {
        name == "authorizer.class.name" || name.ends_with("listeners") || name == "listener.security.protocol.map"
    };
    let rows: Vec<Vec<&str>> = BROKER.lines().map(|line| line.split('\t').collect()).collect();
    let pairs: Vec<(&str, &str)> = rows
        .iter()
        .filter(|row| row[3] == "4" && !other(row[0]))
        .map(|row| (row[0], if row[1] == "null" { "hidden" } else { row[1] }))
        .collect();
    let handle = handle(&pairs);
    let default = map(&[("log.cleaner.threads", "2"), ("max.connections.per.ip", "500")]);
    handle.apply_dynamic(default, BTreeMap::new()).unwrap();
    let entries: BTreeMap<String, Entry> = of_broker(&handle)
        .into_iter()
        .map(|entry| (entry.name.clone(), entry))
        .collect();
    let shown = |entry: &Entry| {
        let value = entry.value.as_deref().unwrap_or("null");
        let (source, of) = ((entry.source as i8).to_string(), entry.config_type.to_string());
        [
            value.to_owned(),
            entry.read_only.to_string(),
            source,
            entry.is_sensitive.to_string(),
            of,
        ]
    };
    for row in &rows {
        let name = row[0];
        let Some(entry) = entries.get(name) else {
            panic!("{name} is missing")
        };
        let found = shown(entry);
        if other(name) {
            assert_eq!((&*found[1], &*found[3], &*found[4]), (row[2], row[4], row[5]), "{name}");
        } else {
            assert_eq!(found.as_slice(), &row[1..], "{name}");
        }
    }
    let known: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(
        entries
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn layers_show_in_the_order_in_which_they_count() {
    let handle = handle(&[("log.retention.hours", "1"), ("message.max.bytes", "7")]);
    handle
        .apply_dynamic(
            map(&[("log.retention.ms", "5000"), ("message.max.bytes", "8")]),
            map(&[("message.max.bytes", "9"), ("leader.replication.throttled.rate", "10")]),
        )
        .unwrap();
    let config = handle.current();
    let defaults = LogConfig::from_broker(|key| config.originals.get(key).map(String::as_str)).unwrap();
    let topic = of_topic_overrides(
        &handle,
        &defaults,
        map(&[
            ("max.message.bytes", "10"),
            ("segment.bytes", "bad"),
            ("from.elsewhere", "x"),
        ]),
    );
    let broker = of_broker(&handle);
    let check = |entries: &[Entry], name: &str, value: Option<&str>, expected: &str| {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(
            (entry.value.as_deref(), synonyms(entry).as_str()),
            (value, expected),
            "{name}"
        );
    };
    check(
        &topic,
        "max.message.bytes",
        Some("10"),
        "1:max.message.bytes=10 2:message.max.bytes=9 3:message.max.bytes=8 4:message.max.bytes=7 5:message.max.bytes=1048588",
    );
    check(
        &topic,
        "retention.ms",
        Some("5000"),
        "3:log.retention.ms=5000 4:log.retention.hours=1 5:log.retention.hours=168",
    );
    check(
        &topic,
        "segment.bytes",
        Some("1073741824"),
        "5:log.segment.bytes=1073741824",
    );
    check(&topic, "from.elsewhere", None, "1:from.elsewhere=null");
    check(
        &broker,
        "log.retention.hours",
        Some("168"),
        "4:log.retention.hours=1 5:log.retention.hours=168",
    );
    check(
        &broker,
        "leader.replication.throttled.rate",
        Some("10"),
        "2:leader.replication.throttled.rate=10",
    );
    let all = of_all_brokers(&handle);
    assert_eq!(all.len(), 2);
    check(&all, "message.max.bytes", Some("8"), "3:message.max.bytes=8");
}
