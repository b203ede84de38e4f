//! Who is at the other end: the requests of SASL before all others, and again whenever a session grows old.
//!
//! A machine without sockets: it is given frames and says what to do with the connection. Before the login only
//! ApiVersions (once), SaslHandshake and SaslAuthenticate are taken, in that order; after SaslHandshake version 0 tokens
//! come without headers. A session that has a lifetime (KIP-368) is renewed by another SaslHandshake; when it is over,
//! every other request closes the connection.
//!
//! Invariants: no request is served for a connection whose login has not ended well; a peer that has failed learns it
//! only after `connection.failed.authentication.delay.ms`; what it learns does not depend on whether a user exists; a
//! login is at most [`FRAMES_MAX`] frames of at most `sasl.server.max.receive.size` bytes.
//!
//! Source: Kafka 3.9 `SaslServerAuthenticator`, `KafkaChannel.maybeBeginServerReauthentication`,
//! `Processor.processCompletedReceives`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_security::principal::KafkaPrincipal;
use broker_security::sasl::{Authenticated, Failure, ServerMechanism, Step};
use broker_wire::header::RequestHeader;
use broker_wire::messages::{
    ApiKey, ApiVersionsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use broker_wire::{Encodable, ErrorCode, StrBytes, codec};
use bytes::{BufMut, Bytes, BytesMut};
use model::Millis;

use crate::listener::SaslListener;

/// A login of more frames than this is none. The longest mechanism needs six, with every version of ApiVersions refused
/// once.
const FRAMES_MAX: u32 = 64;
/// A session cannot be renewed again within this time. Source: `KafkaChannel.MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS`.
const MIN_REAUTH_INTERVAL: Duration = Duration::from_secs(1);

const API_VERSIONS: i16 = ApiKey::ApiVersions as i16;
const SASL_HANDSHAKE: i16 = ApiKey::SaslHandshake as i16;
const SASL_AUTHENTICATE: i16 = ApiKey::SaslAuthenticate as i16;

/// What to do with a connection after a frame.
#[derive(Debug)]
pub enum Verdict {
    /// Serve the frame as a request, as usual.
    Serve(Bytes),
    /// Serve it as ApiVersions, and say how that went by [`Authenticator::versions_answered`].
    ServeVersions(Bytes),
    /// Send this and read on.
    Reply(Bytes),
    /// After the delay, send this, if anything, and close.
    Fail(Failed),
    /// Close; the reason is logged.
    Close(String),
}

/// A login that has failed.
#[derive(Debug)]
pub struct Failed {
    /// What the peer is told.
    pub reply: Option<Bytes>,
    /// What the log is told, without secrets.
    pub reason: String,
}

/// The login of one connection.
pub struct Authenticator {
    listener: Arc<SaslListener>,
    state: State,
    /// Frames of the login that is in progress.
    frames: u32,
    /// The session that is to be renewed, or is being renewed.
    session: Option<Session>,
    last_renewal: Option<Instant>,
}

enum State {
    /// Nothing has come yet; then SaslHandshake or, once, ApiVersions.
    Initial,
    /// As before, but what is no request at all is not taken for a token of GSSAPI.
    HandshakeOrVersions,
    Handshake,
    Exchange(Exchange),
    /// A session was to be renewed by another mechanism: whatever comes next fails.
    OtherMechanism(String),
    LoggedIn,
    Ended,
}

/// The exchange of a mechanism's messages.
struct Exchange {
    machine: Box<dyn ServerMechanism>,
    mechanism: String,
    max_reauth: Option<Duration>,
    /// Whether tokens come in SaslAuthenticate requests.
    in_requests: bool,
}

/// Who is logged in.
struct Session {
    mechanism: String,
    principal: KafkaPrincipal,
    /// From when on it must have been renewed. `None`: it lasts as long as the connection.
    expires: Option<Instant>,
}

/// The time, by both clocks: sessions end by the one that never jumps, credentials by the wall's.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The one that never jumps.
    pub instant: Instant,
    /// The wall's.
    pub wall: Millis,
}

impl Authenticator {
    /// A new connection.
    pub fn new(listener: Arc<SaslListener>) -> Self {
        Self {
            listener,
            state: State::Initial,
            frames: 0,
            session: None,
            last_renewal: None,
        }
    }

    /// Whether nobody is logged in, or a session is being renewed.
    pub fn in_progress(&self) -> bool {
        !matches!(self.state, State::LoggedIn)
    }

    /// Who is logged in. While a session is renewed it is whoever was.
    pub fn principal(&self) -> Option<&KafkaPrincipal> {
        self.session.as_ref().map(|session| &session.principal)
    }

    /// Whether nobody has ever been logged in.
    pub fn is_first_login(&self) -> bool {
        self.session.is_none()
    }

    /// The largest frame that may come before the login has ended.
    pub fn max_frame_len(&self) -> usize {
        self.listener.max_receive_size
    }

    /// How long a failed login is left without an answer.
    pub fn failure_delay(&self) -> Duration {
        self.listener.failed_authentication_delay
    }

    /// Takes the next frame.
    pub fn receive(&mut self, frame: Bytes, now: Now) -> Verdict {
        if let State::LoggedIn = self.state {
            return self.logged_in(frame, now);
        }
        self.frames += 1;
        if self.frames > FRAMES_MAX {
            return self.fail(None, "too many requests without a login");
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Exchange(exchange) if exchange.in_requests => self.authenticate(exchange, frame, now),
            State::Exchange(exchange) => self.token(exchange, &frame, now),
            State::OtherMechanism(reason) => self.fail(None, reason),
            State::Ended | State::LoggedIn => Verdict::Close("request after a failed login".into()),
            state @ (State::Initial | State::HandshakeOrVersions | State::Handshake) => self.request(state, frame),
        }
    }

    /// How ApiVersions was answered: only once it is answered without an error does SaslHandshake have to follow.
    pub fn versions_answered(&mut self, reply: &Bytes) {
        // Size, correlation id, error code; the header of this one response is the same in all versions.
        let accepted = reply.get(8..10) == Some(&[0, 0]);
        self.state = if accepted {
            State::Handshake
        } else {
            State::HandshakeOrVersions
        };
    }

    /// A request while somebody is logged in.
    fn logged_in(&mut self, frame: Bytes, now: Now) -> Verdict {
        let Some(expires) = self.session.as_ref().and_then(|session| session.expires) else {
            return Verdict::Serve(frame);
        };
        let is_handshake = frame.get(..2) == Some(&SASL_HANDSHAKE.to_be_bytes());
        let recently = |last: Instant| now.instant.saturating_duration_since(last) < MIN_REAUTH_INTERVAL;
        if is_handshake && !self.last_renewal.is_some_and(recently) {
            self.last_renewal = Some(now.instant);
            self.frames = 1;
            self.state = State::Ended;
            return self.request(State::Handshake, frame);
        }
        if now.instant > expires {
            return Verdict::Close("the session has expired and was not renewed".into());
        }
        Verdict::Serve(frame)
    }

    /// A request before the exchange of tokens.
    fn request(&mut self, state: State, frame: Bytes) -> Verdict {
        let (header, body) = match RequestHeader::parse(&frame) {
            Ok(parsed) => parsed,
            // Clients of Kafka 0.9 begin with a token of GSSAPI.
            Err(_) if matches!(state, State::Initial) => {
                return self.fail(
                    None,
                    "Exception handling first SASL packet from client, GSSAPI is not supported by server",
                );
            }
            Err(malformed) => return Verdict::Close(malformed.to_string()),
        };
        match header.api.key {
            API_VERSIONS if matches!(state, State::Handshake) => {
                Verdict::Close("ApiVersions a second time before the login".into())
            }
            API_VERSIONS => {
                self.state = State::HandshakeOrVersions;
                Verdict::ServeVersions(frame)
            }
            SASL_HANDSHAKE => match codec::decode_request::<SaslHandshakeRequest>(header.api_version, body) {
                Ok(request) => self.handshake(&header, &request),
                Err(malformed) => Verdict::Close(malformed.to_string()),
            },
            _ => self.fail(
                None,
                format!(
                    "Unexpected Kafka request of type {} during SASL handshake.",
                    header.api.name
                ),
            ),
        }
    }

    fn handshake(&mut self, header: &RequestHeader, request: &SaslHandshakeRequest) -> Verdict {
        let name = request.mechanism.as_str();
        let offered = self.listener.mechanisms.iter().find(|it| it.factory.name() == name);
        let code = match offered {
            Some(_) => 0,
            None => ErrorCode::UnsupportedSaslMechanism as i16,
        };
        let names = self
            .listener
            .mechanisms
            .iter()
            .map(|it| StrBytes::from_string(it.factory.name().to_owned()));
        let response = SaslHandshakeResponse::default()
            .with_error_code(code)
            .with_mechanisms(names.collect());
        let reply = match encode(header, &response) {
            Ok(reply) => reply,
            Err(verdict) => return verdict,
        };
        let Some(offered) = offered else {
            // A name as long as the frame allows does not belong into the log.
            let name: String = name.chars().take(64).collect();
            return self.fail(Some(reply), format!("Unsupported SASL mechanism {name:?}"));
        };
        self.state = match &self.session {
            Some(session) if session.mechanism != name => State::OtherMechanism(format!(
                "SASL mechanism '{name}' requested by client is not supported for re-authentication of mechanism '{}'",
                session.mechanism
            )),
            _ => State::Exchange(Exchange {
                machine: offered.factory.begin(),
                mechanism: name.to_owned(),
                max_reauth: offered.max_reauth,
                in_requests: header.api_version >= 1,
            }),
        };
        Verdict::Reply(reply)
    }

    /// A token in a SaslAuthenticate request.
    fn authenticate(&mut self, mut exchange: Exchange, frame: Bytes, now: Now) -> Verdict {
        let (header, body) = match RequestHeader::parse(&frame) {
            Ok(parsed) => parsed,
            Err(malformed) => return Verdict::Close(malformed.to_string()),
        };
        if header.api.key != SASL_AUTHENTICATE {
            return self.unexpected(&header);
        }
        let request = match codec::decode_request::<SaslAuthenticateRequest>(header.api_version, body) {
            Ok(request) => request,
            Err(malformed) => return Verdict::Close(malformed.to_string()),
        };
        let step = exchange.machine.step(&request.auth_bytes);
        let mechanism = exchange.mechanism.clone();
        let outcome = match step {
            Step::Challenge(challenge) => {
                self.state = State::Exchange(exchange);
                Ok((challenge, Duration::ZERO))
            }
            Step::Done(done) => self.done(&exchange, done, now),
            Step::Failed(failure) => Err(failure),
        };
        match outcome {
            Ok((token, lifetime)) => {
                let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
                let mut response = SaslAuthenticateResponse::default().with_auth_bytes(token.into());
                if header.api_version >= 1 {
                    response = response.with_session_lifetime_ms(lifetime_ms);
                }
                encode(&header, &response).map_or_else(|verdict| verdict, Verdict::Reply)
            }
            Err(failure) => {
                // The reason itself may tell whether the user exists.
                let sentence = failure.sentence.unwrap_or_else(|| {
                    format!(
                        "Authentication failed during {} due to invalid credentials with SASL mechanism {}",
                        self.what(),
                        mechanism
                    )
                });
                let response = SaslAuthenticateResponse::default()
                    .with_error_code(ErrorCode::SaslAuthenticationFailed as i16)
                    .with_error_message(Some(StrBytes::from_string(sentence)));
                match encode(&header, &response) {
                    Ok(reply) => self.fail(Some(reply), failure.reason),
                    Err(verdict) => verdict,
                }
            }
        }
    }

    /// A token without a header, after SaslHandshake version 0.
    fn token(&mut self, mut exchange: Exchange, token: &[u8], now: Now) -> Verdict {
        let answer = match exchange.machine.step(token) {
            Step::Challenge(challenge) => {
                self.state = State::Exchange(exchange);
                challenge
            }
            Step::Done(done) => match self.done(&exchange, done, now) {
                Ok((token, _)) => token,
                Err(failure) => return self.fail(None, failure.reason),
            },
            Step::Failed(failure) => return self.fail(None, failure.reason),
        };
        let mut sized = BytesMut::with_capacity(4 + answer.len());
        sized.put_u32(u32::try_from(answer.len()).unwrap_or(0));
        sized.put_slice(&answer);
        Verdict::Reply(sized.freeze())
    }

    /// The mechanism is content: the client's last message, and how long the session lasts (zero: for ever).
    fn done(&mut self, exchange: &Exchange, done: Authenticated, now: Now) -> Result<(Vec<u8>, Duration), Failure> {
        if let Some(session) = &self.session
            && session.principal != done.principal
        {
            let (old, new) = (&session.principal, &done.principal);
            return Err(Failure::told(format!(
                "Cannot change principals during re-authentication from {}.{}: {}.{}",
                old.principal_type, old.name, new.principal_type, new.name
            )));
        }
        let of_credential = done
            .expires_at
            .map(|expires| Duration::from_millis(u64::try_from(expires.0.saturating_sub(now.wall.0)).unwrap_or(0)));
        let lifetime = match (of_credential, exchange.max_reauth) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        // An end beyond what the clock can say is none.
        let expires = lifetime.and_then(|lifetime| now.instant.checked_add(lifetime));
        self.session = Some(Session {
            mechanism: exchange.mechanism.clone(),
            principal: done.principal,
            expires,
        });
        self.state = State::LoggedIn;
        self.frames = 0;
        Ok((done.final_message, lifetime.unwrap_or_default()))
    }

    /// Another request than SaslAuthenticate during the exchange. Kafka answers each in its own shape; here those that a
    /// confused client may send.
    fn unexpected(&mut self, header: &RequestHeader) -> Verdict {
        let code = ErrorCode::IllegalSaslState as i16;
        let reply = match header.api.key {
            SASL_HANDSHAKE => encode(header, &SaslHandshakeResponse::default().with_error_code(code)).ok(),
            API_VERSIONS if header.is_supported() => {
                encode(header, &ApiVersionsResponse::default().with_error_code(code)).ok()
            }
            _ => None,
        };
        let reason = format!(
            "Unexpected Kafka request of type {} during SASL authentication.",
            header.api.name
        );
        self.fail(reply, reason)
    }

    fn fail(&mut self, reply: Option<Bytes>, reason: impl Into<String>) -> Verdict {
        self.state = State::Ended;
        let reason = reason.into();
        Verdict::Fail(Failed { reply, reason })
    }

    /// What is going on, in Kafka's words.
    pub fn what(&self) -> &'static str {
        if self.session.is_some() {
            "re-authentication"
        } else {
            "authentication"
        }
    }
}

fn encode<T: Encodable>(header: &RequestHeader, response: &T) -> Result<Bytes, Verdict> {
    codec::encode_response(header.correlation_id, header.api.key, header.api_version, response)
        .map_err(|unrepresentable| Verdict::Close(unrepresentable.to_string()))
}

#[cfg(test)]
#[path = "authentication_tests.rs"]
mod tests;
