//! The dynamic layers over a configuration: precedence, sources, validation.

use super::*;

fn handle(pairs: &[(&str, &str)]) -> ConfigHandle {
    let all = [("zookeeper.connect", "localhost"), ("broker.id", "0")]
        .iter()
        .chain(pairs)
        .copied();
    ConfigHandle::new(BrokerConfig::from_pairs(all).unwrap())
}

fn entries(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_nearer_layer_wins() {
    let handle = handle(&[("log.retention.hours", "1"), ("num.partitions", "2")]);
    let mut changes = handle.changes();
    assert_eq!(handle.load().log_retention_ms, 3_600_000);
    let cluster = entries(&[
        ("log.retention.ms", "5000"),
        ("min.insync.replicas", "2"),
        ("num.partitions", "9"),
    ]);
    assert!(
        handle
            .apply_dynamic(cluster.clone(), entries(&[("log.retention.ms", "6000")]))
            .unwrap()
    );
    assert_eq!(handle.load().log_retention_ms, 6000);
    assert_eq!(handle.load().min_insync_replicas, 2);
    assert_eq!(
        handle.load().num_partitions,
        2,
        "a read-only key is not changed at run time"
    );
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(handle.apply_dynamic(cluster, BTreeMap::new()).unwrap());
    assert_eq!(handle.load().log_retention_ms, 5000);
    assert!(handle.apply_dynamic(BTreeMap::new(), BTreeMap::new()).unwrap());
    assert_eq!(handle.load().log_retention_ms, 3_600_000);
    assert!(!handle.apply_dynamic(BTreeMap::new(), BTreeMap::new()).unwrap());
}

#[test]
fn an_invalid_change_changes_nothing() {
    let handle = handle(&[]);
    handle
        .apply_dynamic(entries(&[("message.max.bytes", "7")]), BTreeMap::new())
        .unwrap();
    let error = handle
        .apply_dynamic(entries(&[("message.max.bytes", "-1")]), BTreeMap::new())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Invalid value -1 for configuration message.max.bytes: Value must be at least 0"
    );
    assert_eq!(handle.load().message_max_bytes, 7);
}

#[test]
fn changes_are_validated_in_kafkas_words() {
    let check = |name: &str, value: &str, per_broker: bool, expected: Result<(), &str>| {
        let result = handle(&[]).validate_dynamic(&entries(&[(name, value)]), per_broker);
        assert_eq!(
            result.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{name}={value}"
        );
    };
    check("log.retention.ms", "5000", false, Ok(()));
    check("log.retention.ms", "5000", true, Ok(()));
    check(
        "log.retention.ms",
        "x",
        true,
        Err("Invalid value x for configuration log.retention.ms: Not a number of type LONG"),
    );
    check(
        "broker.id",
        "1",
        true,
        Err("Cannot update these configs dynamically: Set(broker.id)"),
    );
    check(
        "ssl.keystore.type",
        "PEM",
        true,
        Err(
            "These security configs can be dynamically updated only per-listener using the listener prefix: HashSet(ssl.keystore.type)",
        ),
    );
    check("listener.name.internal.ssl.keystore.type", "PEM", true, Ok(()));
    check(
        "listener.name.internal.ssl.keystore.type",
        "PEM",
        false,
        Err(
            "Cannot update these configs at default cluster level, broker id must be specified: Set(listener.name.internal.ssl.keystore.type)",
        ),
    );
    check("listener.name.internal.max.connections", "5", false, Ok(()));
    check(
        "listeners",
        "PLAINTEXT://:1",
        false,
        Err("Cannot update these configs at default cluster level, broker id must be specified: Set(listeners)"),
    );
    check("leader.replication.throttled.rate", "100", true, Ok(()));
    check(
        "leader.replication.throttled.rate",
        "-100",
        true,
        Err("Invalid value -100 for configuration leader.replication.throttled.rate: Value must be at least 0"),
    );
    check(
        "log.roll.ms",
        "0",
        true,
        Err("requirement failed: log.roll.ms must be greater than or equal to 1"),
    );
    check(
        "advertised.listeners",
        "OTHER://127.0.0.1:1",
        true,
        Err(
            "Error creating broker listeners from 'OTHER://127.0.0.1:1': No security protocol defined for listener OTHER",
        ),
    );
    check("custom.key", "x", true, Ok(()));
}

#[test]
fn a_key_is_described_with_every_place_that_sets_it() {
    let handle = handle(&[("log.retention.hours", "1"), ("ssl.key.password", "secret")]);
    handle
        .apply_dynamic(
            entries(&[("log.retention.ms", "5000")]),
            entries(&[("log.retention.ms", "6000")]),
        )
        .unwrap();
    let check = |name: &str, expected: &[(&str, Option<&str>, ValueSource)]| {
        let described: Vec<_> = handle
            .describe(name)
            .into_iter()
            .map(|found| (found.name, found.value, found.source))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(name, value, source)| (name.to_owned(), value.map(str::to_owned), source))
            .collect();
        assert_eq!(described, expected, "{name}");
    };
    check(
        "log.retention.ms",
        &[
            ("log.retention.ms", Some("6000"), ValueSource::DynamicBroker),
            ("log.retention.ms", Some("5000"), ValueSource::DynamicDefaultBroker),
            ("log.retention.hours", Some("1"), ValueSource::StaticBroker),
            ("log.retention.hours", Some("168"), ValueSource::Default),
        ],
    );
    check("num.partitions", &[("num.partitions", Some("1"), ValueSource::Default)]);
    check(
        "ssl.key.password",
        &[("ssl.key.password", None, ValueSource::StaticBroker)],
    );
    check("broker.rack", &[]);
}
