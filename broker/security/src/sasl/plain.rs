//! PLAIN (RFC 4616): a name and a password in one message.
//!
//! Users stand in the listener's JAAS line as `user_NAME="password"`. They are kept and compared as MACs under a key
//! of this process, so that neither the length nor the beginning of a password shows in the time it takes, and an
//! unknown user costs what a known one costs.
//!
//! Source: Kafka 3.9 `PlainSaslServer`, `PlainServerCallbackHandler`, `PlainSaslClient` of Java.

use std::collections::BTreeMap;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::jaas::JaasEntry;
use super::{
    Authenticated, ClientFactory, ClientFailure, ClientMechanism, ClientStep, Failure, NoRandomness, PLAIN,
    ServerFactory, ServerMechanism, Step, random,
};
use crate::principal::KafkaPrincipal;

/// The login module whose options hold users.
pub const PLAIN_LOGIN_MODULE: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

const USER_PREFIX: &str = "user_";

type Digest = [u8; 32];

/// The users of a listener.
#[derive(Clone)]
pub struct PlainUsers {
    inner: Arc<Inner>,
}

struct Inner {
    key: Digest,
    users: BTreeMap<String, Digest>,
}

impl core::fmt::Debug for PlainUsers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.inner.users.keys()).finish()
    }
}

impl PlainUsers {
    /// The users named in the options of [`PLAIN_LOGIN_MODULE`]; of a user named twice the first counts.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn from_jaas<'a>(entries: impl IntoIterator<Item = &'a JaasEntry>) -> Result<Self, NoRandomness> {
        let mut key = Digest::default();
        random::fill(&mut key)?;
        let mut users = BTreeMap::new();
        for entry in entries {
            if entry.login_module != PLAIN_LOGIN_MODULE {
                continue;
            }
            for (option, password) in &entry.options {
                if let Some(user) = option.strip_prefix(USER_PREFIX) {
                    users.entry(user.to_owned()).or_insert_with(|| mac(&key, password));
                }
            }
        }
        Ok(Self {
            inner: Arc::new(Inner { key, users }),
        })
    }

    fn holds(&self, user: &str, password: &str) -> bool {
        let given = mac(&self.inner.key, password);
        let known = self.inner.users.get(user);
        // An unknown user is compared as well, with what no password gives but by chance.
        let equal = known.unwrap_or(&self.inner.key).ct_eq(&given);
        known.is_some() && bool::from(equal)
    }
}

fn mac(key: &Digest, password: &str) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(password.as_bytes());
    mac.finalize().into_bytes().into()
}

impl ServerFactory for PlainUsers {
    fn name(&self) -> &str {
        PLAIN
    }

    fn begin(&self) -> Box<dyn ServerMechanism> {
        Box::new(PlainServer { users: self.clone() })
    }
}

struct PlainServer {
    users: PlainUsers,
}

impl ServerMechanism for PlainServer {
    fn step(&mut self, client: &[u8]) -> Step {
        match check(&self.users, &String::from_utf8_lossy(client)) {
            Ok(user) => Step::Done(Authenticated {
                final_message: Vec::new(),
                principal: KafkaPrincipal::user(user),
                expires_at: None,
            }),
            Err(sentence) => Step::Failed(Failure::told(sentence)),
        }
    }
}

fn check(users: &PlainUsers, message: &str) -> Result<String, String> {
    // A fifth token would not be split off, as Kafka's loop ends there.
    let tokens: Vec<&str> = message.splitn(5, '\0').take(4).collect();
    let [authorization_id, user, password] = tokens[..] else {
        return Err(format!(
            "Invalid SASL/PLAIN response: expected 3 tokens, got {}",
            tokens.len()
        ));
    };
    if user.is_empty() {
        return Err("Authentication failed: username not specified".into());
    }
    if password.is_empty() {
        return Err("Authentication failed: password not specified".into());
    }
    if !users.holds(user, password) {
        return Err("Authentication failed: Invalid username or password".into());
    }
    if !authorization_id.is_empty() && authorization_id != user {
        return Err(
            "Authentication failed: Client requested an authorization id that is different from username".into(),
        );
    }
    Ok(user.to_owned())
}

/// A name and a password of ours.
#[derive(Clone)]
pub struct PlainClient {
    username: String,
    password: String,
}

impl core::fmt::Debug for PlainClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PlainClient")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl PlainClient {
    /// The `username` and `password` of a JAAS line.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn from_jaas(entry: &JaasEntry) -> Result<Self, ClientFailure> {
        let (username, password) = entry.username_and_password()?;
        Ok(Self { username, password })
    }
}

impl ClientFactory for PlainClient {
    fn name(&self) -> &str {
        PLAIN
    }

    fn begin(&self) -> Result<Box<dyn ClientMechanism>, ClientFailure> {
        let message = format!("\0{}\0{}", self.username, self.password);
        Ok(Box::new(PlainLogin {
            message: Some(message.into_bytes()),
        }))
    }
}

struct PlainLogin {
    message: Option<Vec<u8>>,
}

impl ClientMechanism for PlainLogin {
    fn step(&mut self, _server: &[u8]) -> Result<ClientStep, ClientFailure> {
        Ok(match self.message.take() {
            Some(message) => ClientStep::Send(message),
            None => ClientStep::Done,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::jaas;

    fn users() -> PlainUsers {
        let entry = jaas::parse_line(&format!(
            r#"{PLAIN_LOGIN_MODULE} required username="broker" password="inter" user_alice="wonder=land" user_bob="b";"#
        ))
        .unwrap();
        PlainUsers::from_jaas([&entry]).unwrap()
    }

    #[test]
    fn a_login_is_a_name_a_password_and_nothing_else() {
        let users = users();
        let check = |name: &str, message: &[u8], expected: Result<&str, &str>| {
            let found = match users.begin().step(message) {
                Step::Done(done) => {
                    assert_eq!((done.final_message.len(), done.expires_at), (0, None), "{name}");
                    Ok(done.principal.to_string())
                }
                Step::Failed(failure) => Err(failure.sentence.expect(name)),
                Step::Challenge(_) => panic!("{name}: PLAIN has no challenge"),
            };
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{name}");
        };
        let wrong = Err("Authentication failed: Invalid username or password");
        let tokens = |count| format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}");
        check("right", b"\0alice\0wonder=land", Ok("User:alice"));
        check(
            "authorization id is the user",
            b"alice\0alice\0wonder=land",
            Ok("User:alice"),
        );
        check("wrong password", b"\0alice\0wonderland", wrong);
        check("longer password", b"\0alice\0wonder=landx", wrong);
        check("another's password", b"\0bob\0wonder=land", wrong);
        check("unknown user", b"\0carol\0wonder=land", wrong);
        check("the user that this broker logs in as", b"\0broker\0inter", wrong);
        check("not UTF-8", b"\0alice\0\xff\xfe", wrong);
        check(
            "another's authorization id",
            b"bob\0alice\0wonder=land",
            Err("Authentication failed: Client requested an authorization id that is different from username"),
        );
        check(
            "no user",
            b"\0\0x",
            Err("Authentication failed: username not specified"),
        );
        check(
            "no password",
            b"\0alice\0",
            Err("Authentication failed: password not specified"),
        );
        check("nothing", b"", Err(&tokens(1)));
        check("one token", b"alice", Err(&tokens(1)));
        check("two tokens", b"alice\0x", Err(&tokens(2)));
        check("four tokens", b"\0alice\0wonder=land\0", Err(&tokens(4)));
        check("many tokens", &[0; 4096], Err(&tokens(4)));
    }

    #[test]
    fn what_the_client_sends_is_what_the_server_takes() {
        let line = format!(r#"{PLAIN_LOGIN_MODULE} required username="bob" password="b";"#);
        let client = PlainClient::from_jaas(&jaas::parse_line(&line).unwrap()).unwrap();
        let mut login = client.begin().unwrap();
        let Ok(ClientStep::Send(message)) = login.step(b"") else {
            panic!("the client speaks first")
        };
        assert!(matches!(users().begin().step(&message), Step::Done(_)));
        assert_eq!(login.step(b""), Ok(ClientStep::Done));
        assert_eq!(format!("{client:?}"), r#"PlainClient { username: "bob", .. }"#);
    }
}
