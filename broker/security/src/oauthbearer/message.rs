//! The first message of an OAUTHBEARER client: a GS2 header, the token, and extensions.
//!
//! ```text
//! n,a=authzid,^Aauth=Bearer TOKEN^Akey=value^A^A
//! ```
//!
//! Parses and writes; does not look into the token. Source: RFC 7628 §3.1; Kafka 3.9 `OAuthBearerClientInitialResponse`.

use std::collections::BTreeMap;

/// `^A`, between key-value pairs and at the end.
pub const SEPARATOR: u8 = 1;

/// What a client says first.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Whom it wants to be; empty: whom the token names.
    pub authorization_id: String,
    /// The bearer's token.
    pub token: String,
    /// Whatever else it says, by name.
    pub extensions: BTreeMap<String, String>,
}

/// What is wrong with a first message. Never holds what was received: that may be a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not of the form above.
    #[error("Invalid OAUTHBEARER client first message")]
    Malformed,
    /// There is no token.
    #[error("Invalid OAUTHBEARER client first message: 'auth' not specified")]
    NoToken,
    /// What should be a token is none.
    #[error("Invalid OAUTHBEARER client first message: invalid 'auth' format")]
    InvalidToken,
    /// It is not a bearer's token.
    #[error("Invalid scheme in OAUTHBEARER client first message")]
    InvalidScheme,
}

impl ClientFirst {
    /// Parses what a client has sent.
    ///
    /// # Errors
    /// It is no such message.
    pub fn parse(message: &[u8]) -> Result<Self, MessageError> {
        let text = core::str::from_utf8(message).map_err(|_| MessageError::Malformed)?;
        let rest = text.strip_prefix("n,").ok_or(MessageError::Malformed)?;
        let (header, pairs) = rest.split_once(",\u{1}").ok_or(MessageError::Malformed)?;
        let authorization_id = match header.strip_prefix("a=") {
            Some(name) if is_saslname(name) => name.to_owned(),
            None if header.is_empty() => String::new(),
            _ => return Err(MessageError::Malformed),
        };
        // Every pair ends with a separator, and one more ends the message.
        let pairs = pairs.strip_suffix('\u{1}').ok_or(MessageError::Malformed)?;
        let mut extensions = BTreeMap::new();
        if !pairs.is_empty() {
            let pairs = pairs.strip_suffix('\u{1}').ok_or(MessageError::Malformed)?;
            for pair in pairs.split('\u{1}') {
                let (key, value) = pair.split_once('=').ok_or(MessageError::Malformed)?;
                if !is_extension_name(key) || !is_extension_value(value) {
                    return Err(MessageError::Malformed);
                }
                extensions.insert(key.to_owned(), value.to_owned());
            }
        }
        let auth = extensions.remove("auth").ok_or(MessageError::NoToken)?;
        Ok(Self {
            authorization_id,
            token: bearer_token(&auth)?,
            extensions,
        })
    }

    /// What a client sends.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = String::from("n,");
        if !self.authorization_id.is_empty() {
            message.push_str("a=");
            message.push_str(&self.authorization_id);
        }
        message.push_str(",\u{1}auth=Bearer ");
        message.push_str(&self.token);
        for (key, value) in &self.extensions {
            message.push('\u{1}');
            message.push_str(key);
            message.push('=');
            message.push_str(value);
        }
        message.push_str("\u{1}\u{1}");
        message.into_bytes()
    }
}

impl core::fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClientFirst")
            .field("authorization_id", &self.authorization_id)
            .field("token", &"[hidden]")
            .field("extensions", &self.extensions.keys())
            .finish()
    }
}

/// Whether an extension may be called that; `auth` may not, it is the token.
pub(super) fn is_extension_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether an extension may have that value.
pub(super) fn is_extension_value(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|byte| matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n'))
}

/// RFC 5801's `saslname`: ASCII without `=` and `,`, but for `=2C` and `=3D`.
fn is_saslname(name: &str) -> bool {
    let mut rest = name.as_bytes();
    let whole = !rest.is_empty();
    while let Some((first, others)) = rest.split_first() {
        rest = match first {
            b'=' => match others.strip_prefix(b"2C").or_else(|| others.strip_prefix(b"3D")) {
                Some(others) => others,
                None => return false,
            },
            b',' | 0 | 0x80.. => return false,
            _ => others,
        };
    }
    whole
}

/// `Bearer TOKEN`: RFC 6750's `b64token`.
fn bearer_token(auth: &str) -> Result<String, MessageError> {
    let (scheme, token) = auth.split_once(' ').ok_or(MessageError::InvalidToken)?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if scheme.is_empty() || !scheme.bytes().all(is_word) {
        return Err(MessageError::InvalidToken);
    }
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~+/.".contains(&byte);
    if body.is_empty() || !body.bytes().all(is_token) {
        return Err(MessageError::InvalidToken);
    }
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(token.to_owned()),
        false => Err(MessageError::InvalidScheme),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_first_message_is_a_header_a_token_and_extensions() {
        type Parts<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
        let check = |message: &str, expected: Result<Parts<'_>, MessageError>| {
            let found = ClientFirst::parse(message.replace('^', "\u{1}").as_bytes());
            let expected = expected.map(|(authorization_id, token, extensions)| ClientFirst {
                authorization_id: authorization_id.to_owned(),
                token: token.to_owned(),
                extensions: extensions.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            });
            assert_eq!(found, expected, "{message}");
        };
        use MessageError::*;
        check("n,,^auth=Bearer a.b.c^^", Ok(("", "a.b.c", &[])));
        check("n,a=alice,^auth=bearer   a.b.^^", Ok(("alice", "a.b.", &[])));
        check("n,a=a=2Cb=3D,^auth=BEARER x==^^", Ok(("a=2Cb=3D", "x==", &[])));
        check("n,,^trace=a = b^auth=Bearer x^^", Ok(("", "x", &[("trace", "a = b")])));
        check("n,,^auth=Bearer x^auth=Bearer y^^", Ok(("", "y", &[])));
        check("", Err(Malformed));
        check("^", Err(Malformed));
        check("n,,", Err(Malformed));
        check("n,,^", Err(Malformed));
        check("y,,^auth=Bearer x^^", Err(Malformed));
        check("n,a=,^auth=Bearer x^^", Err(Malformed));
        check("n,a=a=b,^auth=Bearer x^^", Err(Malformed));
        check("n,b=c,^auth=Bearer x^^", Err(Malformed));
        check("n,,^auth=Bearer x^", Err(Malformed));
        check("n,,^auth=Bearer x^^^", Err(Malformed));
        check("n,,^auth=Bearer x^k=^^", Err(Malformed));
        check("n,,^auth=Bearer x^k1=v^^", Err(Malformed));
        check("n,,^auth=Bearer x^k=\u{7f}^^", Err(Malformed));
        check("n,,^^", Err(NoToken));
        check("n,,^k=v^^", Err(NoToken));
        check("n,,^auth=Bearer^^", Err(InvalidToken));
        check("n,,^auth=Bearer =^^", Err(InvalidToken));
        check("n,,^auth=Bearer a b^^", Err(InvalidToken));
        check("n,,^auth=Bearer a=b^^", Err(InvalidToken));
        check("n,,^auth=Basic abc^^", Err(InvalidScheme));
    }

    #[test]
    fn a_token_is_not_shown() {
        let message = ClientFirst::parse(b"n,,\x01auth=Bearer sesame\x01\x01").unwrap();
        assert!(!format!("{message:?}").contains("sesame"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_written_is_read(
            authorization_id in "[a-z]{0,5}",
            token in "[A-Za-z0-9._~+/-]{1,20}={0,2}",
            extensions in proptest::collection::btree_map("[b-z]{1,4}", "[ -~]{1,8}", 0..3),
        ) {
            let message = ClientFirst { authorization_id, token, extensions };
            prop_assert_eq!(ClientFirst::parse(&message.encode()), Ok(message));
        }

        #[test]
        fn nothing_that_is_sent_makes_it_panic(
            cut in 0..40usize,
            at in 0..40usize,
            byte in any::<u8>(),
            noise in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut message = b"n,a=alice,\x01auth=Bearer a.b.c\x01key=value\x01\x01".to_vec();
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            message.truncate(cut.max(1));
            let _ = ClientFirst::parse(&message);
            let _ = ClientFirst::parse(&noise);
        }
    }
}
