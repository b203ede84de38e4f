//! How brokers and coordinators log in to ZooKeeper, from their keys: `zookeeper.ssl.*`, `zookeeper.set.acl`, and the JAAS
//! section `Client` of a file that `KAFKA_OPTS` names, as Kafka's scripts hand it to the JVM.
//!
//! Reads the files that the keys name. Refuses what the connection could not be held to: cipher suites, revocation lists
//! and OCSP cannot be chosen here; of the versions of TLS 1.2 and 1.3 are spoken.
//!
//! Source: Kafka 3.9 `KafkaConfig.zkClientConfig…`, `KafkaZkClient.createZkClient`, `JaasUtils.isZkSaslEnabled`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use broker_security::sasl::jaas::{self, JaasEntry};
use broker_security::tls::{KeyStoreSettings, Secret, TlsError, TrustStoreSettings};
use zk_schema_store::{ClientIdentity, DigestLogin, Security, Tls};

/// Our own key, for those who have no JVM to hand a file to.
const OWN_JAAS_KEY: &str = "ottla.zookeeper.sasl.jaas.config";
const LOGIN_CONFIG: &str = "java.security.auth.login.config";
const SASL_CLIENT: &str = "zookeeper.sasl.client";
const CLIENT_CONFIG: &str = "zookeeper.sasl.clientconfig";
const DIGEST_LOGIN_MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";

/// Keys that say how to log in to ZooKeeper.
pub const ZOOKEEPER_SECURITY_KEYS: [&str; 16] = [
    OWN_JAAS_KEY,
    "zookeeper.clientCnxnSocket",
    "zookeeper.set.acl",
    "zookeeper.ssl.cipher.suites",
    "zookeeper.ssl.client.enable",
    "zookeeper.ssl.crl.enable",
    "zookeeper.ssl.enabled.protocols",
    "zookeeper.ssl.endpoint.identification.algorithm",
    "zookeeper.ssl.keystore.location",
    "zookeeper.ssl.keystore.password",
    "zookeeper.ssl.keystore.type",
    "zookeeper.ssl.ocsp.enable",
    "zookeeper.ssl.protocol",
    "zookeeper.ssl.truststore.location",
    "zookeeper.ssl.truststore.password",
    "zookeeper.ssl.truststore.type",
];

/// The keys do not say how to log in to ZooKeeper. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidZooKeeperSecurity(String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, InvalidZooKeeperSecurity> {
    Err(InvalidZooKeeperSecurity(reason.into()))
}

/// Reads keys by `value` (what was set; `None` where nothing was), and `java_options` (the variable `KAFKA_OPTS`).
///
/// # Errors
/// A file cannot be read, or the keys ask for what cannot be.
pub fn zookeeper_security(
    value: impl Fn(&str) -> Option<String>,
    java_options: &str,
) -> Result<Security, InvalidZooKeeperSecurity> {
    let keys = Keys { value: &value };
    let java = java_properties(java_options);
    let security = Security {
        tls: tls(&keys)?,
        digest: digest(&keys, &java)?,
        set_acl: keys.is_true("zookeeper.set.acl")?,
    };
    let knows_us_by_tls = security.tls.as_ref().is_some_and(|tls| tls.identity.is_some())
        && keys.text("zookeeper.clientCnxnSocket").is_some();
    if security.set_acl && security.digest.is_none() && !knows_us_by_tls {
        return refuse(format!(
            "zookeeper.set.acl is true, but ZooKeeper client TLS configuration identifying at least \
             zookeeper.ssl.client.enable, zookeeper.clientCnxnSocket, and zookeeper.ssl.keystore.location was not \
             present and the verification of the JAAS login file failed {} (nor is {OWN_JAAS_KEY} set)",
            describe(&java)
        ));
    }
    Ok(security)
}

struct Keys<'a> {
    value: &'a dyn Fn(&str) -> Option<String>,
}

impl Keys<'_> {
    /// What is set and not blank.
    fn text(&self, key: &str) -> Option<String> {
        let value = (self.value)(key)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn is_true(&self, key: &str) -> Result<bool, InvalidZooKeeperSecurity> {
        match self.text(key).map(|text| text.to_lowercase()).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => refuse(format!(
                "Invalid value {text} for configuration {key}: Expected value to be either true or false"
            )),
        }
    }
}

fn tls(keys: &Keys<'_>) -> Result<Option<Tls>, InvalidZooKeeperSecurity> {
    const PROTOCOLS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];
    if !keys.is_true("zookeeper.ssl.client.enable")? {
        return Ok(None);
    }
    for key in ["zookeeper.ssl.crl.enable", "zookeeper.ssl.ocsp.enable"] {
        if keys.is_true(key)? {
            return refuse(format!(
                "{key}=true asks for the revocation of ZooKeeper's certificates to be looked up, which this program \
                 cannot do: remove it"
            ));
        }
    }
    if keys.text("zookeeper.ssl.cipher.suites").is_some() {
        return refuse(
            "zookeeper.ssl.cipher.suites would not be obeyed: the connection to ZooKeeper takes only suites that are \
             safe today, and leaves the choice among them to the server; remove it",
        );
    }
    for key in ["zookeeper.ssl.protocol", "zookeeper.ssl.enabled.protocols"] {
        if let Some(text) = keys.text(key)
            && !text.split(',').any(|one| PROTOCOLS.contains(&one.trim()))
        {
            return refuse(format!(
                "{key}={text} names no version of TLS that is spoken here: TLSv1.2 and TLSv1.3 are"
            ));
        }
    }
    let store = |which: &str| {
        let key = |name: &str| keys.text(&format!("zookeeper.ssl.{which}.{name}"));
        let path = key("location").map(PathBuf::from)?;
        Some((key("type"), path, key("password").map(Secret::new)))
    };
    let named = |which: &str, error: TlsError| InvalidZooKeeperSecurity(format!("zookeeper.ssl.{which}: {error}"));
    let identity = store("keystore").map(|(of, path, password)| {
        let keystore = KeyStoreSettings::file(of, path, password)?;
        let material = keystore.load()?;
        Ok(ClientIdentity {
            chain_pem: material.chain_pem(),
            key_pem: material.key_pem().reveal().to_owned(),
        })
    });
    let truststore = store("truststore").map(|(of, path, password)| TrustStoreSettings::file(of, path, password));
    let trusted_pem = truststore
        .transpose()
        .and_then(|store| TrustStoreSettings::trusted_pem(store.as_ref()))
        .map_err(|error| named("truststore", error))?;
    let algorithm = (keys.value)("zookeeper.ssl.endpoint.identification.algorithm");
    Ok(Some(Tls {
        trusted_pem,
        identity: identity.transpose().map_err(|error| named("keystore", error))?,
        // An explicit blank turns it off.
        verify_host: algorithm.is_none_or(|algorithm| algorithm.trim().eq_ignore_ascii_case("https")),
    }))
}

fn digest(keys: &Keys<'_>, java: &BTreeMap<String, String>) -> Result<Option<DigestLogin>, InvalidZooKeeperSecurity> {
    if let Some(line) = keys.text(OWN_JAAS_KEY) {
        let entry = jaas::parse_line(&line);
        let entry = entry.map_err(|error| InvalidZooKeeperSecurity(format!("{OWN_JAAS_KEY}: {error}")))?;
        return digest_login(&entry, OWN_JAAS_KEY).map(Some);
    }
    let Some(file) = java.get(LOGIN_CONFIG) else {
        return Ok(None);
    };
    // Java takes `=file` for a file that stands alone.
    let file = file.strip_prefix('=').unwrap_or(file);
    let failed = |reason: String| {
        InvalidZooKeeperSecurity(format!(
            "Exception while loading Zookeeper JAAS login context {}: {reason}",
            describe(java)
        ))
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(format!("{file}: {error}")))?;
    let sections = jaas::parse_file(&text).map_err(|error| failed(format!("{file}: {error}")))?;
    let section = java.get(CLIENT_CONFIG).map_or("Client", String::as_str);
    let Some(entry) = sections.get(section).and_then(|entries| entries.first()) else {
        return Ok(None);
    };
    if java
        .get(SASL_CLIENT)
        .is_some_and(|enabled| !enabled.eq_ignore_ascii_case("true"))
    {
        return refuse(format!(
            "JAAS configuration is present, but system property {SASL_CLIENT} is set to false, which disables SASL in \
             the ZooKeeper client {}",
            describe(java)
        ));
    }
    digest_login(entry, &format!("section {section} of {file}")).map(Some)
}

fn digest_login(entry: &JaasEntry, origin: &str) -> Result<DigestLogin, InvalidZooKeeperSecurity> {
    if entry.login_module != DIGEST_LOGIN_MODULE {
        return refuse(format!(
            "{origin}: {} cannot run here; {DIGEST_LOGIN_MODULE} can",
            entry.login_module
        ));
    }
    let option = |name: &str| match entry.options.get(name) {
        Some(value) => Ok(value.clone()),
        None => refuse(format!("{origin}: {DIGEST_LOGIN_MODULE} needs the option {name}")),
    };
    Ok(DigestLogin {
        username: option("username")?,
        password: option("password")?,
    })
}

/// `-Dkey=value` among the options of a JVM (the variable `KAFKA_OPTS`); the last one of a key counts.
pub fn java_properties(options: &str) -> BTreeMap<String, String> {
    let options = options.split_whitespace().map(|option| option.replace(['"', '\''], ""));
    options
        .filter_map(|option| {
            let (key, value) = option.strip_prefix("-D")?.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn describe(java: &BTreeMap<String, String>) -> String {
    let or = |key: &str, default: &str| java.get(key).map_or(default, String::as_str).to_owned();
    format!(
        "[{LOGIN_CONFIG}={}, {SASL_CLIENT}={}, {CLIENT_CONFIG}={}]",
        or(LOGIN_CONFIG, "null"),
        or(SASL_CLIENT, "default:true"),
        or(CLIENT_CONFIG, "default:Client")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str =
        r#"org.apache.zookeeper.server.auth.DigestLoginModule required username="kafka" password="sesame";"#;

    fn read(pairs: &[(&str, &str)], java: &str) -> Result<Security, InvalidZooKeeperSecurity> {
        let value = |key: &str| {
            pairs
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| (*value).to_owned())
        };
        zookeeper_security(value, java)
    }

    #[test]
    fn nothing_set_is_nothing_asked_for() {
        assert_eq!(read(&[], ""), Ok(Security::default()));
        assert_eq!(read(&[], "-Xmx1g -Dsomething=else"), Ok(Security::default()));
    }

    #[test]
    fn who_logs_in_stands_in_a_line_or_in_a_file_that_java_is_told_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sections = format!("Server {{ {DIGEST} }};\nClient {{ {DIGEST} }};\nMine {{ x.Y required; }};");
        std::fs::write(file.path(), sections).unwrap();
        let java = format!("-Xmx1g -Djava.security.auth.login.config=\"{}\"", file.path().display());
        let kafka = Some(DigestLogin {
            username: "kafka".into(),
            password: "sesame".into(),
        });
        let found = |pairs: &[(&str, &str)], java: &str| read(pairs, java).map(|security| security.digest);
        assert_eq!(found(&[(OWN_JAAS_KEY, DIGEST)], ""), Ok(kafka.clone()));
        assert_eq!(found(&[], &java), Ok(kafka.clone()));
        let elsewhere = format!("{java} -Dzookeeper.sasl.clientconfig=Nobody");
        assert_eq!(found(&[], &elsewhere), Ok(None));
        assert_eq!(found(&[("zookeeper.set.acl", "true")], &java), Ok(kafka));

        let check = |pairs: &[(&str, &str)], java: &str, expected: &str| {
            let error = found(pairs, java).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("sesame"), "{error}");
        };
        check(
            &[],
            &format!("{java} -Dzookeeper.sasl.client=false"),
            "which disables SASL",
        );
        check(
            &[],
            &format!("{java} -Dzookeeper.sasl.clientconfig=Mine"),
            "x.Y cannot run here",
        );
        check(&[], "-Djava.security.auth.login.config=/no/such/file", "/no/such/file");
        check(&[(OWN_JAAS_KEY, "sesame")], "", OWN_JAAS_KEY);
        let nobody = "org.apache.zookeeper.server.auth.DigestLoginModule required;";
        check(&[(OWN_JAAS_KEY, nobody)], "", "needs the option username");
    }

    #[test]
    fn acls_are_refused_to_whom_zookeeper_does_not_know() {
        let error = read(&[("zookeeper.set.acl", "true")], "").unwrap_err().to_string();
        assert!(
            error.starts_with("zookeeper.set.acl is true, but ZooKeeper client TLS"),
            "{error}"
        );
        assert!(error.contains("zookeeper.sasl.clientconfig=default:Client"), "{error}");
        let security = read(&[("zookeeper.set.acl", "true"), (OWN_JAAS_KEY, DIGEST)], "");
        assert!(security.unwrap().set_acl);
    }

    #[test]
    fn what_tls_could_not_be_held_to_is_refused() {
        let check = |key: &str, value: &str, expected: &str| {
            let error = read(&[("zookeeper.ssl.client.enable", "true"), (key, value)], "");
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("zookeeper.ssl.crl.enable", "true", "zookeeper.ssl.crl.enable=true");
        check("zookeeper.ssl.ocsp.enable", "TRUE", "zookeeper.ssl.ocsp.enable=true");
        check("zookeeper.ssl.cipher.suites", "TLS_X", "would not be obeyed");
        check("zookeeper.ssl.protocol", "TLSv1.1", "names no version of TLS");
        check(
            "zookeeper.ssl.truststore.location",
            "/no/such",
            "zookeeper.ssl.truststore",
        );
        let error = read(&[("zookeeper.ssl.client.enable", "maybe")], "").unwrap_err();
        assert!(error.to_string().contains("either true or false"));
    }
}
