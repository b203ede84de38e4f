//! Secured brokers, and the clients that can reach them.
//!
//! A secured broker keeps the plain listener by which the harness watches it, whose `User:ANONYMOUS` is a super user, and
//! has three more: `SSL`, which wants a client's certificate, `SASL_PLAINTEXT` and `SASL_SSL`. Everybody else needs rights.
//! [`Login`] says once who a client is; the client libraries' own spellings of that come from it.

use crate::certificates::{Authority, Identity, STORE_PASSWORD};
use crate::{BrokerSetup, Scene, free_port, kafka};
use std::path::{Path, PathBuf};

/// The mechanisms that [`Security::configure`] enables.
pub const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Users that may log in by `PLAIN`; each one's password is its name and `-secret`.
const PLAIN_USERS: [&str; 4] = ["admin", "alice", "bob", "mallory"];

/// What the brokers of a scene have in common: an authority, and the certificate of them all.
pub struct Security {
    /// Who has signed all the certificates.
    pub authority: Authority,
    directory: PathBuf,
    server: Identity,
    server_pkcs12: PathBuf,
    trust_jks: PathBuf,
}

impl Security {
    /// Makes authority and certificates in the scene's directory.
    pub fn new(scene: &Scene) -> Self {
        let directory = scene.directory().join("certificates");
        let authority = Authority::new(&directory, "authority");
        let server = authority.server("broker");
        Self {
            server_pkcs12: server.keystore("PKCS12"),
            trust_jks: authority.truststore("JKS"),
            authority,
            directory,
            server,
        }
    }

    /// Gives a broker the four listeners and Kafka's own authorizer. `SSL` has its stores as PEM, `SASL_SSL` as PKCS12 and JKS.
    pub fn configure(&self, setup: BrokerSetup) -> BrokerSetup {
        let text = |path: &Path| path.display().to_string();
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{}", setup.port());
        for name in ["SSL", "SASL_PLAINTEXT", "SASL_SSL"] {
            listeners += &format!(",{name}://127.0.0.1:{}", free_port());
        }
        let mut setup = setup
            .set("listeners", &listeners)
            .set("ssl.keystore.type", "PEM")
            .set("ssl.keystore.location", &text(&self.server.pem))
            .set("ssl.truststore.type", "PEM")
            .set("ssl.truststore.location", &text(&self.authority.pem()))
            .set("listener.name.ssl.ssl.client.auth", "required")
            .set("ssl.principal.mapping.rules", r"RULE:^CN=([^,]+),O=Ottla$/$1/,DEFAULT")
            .set("listener.name.sasl_ssl.ssl.keystore.type", "PKCS12")
            .set(
                "listener.name.sasl_ssl.ssl.keystore.location",
                &text(&self.server_pkcs12),
            )
            .set("listener.name.sasl_ssl.ssl.keystore.password", STORE_PASSWORD)
            .set("listener.name.sasl_ssl.ssl.key.password", STORE_PASSWORD)
            .set("listener.name.sasl_ssl.ssl.truststore.type", "JKS")
            .set("listener.name.sasl_ssl.ssl.truststore.location", &text(&self.trust_jks))
            .set("listener.name.sasl_ssl.ssl.truststore.password", STORE_PASSWORD)
            .set("sasl.enabled.mechanisms", &MECHANISMS.join(","))
            .set("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer")
            .set("super.users", "User:ANONYMOUS;User:admin")
            .set("password.encoder.secret", "encoder-secret");
        let users: String = PLAIN_USERS
            .map(|user| format!(" user_{user}=\"{}\"", password(user)))
            .concat();
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            let key = |mechanism: &str| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
            let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required{users};");
            let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
            setup = setup
                .set(&key("plain"), &plain)
                .set(&key("scram-sha-256"), scram)
                .set(&key("scram-sha-512"), scram);
        }
        setup
    }

    /// Somebody who comes to `SSL` with this certificate.
    pub fn by_certificate(&self, identity: &Identity) -> Login {
        let text = |path: &Path| path.display().to_string();
        let mut login = self.over("SSL");
        login.set("ssl.certificate.location", &text(&identity.certificate));
        login.set("ssl.key.location", &text(&identity.key));
        login.keystore = Some(identity.pem.clone());
        login
    }

    /// A user with the password of that name who comes to `SASL_SSL` by this mechanism.
    pub fn by_password(&self, mechanism: &str, user: &str) -> Login {
        let mut login = self.over("SASL_SSL");
        login.set("sasl.mechanism", mechanism);
        login.set("sasl.username", user);
        login.set("sasl.password", &password(user));
        login
    }

    /// Somebody who trusts the authority, and has nothing to show.
    pub fn over(&self, protocol: &str) -> Login {
        let mut login = Login {
            directory: self.directory.clone(),
            properties: Vec::new(),
            keystore: None,
        };
        login.set("security.protocol", protocol);
        if protocol.ends_with("SSL") {
            login.set("ssl.ca.location", &self.authority.pem().display().to_string());
        }
        login
    }
}

/// The password of a user.
pub fn password(user: &str) -> String {
    format!("{user}-secret")
}

/// Gives these users a password for both SCRAM mechanisms, by `kafka-configs`.
pub fn create_scram_users(bootstrap: &str, users: &[&str]) {
    for user in users {
        let password = password(user);
        let credentials = format!(
            "SCRAM-SHA-256=[iterations=4096,password={password}],SCRAM-SHA-512=[iterations=4096,password={password}]"
        );
        let to = ["--bootstrap-server", bootstrap, "--alter", "--entity-type", "users"];
        let what = ["--entity-name", user, "--add-config", &credentials];
        kafka("kafka-configs", &[&to[..], &what].concat()).succeeds();
    }
}

/// Who a client is and how it comes, in librdkafka's words.
#[derive(Clone)]
pub struct Login {
    directory: PathBuf,
    properties: Vec<(String, String)>,
    keystore: Option<PathBuf>,
}

impl Login {
    fn set(&mut self, key: &str, value: &str) {
        self.properties.retain(|(k, _)| k != key);
        self.properties.push((key.to_owned(), value.to_owned()));
    }

    /// The same with another value of a key, in librdkafka's spelling.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.properties.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The listener that it comes to.
    pub fn protocol(&self) -> &str {
        self.value("security.protocol").unwrap_or("PLAINTEXT")
    }

    /// `key=value` words, which the Go and Python clients take.
    pub fn words(&self) -> Vec<String> {
        self.properties.iter().map(|(k, v)| format!("{k}={v}")).collect()
    }

    /// Arguments for kcat.
    pub fn kcat(&self) -> Vec<String> {
        self.words()
            .into_iter()
            .flat_map(|word| ["-X".to_owned(), word])
            .collect()
    }

    /// Writes a properties file for Java's clients and gives its path.
    pub fn java(&self, name: &str) -> String {
        let mut text = format!("security.protocol={}\n", self.protocol());
        if let Some(authority) = self.value("ssl.ca.location") {
            text += &format!("ssl.truststore.type=PEM\nssl.truststore.location={authority}\n");
        }
        if let Some(store) = &self.keystore {
            text += &format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", store.display());
        }
        if let Some(mechanism) = self.value("sasl.mechanism") {
            let module = match mechanism {
                "PLAIN" => "plain.PlainLoginModule",
                _ => "scram.ScramLoginModule",
            };
            text += &format!(
                "sasl.mechanism={mechanism}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required username=\"{}\" password=\"{}\";\n",
                self.value("sasl.username").unwrap_or_default(),
                self.value("sasl.password").unwrap_or_default(),
            );
        }
        // What is refused is refused: no test waits two minutes for that.
        text += "request.timeout.ms=10000\ndefault.api.timeout.ms=15000\nmax.block.ms=15000\n";
        let file = self.directory.join(format!("{name}.properties"));
        std::fs::write(&file, text).expect("a file can be written");
        file.display().to_string()
    }
}
