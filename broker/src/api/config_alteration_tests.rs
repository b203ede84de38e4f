//! AlterConfigs and IncrementalAlterConfigs: what is refused, and in which words.

use super::*;

fn entry(name: &str, operation: i8, value: Option<&str>) -> Entry {
    Entry {
        name: name.to_owned(),
        operation,
        value: value.map(str::to_owned),
    }
}

#[test]
fn operations_change_what_is_set() {
    let check = |name: &str, set: Option<&str>, operation: i8, value: &str, expected: Option<&str>| {
        let before: Entries = set.map(|set| (name.to_owned(), set.to_owned())).into_iter().collect();
        let after = altered(before, &[entry(name, operation, Some(value))], topic_list_default).unwrap();
        assert_eq!(
            after.get(name).map(String::as_str),
            expected,
            "{name} {set:?} {operation} {value}"
        );
    };
    let policy = "cleanup.policy";
    check("retention.ms", None, SET, "5", Some("5"));
    check("no.such", None, SET, "5", Some("5"));
    check("retention.ms", Some("5"), DELETE, "", None);
    check("no.such", Some("5"), DELETE, "", None);
    check(policy, None, APPEND, "compact", Some("delete,compact"));
    check(
        policy,
        Some("compact"),
        APPEND,
        "delete,compact",
        Some("compact,delete"),
    );
    check(policy, Some(""), APPEND, "compact", Some("compact"));
    check(policy, None, SUBTRACT, "delete", Some(""));
    check(policy, Some("compact,delete"), SUBTRACT, "delete", Some("compact"));
    check(policy, Some("compact"), SUBTRACT, "delete", Some("compact"));
    let replicas = "leader.replication.throttled.replicas";
    check(replicas, None, APPEND, "0:1,1:1", Some("0:1,1:1"));
    check(replicas, Some("0:1,1:1,0:1"), SUBTRACT, "0:1", Some("1:1,0:1"));
}

#[test]
fn what_is_no_list_is_refused() {
    let check = |name: &str, operation: i8, of_broker: bool, code: ErrorCode, message: Option<&str>| {
        let list_default = if of_broker {
            broker_list_default
        } else {
            topic_list_default
        };
        let refusal = altered(Entries::new(), &[entry(name, operation, Some("1"))], list_default).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.message.as_deref()),
            (code, message),
            "{name} {operation}"
        );
    };
    check(
        "retention.ms",
        APPEND,
        false,
        ErrorCode::InvalidConfig,
        Some("Config value append is not allowed for config key: retention.ms"),
    );
    check(
        "num.io.threads",
        SUBTRACT,
        true,
        ErrorCode::InvalidConfig,
        Some("Config value subtract is not allowed for config key: num.io.threads"),
    );
    check("no.such", APPEND, false, ErrorCode::UnknownServerError, None);
    check("retention.ms", 9, false, ErrorCode::UnknownServerError, None);
}

#[test]
fn a_key_counts_once_and_has_a_value() {
    let check = |all: &[Entry], expected: Result<(), &str>| {
        let expected = expected.map_err(Refusal::invalid_request);
        assert_eq!(check_entries(all), expected, "{all:?}");
    };
    check(&[], Ok(()));
    check(&[entry("a", SET, Some("")), entry("b", DELETE, None)], Ok(()));
    check(
        &[entry("a", SET, Some("1")), entry("a", DELETE, None)],
        Err("Error due to duplicate config keys"),
    );
    check(
        &[
            entry("a", SET, None),
            entry("b", APPEND, None),
            entry("c", DELETE, None),
        ],
        Err("Null value not supported for : a, b"),
    );
}

#[test]
fn loggers_are_checked_before_any_is_changed() {
    let check = |operation: i8, name: &str, level: Option<&str>, expected: Result<(), Refusal>| {
        let found = check_logger(&entry(name, operation, level), |logger| {
            ["root", "broker"].contains(&logger)
        });
        assert_eq!(found, expected, "{name} {operation} {level:?}");
    };
    let config = |message: &str| Err(Refusal::new(ErrorCode::InvalidConfig, message));
    let request = |message: &str| Err(Refusal::invalid_request(message));
    check(SET, "broker", Some("DEBUG"), Ok(()));
    check(SET, "root", Some("FATAL"), Ok(()));
    check(SET, "other", Some("DEBUG"), config("Logger other does not exist!"));
    check(
        SET,
        "broker",
        Some("debug"),
        config(
            "Cannot set the log level of broker to debug as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
        ),
    );
    check(DELETE, "broker", None, Ok(()));
    check(DELETE, "other", None, config("Logger other does not exist!"));
    check(
        DELETE,
        "root",
        None,
        request("Removing the log level of the root logger is not allowed"),
    );
    check(
        APPEND,
        "broker",
        Some("DEBUG"),
        request("APPEND operation is not allowed for the BROKER_LOGGER resource"),
    );
    check(
        9,
        "broker",
        Some("DEBUG"),
        request("Unknown operation type 9 is not allowed for the BROKER_LOGGER resource"),
    );
}

#[test]
fn lists_are_split_as_java_splits_them() {
    let check = |text: &str, items: &[&str]| assert_eq!(split(text), items, "{text:?}");
    check("", &[""]);
    check("a", &["a"]);
    check("a,,b,,", &["a", "", "b"]);
}
