//! Where pairs come from: the properties file, the environment in the spelling of the common images, the command line.
//!
//! Later layers override earlier ones key by key. All pairs stand in *one* table, their dots untouched: keys are not a
//! tree (`broker.id` and `broker.id.generation.enable` both live). Values stay texts; `BrokerConfig` reads them.
//!
//! Environment: `KAFKA_X_Y` and `KAFKA_CFG_X_Y` mean `x.y`; `__` is `-`, `___` is `_`. It is always read, as the images
//! do; a variable counts only if what it spells is a key (or `listener.name.…`, or one of the authorizer's), so
//! `KAFKA_HOME` or the variables which Kubernetes sets for a service called `kafka` do no harm. An empty variable counts
//! as not set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError as LayerError, Map, Source, Value, ValueKind};

use super::error::ConfigError;
use super::keys;

/// The name of the one table.
const TABLE: &str = "kafka";

/// What the configuration is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `server.properties`.
    pub file: Option<PathBuf>,
    /// Name and value of every environment variable.
    pub environment: Vec<(String, String)>,
    /// `--override KEY=VALUE`, in order.
    pub overrides: Vec<(String, String)>,
}

/// All layers together.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) pairs: BTreeMap<String, String>,
    /// Environment variables that change nothing.
    pub(super) without_effect: BTreeSet<String>,
}

pub(super) fn merge(sources: &Sources) -> Result<Merged, ConfigError> {
    let mut merged = Merged::default();
    let file = match &sources.file {
        Some(path) => read_properties(path)?,
        None => Vec::new(),
    };
    let environment = from_environment(&sources.environment, &mut merged.without_effect);
    let advertised_by_environment = environment
        .iter()
        .find(|(key, _)| key == "advertised.listeners")
        .map(|(_, value)| value.clone());
    let layers = [
        Layer {
            name: "properties file",
            pairs: file,
        },
        Layer {
            name: "environment",
            pairs: environment,
        },
        Layer {
            name: "command line",
            pairs: sources.overrides.clone(),
        },
    ];
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let refused = |error: LayerError| ConfigError::Refused(error.to_string());
    for (key, value) in builder.build().map_err(refused)?.get_table(TABLE).map_err(refused)? {
        merged.pairs.insert(key, value.into_string().map_err(refused)?);
    }
    // As the Confluent image does: who only says what to advertise gets the same names and ports on every interface.
    if let (Some(advertised), false) = (advertised_by_environment, merged.pairs.contains_key("listeners")) {
        merged.pairs.insert("listeners".into(), on_every_interface(&advertised));
    }
    Ok(merged)
}

/// One layer as a source of the `config` crate.
#[derive(Clone, Debug)]
struct Layer {
    name: &'static str,
    pairs: Vec<(String, String)>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, LayerError> {
        let origin = self.name.to_owned();
        let table: Map<String, Value> = self
            .pairs
            .iter()
            .map(|(key, value)| (key.clone(), Value::new(Some(&origin), ValueKind::String(value.clone()))))
            .collect();
        Ok(Map::from_iter([(
            TABLE.to_owned(),
            Value::new(Some(&origin), ValueKind::Table(table)),
        )]))
    }
}

/// Reads a Java properties file in UTF-8 (or, if it is none, Latin-1); of a key that occurs twice the last value counts.
///
/// # Errors
/// The file cannot be read or is malformed.
pub fn read_properties(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::File {
        path: path.to_owned(),
        source,
    })?;
    parse_properties(&bytes).map_err(|reason| ConfigError::Malformed {
        path: path.to_owned(),
        reason,
    })
}

fn parse_properties(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => in_ascii(text.chars())?,
        // Old files are in Latin-1, which is what Java takes every file for.
        Err(_) => in_ascii(bytes.iter().map(|&byte| char::from(byte)))?,
    };
    let mut pairs = Vec::new();
    java_properties::PropertiesIter::new(text.as_bytes())
        .read_into(|key, value| pairs.push((key, value)))
        .map_err(|error| error.to_string())?;
    Ok(pairs)
}

/// The text with Java's `\u00fc` for everything beyond ASCII: the crate's own decoder of UTF-8 panics on some files.
/// It knows no surrogates either, so a character beyond the first 65,536 is refused.
fn in_ascii(text: impl Iterator<Item = char>) -> Result<String, String> {
    let mut ascii = String::new();
    let mut escaping = false;
    for character in text {
        if character.is_ascii() {
            ascii.push(character);
            escaping = character == '\\' && !escaping;
            continue;
        }
        if escaping {
            // A backslash before a plain character means that character.
            ascii.pop();
            escaping = false;
        }
        let code = u32::from(character);
        if code > 0xffff {
            return Err(format!("the character {character} cannot be read"));
        }
        // Writing to a `String` cannot fail.
        let _ = write!(ascii, "\\u{code:04x}");
    }
    Ok(ascii)
}

/// Variables of the start scripts and images that have no meaning here, and are no spelling of a key.
#[rustfmt::skip]
const WITHOUT_EFFECT: &[&str] = &[
    "ALLOW_ANONYMOUS_LOGIN", "ALLOW_PLAINTEXT_LISTENER", "JMX_PORT", "EXTRA_ARGS", "KAFKA_HEAP_OPTS",
    "KAFKA_JMX_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS", "KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_EXTRA_FLAGS",
];

fn from_environment(variables: &[(String, String)], without_effect: &mut BTreeSet<String>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        match environment_key(name) {
            // No key: it may name a JAAS file, which is read where somebody logs in.
            _ if name == "KAFKA_OPTS" => {}
            _ if WITHOUT_EFFECT.contains(&name.as_str()) => {
                without_effect.insert(name.clone());
            }
            Some(key) => pairs.push((key, value.clone())),
            None if name.starts_with("KAFKA_CFG_") => {
                without_effect.insert(name.clone());
            }
            None => {}
        }
    }
    // `KAFKA_CFG_X` after `KAFKA_X`, so that the more explicit spelling wins, whatever order the system lists them in.
    pairs.sort();
    pairs
}

/// The key that an environment variable spells, if it is one.
fn environment_key(name: &str) -> Option<String> {
    let spelled = name
        .strip_prefix("KAFKA_CFG_")
        .or_else(|| name.strip_prefix("KAFKA_"))?;
    let mut key = String::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some(character) = rest.chars().next() {
        let underscores = rest.len() - rest.trim_start_matches('_').len();
        let (written, length) = match underscores {
            0 => (character.to_ascii_lowercase(), character.len_utf8()),
            1 => ('.', 1),
            2 => ('-', 2),
            _ => ('_', 3),
        };
        key.push(written);
        rest = &rest[length..];
    }
    // Not a plain look-up: `zookeeper.clientCnxnSocket` has a capital letter.
    let mut known = keys::KEYS.iter().chain(keys::OWN_KEYS).map(|key| key.name);
    if let Some(known) = known.find(|known| known.eq_ignore_ascii_case(&key)) {
        return Some(known.to_owned());
    }
    // The authorizer's keys are not among the broker's own.
    (key.starts_with("listener.name.") || broker_admission::is_authorizer_key(&key)).then_some(key)
}

/// `INTERNAL://kafka:29092` becomes `INTERNAL://0.0.0.0:29092`; what cannot be read is left for the reader to refuse.
fn on_every_interface(advertised: &str) -> String {
    let open = |item: &str| match (item.split_once("://"), item.rsplit_once(':')) {
        (Some((name, _)), Some((_, port))) => format!("{}://0.0.0.0:{port}", name.trim()),
        _ => item.to_owned(),
    };
    advertised.split(',').map(open).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn an_environment_variable_spells_a_key() {
        let check = |name: &str, key: Option<&str>| assert_eq!(environment_key(name).as_deref(), key, "{name}");
        check("KAFKA_LOG_RETENTION_MS", Some("log.retention.ms"));
        check("KAFKA_CFG_LOG_RETENTION_MS", Some("log.retention.ms"));
        check("KAFKA_BROKER_ID", Some("broker.id"));
        check("KAFKA_BROKER_ID_GENERATION_ENABLE", Some("broker.id.generation.enable"));
        check("KAFKA_ZOOKEEPER_CLIENTCNXNSOCKET", Some("zookeeper.clientCnxnSocket"));
        check(
            "KAFKA_LISTENER_NAME_MY__NET_SSL_CLIENT_AUTH",
            Some("listener.name.my-net.ssl.client.auth"),
        );
        check(
            "KAFKA_LISTENER_NAME_MY___NET_SSL_CLIENT_AUTH",
            Some("listener.name.my_net.ssl.client.auth"),
        );
        check("KAFKA_SUPER_USERS", Some("super.users"));
        check(
            "KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND",
            Some("allow.everyone.if.no.acl.found"),
        );
        check("KAFKA_CONTROLLER_ELIGIBLE", Some("controller.eligible"));
        check("KAFKA_HOME", None);
        check("KAFKA_PORT_9092_TCP", None);
        check("KAFKA_", None);
        check("PATH", None);
    }

    #[test]
    fn layers_override_each_other_key_by_key_and_dots_are_no_tree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.properties");
        let text = "# a comment\nbroker.id=1\nbroker.id.generation.enable=false\nlog.dir = /file\\\n  /a\n\
                    num.partitions:3\nnum.partitions=4\nbroker.rack=\\u00fcber\nmax.connections=5\nmax.connections.per.ip 6\n";
        std::fs::write(&path, text).unwrap();
        let merged = merge(&Sources {
            file: Some(path),
            environment: pairs(&[
                ("KAFKA_LOG_DIR", "/env"),
                ("KAFKA_NUM_PARTITIONS", "5"),
                ("KAFKA_CFG_NUM_PARTITIONS", "6"),
                ("KAFKA_HEAP_OPTS", "-Xmx1G"),
                ("KAFKA_CFG_NO_SUCH", "x"),
                ("KAFKA_MAX_CONNECTIONS", ""),
                ("ALLOW_PLAINTEXT_LISTENER", "yes"),
                ("HOME", "/root"),
            ]),
            overrides: pairs(&[("log.dir", "/override"), ("no.such", "1")]),
        })
        .unwrap();
        let expected = pairs(&[
            ("broker.id", "1"),
            ("broker.id.generation.enable", "false"),
            ("broker.rack", "über"),
            ("log.dir", "/override"),
            ("max.connections", "5"),
            ("max.connections.per.ip", "6"),
            ("no.such", "1"),
            ("num.partitions", "6"),
        ]);
        assert_eq!(merged.pairs.into_iter().collect::<Vec<_>>(), expected);
        let without_effect: Vec<_> = merged.without_effect.iter().map(String::as_str).collect();
        assert_eq!(
            without_effect,
            ["ALLOW_PLAINTEXT_LISTENER", "KAFKA_CFG_NO_SUCH", "KAFKA_HEAP_OPTS"]
        );
    }

    #[test]
    fn who_only_advertises_listens_on_every_interface() {
        let check = |environment: &[(&str, &str)], overrides: &[(&str, &str)], listeners: Option<&str>| {
            let sources = Sources {
                file: None,
                environment: pairs(environment),
                overrides: pairs(overrides),
            };
            let merged = merge(&sources).unwrap();
            assert_eq!(merged.pairs.get("listeners").map(String::as_str), listeners);
        };
        let advertised = (
            "KAFKA_ADVERTISED_LISTENERS",
            "INTERNAL://kafka:29092,EXTERNAL://localhost:9092",
        );
        check(
            &[advertised],
            &[],
            Some("INTERNAL://0.0.0.0:29092,EXTERNAL://0.0.0.0:9092"),
        );
        check(
            &[advertised, ("KAFKA_LISTENERS", "PLAINTEXT://:1")],
            &[],
            Some("PLAINTEXT://:1"),
        );
        check(
            &[advertised],
            &[("listeners", "PLAINTEXT://:2")],
            Some("PLAINTEXT://:2"),
        );
        check(&[], &[("advertised.listeners", "PLAINTEXT://a:1")], None);
    }

    #[test]
    fn a_missing_file_is_an_error_with_its_name() {
        let error = read_properties(Path::new("/no/such.properties"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot read the properties file /no/such.properties: "),
            "{error}"
        );
    }

    #[test]
    fn a_file_may_be_in_utf_8_or_in_latin_1() {
        let check = |bytes: &[u8], value: &str| {
            let read = parse_properties(bytes).unwrap();
            assert_eq!(read, pairs(&[("k", value)]));
        };
        check("k=grün".as_bytes(), "grün");
        check("k=\\ü\\\\ü".as_bytes(), "ü\\ü");
        check(b"k=gr\xfcn", "grün");
        check(b"k=gr\\u00fcn", "grün");
    }

    #[test]
    fn a_malformed_file_is_an_error() {
        assert!(parse_properties(b"a=\\u12").is_err());
        let refused = parse_properties("a=1\nb=😀".as_bytes()).unwrap_err();
        assert_eq!(refused, "the character 😀 cannot be read");
    }
}
