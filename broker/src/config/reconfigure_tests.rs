//! From one configuration of a running broker to another: what is refused, and in which words.

use super::*;
use crate::config::ConfigHandle;

const MAP: (&str, &str) = (
    "listener.security.protocol.map",
    "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT,SAFE:SSL",
);

fn config(pairs: &[(&str, &str)]) -> BrokerConfig {
    let all = [("zookeeper.connect", "z"), ("broker.id", "0"), MAP];
    BrokerConfig::from_pairs(all.iter().chain(pairs).copied()).unwrap()
}

#[test]
fn a_running_broker_refuses_in_kafkas_words() {
    let check = |before: &[(&str, &str)], after: &[(&str, &str)], expected: Result<(), &str>| {
        let found = check_rules(&config(before), &config(after));
        assert_eq!(found, expected.map_err(str::to_owned), "{before:?} {after:?}");
    };
    let threads = "num.io.threads";
    check(&[(threads, "6")], &[(threads, "12")], Ok(()));
    check(&[(threads, "6")], &[(threads, "3")], Ok(()));
    check(
        &[(threads, "6")],
        &[(threads, "100")],
        Err(
            "Dynamic thread count update validation failed for num.io.threads=100, value should not be greater than double the current value 6",
        ),
    );
    check(
        &[(threads, "6")],
        &[(threads, "2")],
        Err(
            "Dynamic thread count update validation failed for num.io.threads=2, value should be at least half the current value 6",
        ),
    );
    check(
        &[],
        &[("num.replica.fetchers", "0")],
        Err("Dynamic thread count update validation failed for num.replica.fetchers=0, value should be at least 1"),
    );
    check(
        &[],
        &[("listener.name.plaintext.num.network.threads", "7")],
        Err(
            "Dynamic thread count update validation failed for num.network.threads=7, value should not be greater than double the current value 3",
        ),
    );
    check(
        &[],
        &[("log.cleaner.threads", "3")],
        Err("Log cleaner threads cannot be increased to more than double the current value 1"),
    );
    check(
        &[],
        &[("listener.name.plaintext.max.connections", "0")],
        Err("Invalid max.connections 0"),
    );
    check(&[], &[("listener.name.plaintext.max.connections", "5")], Ok(()));
    check(
        &[],
        &[("metric.reporters", "com.example.Reporter")],
        Err(
            "Validation of dynamic config update of Set(metric.reporters) failed with class class kafka.server.DynamicMetricsReporters",
        ),
    );
    check(
        &[],
        &[("log.retention.ms", "5"), ("log.local.retention.ms", "6")],
        Err(
            "Invalid value 6 for configuration log.local.retention.ms: Value must not be more than log.retention.ms property value: 5",
        ),
    );
}

#[test]
fn listeners_come_and_go_and_those_that_stay_stay_as_they_are() {
    let check = |before: &[(&str, &str)], after: &[(&str, &str)], expected: Result<(), &str>| {
        let found = check_listeners(&config(before), &config(after));
        assert_eq!(found, expected.map_err(str::to_owned), "{before:?} {after:?}");
    };
    let one = ("listeners", "PLAINTEXT://:1");
    let two = ("listeners", "PLAINTEXT://:1,OTHER://:2");
    let jaas = "listener.name.other.plain.sasl.jaas.config";
    check(&[one], &[two], Ok(()));
    check(&[two], &[one], Ok(()));
    check(&[two], &[two, ("advertised.listeners", "PLAINTEXT://a:1")], Ok(()));
    check(&[one], &[two, (jaas, "x")], Ok(()));
    check(
        &[two],
        &[("listeners", "PLAINTEXT://:1,OTHER://:3"), (jaas, "x")],
        Err(
            "Configs cannot be updated dynamically for existing listener ListenerName(OTHER), restart broker or create a new listener for update",
        ),
    );
    // Kafka looks at the keys of listeners only beside a change of the listeners.
    check(&[two], &[two, (jaas, "x")], Ok(()));
    check(
        &[two],
        &[
            ("listeners", "PLAINTEXT://:1,OTHER://:3"),
            ("listener.name.other.max.connections", "4"),
        ],
        Ok(()),
    );
}

struct Strict;

impl Reconfigurable for Strict {
    fn validate(&self, _: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
        match next.message_max_bytes {
            13 => Err("unlucky".into()),
            _ => Ok(()),
        }
    }

    fn reconfigure(&self, before: &BrokerConfig, after: &BrokerConfig) {
        assert_ne!(before.message_max_bytes, after.message_max_bytes);
    }
}

#[test]
fn a_part_of_the_broker_has_its_say_before_and_after_the_write() {
    let handle = ConfigHandle::new(config(&[]));
    handle.add_reconfigurable(std::sync::Arc::new(Strict));
    let entries = |value: &str| BTreeMap::from([("message.max.bytes".to_owned(), value.to_owned())]);
    let refused = "Invalid value org.apache.kafka.common.config.ConfigException: unlucky for configuration Invalid dynamic configuration";
    let asked = handle.validate_dynamic(&entries("13"), false).unwrap_err();
    assert_eq!(asked.to_string(), refused);
    let applied = handle.apply_dynamic(entries("13"), BTreeMap::new()).unwrap_err();
    assert_eq!(applied.to_string(), refused);
    assert_ne!(handle.load().message_max_bytes, 13);
    assert!(handle.apply_dynamic(entries("14"), BTreeMap::new()).unwrap());
    assert_eq!(handle.load().message_max_bytes, 14);
}
