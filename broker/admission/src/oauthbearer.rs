//! OAUTHBEARER, made ready: reads key sets from files, fetches them and tokens over HTTP, and keeps them fresh.
//!
//! Fetching blocks a thread of the blocking pool, with a bound of time and of size; logins never wait for it, but use
//! what was fetched last. A key that a token names and nobody has is fetched at once, at most once a minute.
//!
//! Source: Kafka 3.9 `RefreshingHttpsJwks`, `HttpAccessTokenRetriever`, `FileTokenRetriever`, `ExpiringCredentialRefreshingLogin`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use broker_security::oauthbearer::client::{OAuthBearerClient, UnsecuredLogins};
use broker_security::oauthbearer::jwks::{KeySet, Keys};
use broker_security::oauthbearer::server::OAuthBearerServers;
use broker_security::oauthbearer::{MECHANISM, SignedValidator, Validator};
use broker_security::sasl::{ClientFactory, ClientFailure, ClientMechanism, ServerFactory};
use broker_security::tls::{Secret, TrustStoreSettings};
use serde_json::Value;

use crate::clock;
use crate::settings::{Endpoint, SignedTokens, Source, TokenCheck, TokenSource};

/// How large an answer may be.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long an answer may take where no time is set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// OAUTHBEARER for a listener. On a runtime.
///
/// # Errors
/// The keys cannot be read: a sentence.
pub(crate) fn servers(check: &TokenCheck) -> Result<Arc<dyn ServerFactory>, String> {
    let validator = match check {
        TokenCheck::Unsecured(validator) => Validator::Unsecured(validator.clone()),
        TokenCheck::Signed(signed) => Validator::Signed(SignedValidator {
            keys: keys(signed)?,
            expected_audience: signed.expected_audience.clone(),
            expected_issuer: signed.expected_issuer.clone(),
            scope_claim_name: signed.scope_claim_name.clone(),
            sub_claim_name: signed.sub_claim_name.clone(),
            clock_skew_seconds: signed.clock_skew_seconds,
        }),
    };
    Ok(Arc::new(OAuthBearerServers::new(validator, clock::now)))
}

/// Keys from a file are read once; those of a server are fetched from time to time.
fn keys(signed: &SignedTokens) -> Result<Arc<Keys>, String> {
    match &signed.jwks {
        Source::File(path) => {
            let json = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            KeySet::parse(&json)
                .map(Keys::new)
                .map_err(|error| format!("{}: {error}", path.display()))
        }
        Source::Http(endpoint) => {
            let fetcher = Fetcher::new(endpoint)?;
            let keys = Keys::new(KeySet::default());
            tokio::spawn(refresh(Arc::downgrade(&keys), fetcher, signed.clone()));
            Ok(keys)
        }
    }
}

/// Fetches keys for as long as somebody needs them.
async fn refresh(keys: Weak<Keys>, fetcher: Fetcher, signed: SignedTokens) {
    let mut backoff = signed.retry_backoff;
    loop {
        let fetched = fetcher.clone().fetch().await.and_then(|json| KeySet::parse(&json));
        let Some(keys) = keys.upgrade() else { return };
        let pause = match fetched {
            Ok(set) => {
                tracing::info!(
                    url = fetcher.url,
                    keys = set.len(),
                    "fetched the keys of the identity provider"
                );
                keys.replace(set);
                backoff = signed.retry_backoff;
                signed.refresh
            }
            Err(error) => {
                tracing::warn!(url = fetcher.url, %error, "the keys of the identity provider could not be fetched");
                let pause = backoff;
                backoff = (backoff * 2).min(signed.retry_backoff_max);
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = keys.wanted() => {}
        }
    }
}

/// This broker's own logins. On a runtime.
///
/// # Errors
/// Nobody could log in so: a sentence.
pub(crate) fn logins(source: &TokenSource) -> Result<Arc<dyn ClientFactory>, String> {
    Ok(match source {
        TokenSource::Unsecured(options) => Arc::new(UnsecuredLogins::from_options(options, clock::now)?),
        TokenSource::File(path) => Arc::new(FileLogins(path.clone())),
        TokenSource::Http {
            endpoint,
            client_id,
            client_secret,
            scope,
            extensions,
        } => {
            let mut form = "grant_type=client_credentials".to_owned();
            if let Some(scope) = scope {
                form.push_str("&scope=");
                form.extend(form_encoded(scope));
            }
            let credentials = STANDARD.encode(format!("{client_id}:{}", client_secret.reveal()));
            let logins = Arc::new(FetchedLogins {
                token: ArcSwapOption::empty(),
                extensions: extensions.clone(),
            });
            let fetcher = Fetcher {
                authorization: Some(Secret::new(format!("Basic {credentials}"))),
                form: Some(form),
                ..Fetcher::new(endpoint)?
            };
            tokio::spawn(keep_token(Arc::downgrade(&logins), fetcher));
            logins
        }
    })
}

/// The token stands in a file that somebody else keeps fresh.
struct FileLogins(PathBuf);

impl ClientFactory for FileLogins {
    fn name(&self) -> &str {
        MECHANISM
    }

    fn begin(&self) -> Result<Box<dyn ClientMechanism>, ClientFailure> {
        let token = read_token(&self.0).map_err(ClientFailure)?;
        Ok(Box::new(OAuthBearerClient::new(token, BTreeMap::new())))
    }
}

fn read_token(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} holds no token", path.display())),
        token => Ok(token.to_owned()),
    }
}

/// The token comes from an identity provider.
struct FetchedLogins {
    token: ArcSwapOption<Secret>,
    extensions: BTreeMap<String, String>,
}

impl ClientFactory for FetchedLogins {
    fn name(&self) -> &str {
        MECHANISM
    }

    fn begin(&self) -> Result<Box<dyn ClientMechanism>, ClientFailure> {
        let token = self.token.load();
        let token = token
            .as_ref()
            .ok_or_else(|| ClientFailure("the identity provider has given no token yet".to_owned()))?;
        Ok(Box::new(OAuthBearerClient::new(
            token.reveal().to_owned(),
            self.extensions.clone(),
        )))
    }
}

/// Fetches a token, and another when most of its life is over.
async fn keep_token(logins: Weak<FetchedLogins>, fetcher: Fetcher) {
    const BACKOFF_MIN: Duration = Duration::from_millis(100);
    const BACKOFF_MAX: Duration = Duration::from_secs(10);
    let mut backoff = BACKOFF_MIN;
    loop {
        let fetched = fetcher.clone().fetch().await.and_then(|json| access_token(&json));
        let Some(logins) = logins.upgrade() else { return };
        let pause = match fetched {
            Ok((token, lifetime)) => {
                tracing::info!(
                    url = fetcher.url,
                    lifetime_s = lifetime.as_secs(),
                    "fetched a token to log in with"
                );
                logins.token.store(Some(Arc::new(token)));
                backoff = BACKOFF_MIN;
                lifetime.mul_f64(0.8).max(Duration::from_secs(1))
            }
            Err(error) => {
                tracing::warn!(url = fetcher.url, %error, "no token to log in with could be fetched");
                let pause = backoff;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                pause
            }
        };
        drop(logins);
        tokio::time::sleep(pause).await;
    }
}

/// The token in an answer, and how long it is good: by `expires_in`, by its own claim, or an hour.
fn access_token(json: &[u8]) -> Result<(Secret, Duration), String> {
    let answer: Value = serde_json::from_slice(json).map_err(|_| "the answer is not JSON".to_owned())?;
    let token = answer.get("access_token").and_then(Value::as_str).map(str::trim);
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or("the answer holds no access_token")?;
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let expires = claims.as_ref().and_then(|claims| claims.get("exp")?.as_f64());
    let of_claim = expires.map(|expires| expires - clock::now().0 as f64 / 1000.0);
    let told = answer.get("expires_in").and_then(Value::as_f64);
    let seconds = of_claim.or(told).filter(|seconds| seconds.is_finite());
    let seconds = seconds.unwrap_or(3600.0).clamp(1.0, 86_400.0);
    Ok((Secret::new(token), Duration::from_secs_f64(seconds)))
}

/// As a form has it.
fn form_encoded(text: &str) -> Vec<char> {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => vec![char::from(byte)],
        b' ' => vec!['+'],
        _ => format!("%{byte:02X}").chars().collect(),
    };
    text.bytes().flat_map(encode).collect()
}

/// One question to one server.
#[derive(Clone)]
struct Fetcher {
    url: String,
    agent: ureq::Agent,
    authorization: Option<Secret>,
    /// What is sent; `None`: it is only read.
    form: Option<String>,
}

impl Fetcher {
    fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let trusted = match &endpoint.truststore {
            Some((path, of, password)) => TrustStoreSettings::file(of.clone(), path.clone(), password.clone())
                .and_then(|store| store.load())
                .map_err(|error| error.to_string())?,
            None => TrustStoreSettings::of_the_system(),
        };
        let trusted: Vec<_> = trusted
            .iter()
            .map(|der| ureq::tls::Certificate::from_der(der).to_owned())
            .collect();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&trusted))
            .unversioned_rustls_crypto_provider(broker_security::tls::crypto_provider())
            .build();
        let timeout = |timeout: Option<Duration>| Some(timeout.filter(|it| !it.is_zero()).unwrap_or(DEFAULT_TIMEOUT));
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(timeout(endpoint.connect_timeout))
            .timeout_recv_response(timeout(endpoint.read_timeout))
            .timeout_recv_body(timeout(endpoint.read_timeout))
            // Secrets go nowhere but where they were meant to go.
            .max_redirects(0)
            .build();
        Ok(Self {
            url: endpoint.url.clone(),
            agent: agent.into(),
            authorization: None,
            form: None,
        })
    }

    async fn fetch(self) -> Result<Vec<u8>, String> {
        let fetched = tokio::task::spawn_blocking(move || self.fetch_blocking()).await;
        fetched.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn fetch_blocking(&self) -> Result<Vec<u8>, String> {
        let said = |error: ureq::Error| error.to_string();
        let mut response = match &self.form {
            None => self.agent.get(&self.url).header("Accept", "application/json").call(),
            Some(form) => {
                let mut request = self
                    .agent
                    .post(&self.url)
                    .header("Accept", "application/json")
                    .header("Content-Type", "application/x-www-form-urlencoded");
                if let Some(authorization) = &self.authorization {
                    request = request.header("Authorization", authorization.reveal());
                }
                request.send(form.as_bytes())
            }
        }
        .map_err(said)?;
        if !response.status().is_success() {
            return Err(format!("the answer has the status {}", response.status()));
        }
        response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(said)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]}"#;

    fn endpoint(url: String) -> Endpoint {
        Endpoint {
            url,
            truststore: None,
            connect_timeout: Some(Duration::from_secs(5)),
            read_timeout: Some(Duration::from_millis(500)),
        }
    }

    /// Answers one request with these bytes; what it was asked.
    async fn serve_once(answer: String) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !is_whole(&asked) {
                assert!(
                    stream.read_buf(&mut asked).await.unwrap() > 0,
                    "a request without an end"
                );
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            String::from_utf8_lossy(&asked).into_owned()
        });
        (url, served)
    }

    /// Whether the headers are there, and the body that they promise.
    fn is_whole(asked: &[u8]) -> bool {
        let asked = String::from_utf8_lossy(asked);
        let Some((headers, body)) = asked.split_once("\r\n\r\n") else {
            return false;
        };
        let headers = headers.to_lowercase();
        let promised = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        body.len() >= promised.unwrap_or(0)
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn what_a_server_says_is_fetched_within_bounds() {
        let check = async |answer: String, expected: Result<&str, &str>| {
            let (url, _served) = serve_once(answer).await;
            let fetched = Fetcher::new(&endpoint(url)).unwrap().fetch().await;
            match (fetched, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(String::from_utf8_lossy(&found), expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, _) => panic!("{found:?}"),
            }
        };
        check(ok(KEYS), Ok(KEYS)).await;
        check("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".into(), Err("500")).await;
        check(
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".into(),
            Err(""),
        )
        .await;
        check(ok(&"x".repeat(2 << 20)), Err("")).await;
        check(String::new(), Err("timeout")).await;
        check("what?\r\n\r\n".into(), Err("")).await;
    }

    #[tokio::test]
    async fn keys_of_a_server_are_there_once_they_are_fetched() {
        let (url, _served) = serve_once(ok(KEYS)).await;
        let signed = SignedTokens {
            jwks: Source::Http(endpoint(url)),
            refresh: Duration::from_secs(3600),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            expected_audience: Vec::new(),
            expected_issuer: None,
            scope_claim_name: "scope".into(),
            sub_claim_name: "sub".into(),
            clock_skew_seconds: 30,
        };
        let keys = keys(&signed).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !format!("{keys:?}").contains("count: 1") {
            assert!(std::time::Instant::now() < deadline, "no keys: {keys:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_token_is_asked_for_with_the_clients_credentials() {
        let (url, served) = serve_once(ok(r#"{"access_token":"a.b.c","expires_in":60}"#)).await;
        let logins = logins(&TokenSource::Http {
            endpoint: endpoint(url),
            client_id: "me".into(),
            client_secret: Secret::new("sesame"),
            scope: Some("a b&c".into()),
            extensions: BTreeMap::new(),
        })
        .unwrap();
        let asked = served.await.unwrap();
        assert!(asked.starts_with("POST /path HTTP/1.1\r\n"), "{asked}");
        assert!(
            asked
                .to_lowercase()
                .contains(&"authorization: Basic bWU6c2VzYW1l\r\n".to_lowercase()),
            "{asked}"
        );
        assert!(
            asked.ends_with("grant_type=client_credentials&scope=a+b%26c"),
            "{asked}"
        );
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while logins.begin().is_err() {
            assert!(std::time::Instant::now() < deadline, "no token");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn a_token_lives_as_long_as_it_says_or_as_is_told() {
        let check = |json: &str, expected: Option<u64>| {
            let found = access_token(json.as_bytes())
                .ok()
                .map(|(_, lifetime)| lifetime.as_secs());
            assert_eq!(found, expected, "{json}");
        };
        check(r#"{"access_token":"x","expires_in":60}"#, Some(60));
        check(r#"{"access_token":"x"}"#, Some(3600));
        check(r#"{"access_token":"x","expires_in":-5}"#, Some(1));
        check(r#"{"access_token":"x","expires_in":1e300}"#, Some(86_400));
        check(r#"{"access_token":" "}"#, None);
        check("{}", None);
        check("x", None);
    }
}
