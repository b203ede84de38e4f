//! `server.properties` into a typed configuration: derivations and refusals.

use super::*;

fn config(pairs: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
    let all = [("zookeeper.connect", "localhost:2181"), ("broker.id", "0")]
        .iter()
        .chain(pairs)
        .copied();
    BrokerConfig::from_pairs(all)
}

#[test]
fn defaults_are_kafkas() {
    let config = BrokerConfig::from_pairs([("zookeeper.connect", "localhost:2181")]).unwrap();
    assert_eq!(config.broker_id, None);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.log_retention_ms, 168 * HOUR_MS);
    assert_eq!(config.log_roll_ms, 168 * HOUR_MS);
    assert_eq!(config.log_roll_jitter_ms, 0);
    assert_eq!(config.log_flush_interval_ms, i64::MAX);
    assert_eq!(config.zookeeper_connection_timeout_ms, 18_000);
    assert_eq!(config.inter_broker_protocol_version.name(), "3.9-IV0");
    assert_eq!(config.inter_broker_listener_name, "PLAINTEXT");
    assert_eq!(config.listeners, config.advertised_listeners);
    assert_eq!(
        config.listeners.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["PLAINTEXT://:9092"]
    );
    assert_eq!(config.socket_request_max_bytes, 104_857_600);
    assert_eq!(config.offsets_topic_replication_factor, 3);
    assert_eq!(config.log_cleanup_policy, ["delete"]);
}

#[test]
fn finer_units_win_over_coarser_ones() {
    let check = |pairs: &[(&str, &str)], retention_ms: i64| {
        assert_eq!(config(pairs).unwrap().log_retention_ms, retention_ms, "{pairs:?}");
    };
    let (hours, minutes, ms) = (
        ("log.retention.hours", "2"),
        ("log.retention.minutes", "3"),
        ("log.retention.ms", "4"),
    );
    check(&[hours], 2 * HOUR_MS);
    check(&[hours, minutes], 3 * MINUTE_MS);
    check(&[hours, minutes, ms], 4);
    check(&[("log.retention.minutes", "-1")], -1);
    check(&[("log.retention.hours", "-5")], -1);
    let config = config(&[
        ("log.roll.hours", "2"),
        ("log.roll.jitter.ms", "7"),
        ("log.flush.scheduler.interval.ms", "9"),
    ]);
    let config = config.unwrap();
    assert_eq!(
        (
            config.log_roll_ms,
            config.log_roll_jitter_ms,
            config.log_flush_interval_ms
        ),
        (2 * HOUR_MS, 7, 9)
    );
}

#[test]
fn the_old_timestamp_bound_counts_until_a_new_one_is_set() {
    let old = ("log.message.timestamp.difference.max.ms", "5");
    let both = config(&[old, ("log.message.timestamp.after.max.ms", "6")]).unwrap();
    assert_eq!(
        (
            both.log_message_timestamp_before_max_ms,
            both.log_message_timestamp_after_max_ms
        ),
        (5, 6)
    );
}

#[test]
fn ids_and_directories_have_two_names_each() {
    assert_eq!(config(&[]).unwrap().broker_id, Some(BrokerId(0)));
    let by_node_id = BrokerConfig::from_pairs([("zookeeper.connect", "z"), ("node.id", "7")]).unwrap();
    assert_eq!(by_node_id.broker_id, Some(BrokerId(7)));
    assert_eq!(config(&[("broker.id", "-1")]).unwrap().broker_id, None);
    let dirs = config(&[("log.dir", "/a"), ("log.dirs", "/b, /c ,")]).unwrap().log_dirs;
    assert_eq!(dirs, [PathBuf::from("/b"), PathBuf::from("/c")]);
}

#[test]
fn what_kafka_refuses_is_refused_in_its_words() {
    let check = |pairs: &[(&str, &str)], expected: &str| {
        let error = config(pairs).map(drop).unwrap_err().to_string();
        assert_eq!(error, expected, "{pairs:?}");
    };
    check(
        &[("num.partitions", "abc")],
        "Invalid value abc for configuration num.partitions: Not a number of type INT",
    );
    check(
        &[("num.partitions", "0")],
        "Invalid value 0 for configuration num.partitions: Value must be at least 1",
    );
    check(
        &[("auto.create.topics.enable", "yes")],
        "Invalid value yes for configuration auto.create.topics.enable: Expected value to be either true or false",
    );
    check(
        &[("inter.broker.protocol.version", "9.9")],
        "Invalid value 9.9 for configuration inter.broker.protocol.version: Version `9.9` is not a valid version",
    );
    check(
        &[("zookeeper.connect", "")],
        "Missing required configuration `zookeeper.connect` which has no default value.",
    );
    check(
        &[("node.id", "4")],
        "You must set `node.id` to the same value as `broker.id`.",
    );
    check(
        &[("broker.id", "1001")],
        "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id",
    );
    check(
        &[("broker.id", "-1"), ("broker.id.generation.enable", "false")],
        "broker.id must be greater than or equal to 0",
    );
    check(
        &[("log.roll.ms", "0")],
        "log.roll.ms must be greater than or equal to 1",
    );
    check(
        &[("log.retention.ms", "0")],
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    );
    check(
        &[("log.dirs", " , ")],
        "At least one log directory must be defined via log.dirs or log.dir.",
    );
    check(
        &[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")],
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
    );
    check(
        &[("listeners", "SSL://:9093")],
        "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are SSL",
    );
    check(
        &[("advertised.listeners", "PLAINTEXT://a:1,SSL://a:2")],
        "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found PLAINTEXT,SSL. The valid options based on the current configuration are PLAINTEXT",
    );
    check(
        &[("inter.broker.listener.name", "INTERNAL")],
        "Listener with name INTERNAL defined in inter.broker.listener.name not found in listener.security.protocol.map.",
    );
    check(
        &[
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("security.inter.broker.protocol", "PLAINTEXT"),
        ],
        "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
    );
    check(
        &[("queued.max.request.bytes", "5")],
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
    );
    check(
        &[("max.connections.per.ip", "0")],
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    );
    check(
        &[("connections.max.idle.ms", "50")],
        "connection.failed.authentication.delay.ms=100 should always be less than connections.max.idle.ms=50 to prevent failed authentication responses from timing out",
    );
    check(
        &[("replica.lag.time.max.ms", "1")],
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR",
    );
}

#[test]
fn what_would_be_missed_if_it_were_ignored_is_refused() {
    let check = |key: &str, value: &str, expected: &str| {
        let error = config(&[(key, value)]).map(drop).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    check(
        "process.roles",
        "broker",
        "process.roles=broker asks for KRaft mode, but this broker runs on ZooKeeper: remove process.roles and set zookeeper.connect",
    );
    check(
        "zookeeper.metadata.migration.enable",
        "true",
        "zookeeper.metadata.migration.enable=true asks for a migration to KRaft, which this broker does not take part in",
    );
    check(
        "authorizer.class.name",
        "my.Authorizer",
        "authorizer.class.name=my.Authorizer is a Java class and cannot run here; kafka.security.authorizer.AclAuthorizer can",
    );
    check(
        "principal.builder.class",
        "my.Builder",
        "principal.builder.class=my.Builder is a Java class and cannot run here",
    );
    check(
        "listener.name.x.ssl.engine.factory.class",
        "my.Engines",
        "listener.name.x.ssl.engine.factory.class=my.Engines is a Java class and cannot run here",
    );
    check(
        "listeners",
        "PLAINTEXT://:9092,SASL_SSL://:9093",
        "listener SASL_SSL: sasl.enabled.mechanisms=GSSAPI (its default) needs Kerberos, which this broker does not speak: set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    );
    assert!(config(&[("process.roles", ""), ("authorizer.class.name", "")]).is_ok());
}

#[test]
fn two_listeners_of_a_compose_file_are_understood() {
    let config = config(&[
        ("listeners", "INTERNAL://0.0.0.0:29092,EXTERNAL://0.0.0.0:9092"),
        (
            "advertised.listeners",
            "INTERNAL://kafka:29092,EXTERNAL://localhost:9092",
        ),
        (
            "listener.security.protocol.map",
            "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT",
        ),
        ("inter.broker.listener.name", "internal"),
        ("max.connections.per.ip.overrides", "127.0.0.1:5,host-1.example:7"),
    ])
    .unwrap();
    assert_eq!(config.inter_broker_listener_name, "INTERNAL");
    assert_eq!(config.inter_broker_security_protocol, SecurityProtocol::Plaintext);
    assert_eq!(config.advertised_listeners[1].to_string(), "EXTERNAL://localhost:9092");
    assert_eq!(config.max_connections_per_ip_overrides["host-1.example"], 7);
}

#[test]
fn a_value_can_be_looked_up_by_its_key() {
    let config = config(&[("num.partitions", "3")]).unwrap();
    assert_eq!(config.value("num.partitions"), Some(Value::Integer(3)));
    assert_eq!(config.value("broker.rack"), Some(Value::Null));
    assert_eq!(config.value("no.such.key"), None);
}

/// What may stand behind a key: numbers at the edges of their types, lists, listeners, and anything.
fn any_value() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<i32>().prop_map(|number| number.to_string()),
        "[a-zA-Z]{0,8}(://)?[a-z0-9.\\[\\]:,]{0,16}(:[0-9]{0,6})?",
        "\\PC{0,24}",
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn no_value_of_any_key_makes_the_reader_panic(
        pairs in proptest::collection::vec((0..crate::config::KEYS.len(), any_value()), 1..6)
    ) {
        let pairs = pairs.iter().map(|(at, value)| (crate::config::KEYS[*at].name, value.as_str()));
        match BrokerConfig::from_pairs([("zookeeper.connect", "z")].into_iter().chain(pairs)) {
            Ok(config) => assert!(!config.log_dirs.is_empty() && !config.advertised_listeners.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let _: Result<_, ConfigError> = crate::config::read_properties(file.path());
    }
}
