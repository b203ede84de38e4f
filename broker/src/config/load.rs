//! Putting the layers together, and what the operator should hear about them.

use core::fmt;

use super::broker_config::BrokerConfig;
use super::error::ConfigError;
use super::jaas_file;
use super::keys::{KEYS, OWN_KEYS, lookup, lookup_any};
use super::layers::{Merged, Sources, merge};

/// A checked configuration, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: BrokerConfig,
    /// To be logged as warnings.
    pub notices: Vec<Notice>,
}

/// Something the operator should know; nothing that keeps the broker from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// No key has this name.
    Unknown {
        /// As written.
        name: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// These keys are set, known and checked, but change nothing yet.
    NotActedOn(Vec<&'static str>),
    /// These environment variables change nothing.
    WithoutEffect(Vec<String>),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                name,
                nearest: Some(nearest),
            } => {
                write!(f, "unknown configuration {name} is ignored; did you mean {nearest}?")
            }
            Self::Unknown { name, nearest: None } => write!(f, "unknown configuration {name} is ignored"),
            Self::NotActedOn(names) => {
                write!(
                    f,
                    "these configurations are set but have no effect yet: {}",
                    names.join(", ")
                )
            }
            Self::WithoutEffect(names) => {
                write!(
                    f,
                    "these environment variables are without effect here: {}",
                    names.join(", ")
                )
            }
        }
    }
}

/// Loads the configuration: defaults < file < environment < overrides.
///
/// # Errors
/// The first thing that is wrong; the broker must not start with it.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut merged = merge(sources)?;
    if merged.pairs.contains_key("config.providers") {
        return Err(ConfigError::Refused(
            "config.providers is not supported: values cannot be fetched by a Java class; write them into the file, or pass them by the environment".into(),
        ));
    }
    let notices = notices(&merged);
    jaas_file::add(&mut merged.pairs, &sources.environment)?;
    Ok(Loaded {
        config: BrokerConfig::from_pairs(merged.pairs)?,
        notices,
    })
}

fn notices(merged: &Merged) -> Vec<Notice> {
    let mut notices: Vec<Notice> = merged
        .pairs
        .keys()
        .filter(|name| lookup_any(name).is_none() && !name.starts_with("listener.name."))
        .filter(|name| !broker_admission::is_authorizer_key(name))
        .map(|name| Notice::Unknown {
            name: name.clone(),
            nearest: nearest(name),
        })
        .collect();
    let not_acted_on: Vec<_> = merged
        .pairs
        .keys()
        .filter_map(|name| lookup(name))
        .filter(|key| !key.acted_on)
        .map(|key| key.name)
        .collect();
    if !not_acted_on.is_empty() {
        notices.push(Notice::NotActedOn(not_acted_on));
    }
    if !merged.without_effect.is_empty() {
        notices.push(Notice::WithoutEffect(merged.without_effect.iter().cloned().collect()));
    }
    notices
}

/// The key whose name is fewest edits away, if that is near enough to be a slip.
fn nearest(name: &str) -> Option<&'static str> {
    let slips = 1 + name.len() / 8;
    KEYS.iter()
        .chain(OWN_KEYS)
        .map(|key| (edits(name, key.name), key.name))
        .min()
        .filter(|(distance, _)| *distance <= slips)
        .map(|(_, nearest)| nearest)
}

/// The Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(overrides: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let all = [("zookeeper.connect", "localhost:2181"), ("broker.id", "0")]
            .iter()
            .chain(overrides);
        let overrides = all.map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        load(&Sources {
            overrides,
            ..Sources::default()
        })
    }

    #[test]
    fn unknown_keys_are_named_with_the_one_that_was_meant() {
        let check = |name: &str, nearest: Option<&'static str>| {
            let notices = loaded(&[(name, "1")]).unwrap().notices;
            assert_eq!(
                notices,
                [Notice::Unknown {
                    name: name.to_owned(),
                    nearest
                }]
            );
        };
        check("log.retention.hour", Some("log.retention.hours"));
        check("num.partitons", Some("num.partitions"));
        check("zookeper.session.timeout.ms", Some("zookeeper.session.timeout.ms"));
        check("my.own.setting", None);
    }

    #[test]
    fn listener_keys_pass_and_keys_without_effect_are_named_once() {
        let notices = loaded(&[
            ("listener.name.internal.ssl.client.auth", "none"),
            ("telemetry.max.bytes", "1"),
            ("group.share.max.groups", "3"),
        ])
        .unwrap()
        .notices;
        assert_eq!(
            notices,
            [Notice::NotActedOn(vec![
                "group.share.max.groups",
                "telemetry.max.bytes"
            ])]
        );
    }

    #[test]
    fn the_stock_server_properties_load() {
        let stock = [
            ("num.network.threads", "3"),
            ("num.io.threads", "8"),
            ("socket.send.buffer.bytes", "102400"),
            ("socket.receive.buffer.bytes", "102400"),
            ("socket.request.max.bytes", "104857600"),
            ("log.dirs", "/tmp/kafka-logs"),
            ("num.partitions", "1"),
            ("num.recovery.threads.per.data.dir", "1"),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("log.retention.hours", "168"),
            ("log.retention.check.interval.ms", "300000"),
            ("zookeeper.connect", "localhost:2181"),
            ("zookeeper.connection.timeout.ms", "18000"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let notices = loaded(&stock).unwrap().notices;
        assert_eq!(
            notices,
            [Notice::NotActedOn(vec!["num.io.threads", "num.network.threads"])]
        );
    }

    #[test]
    fn config_providers_are_refused() {
        let error = loaded(&[("config.providers", "file")]).unwrap_err().to_string();
        assert!(error.starts_with("config.providers is not supported"), "{error}");
    }
}
