//! A JSON web token cut into its parts; nothing in it is believed yet.
//!
//! Sizes are bounded by whoever receives the message (`sasl.server.max.receive.size`), the depth of JSON by serde_json.
//! Source: RFC 7515 §3.1, RFC 7519.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, ANY_PADDING);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, ANY_PADDING);

/// `header.claims.signature`.
pub(super) struct Compact<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// What is signed: `header.claims` as it was received.
    pub(super) signed: &'a str,
    /// Empty in an unsecured token.
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Cuts and decodes. The error says what is wrong and nothing of the token.
    pub(super) fn parse(token: &'a str) -> Result<Self, &'static str> {
        const SECTIONS: &str = "Malformed JWT provided; expected three sections (header, payload, and signature)";
        let (signed, signature) = token.rsplit_once('.').ok_or(SECTIONS)?;
        let (header, claims) = signed.split_once('.').ok_or(SECTIONS)?;
        if header.is_empty() || claims.is_empty() || claims.contains('.') {
            return Err(SECTIONS);
        }
        Ok(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: base64(signature)?,
        })
    }
}

/// Bytes from base64, in the alphabet for URLs or the other one, padded or not.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, &'static str> {
    let decoded = match text.contains(['+', '/']) {
        true => PLAIN.decode(text),
        false => URL.decode(text),
    };
    decoded.map_err(|_| "malformed Base64 URL encoded value")
}

/// Base64 for URLs, without padding.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn object(section: &str) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice(&base64(section)?) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err("malformed JSON"),
    }
}

/// The values of a claim that is a string or a list of strings; blank ones and what is no string are left out.
pub(super) fn strings(claim: Option<&Value>) -> Vec<&str> {
    let values = match claim {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => core::slice::from_ref(value),
        None => &[],
    };
    let texts = values.iter().filter_map(Value::as_str);
    texts.map(str::trim).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_sections_of_which_two_are_json_objects() {
        let check = |token: &str, signature: Option<&[u8]>| {
            let found = Compact::parse(token).ok().map(|parts| parts.signature);
            assert_eq!(found.as_deref(), signature, "{token}");
        };
        // {} and {"a":"?~"} in both alphabets.
        check("e30.e30.", Some(b""));
        check("e30=.e30=.", Some(b""));
        check("e30.eyJhIjoiP34ifQ.AQI", Some(&[1, 2]));
        check("e30.eyJhIjoi_34ifQ.AQI", None); // not UTF-8
        check("e30.e30._-8", Some(&[0xff, 0xef]));
        check("e30.e30./+8", Some(&[0xff, 0xef]));
        check("", None);
        check("e30", None);
        check("e30.e30", None);
        check("..", None);
        check("e30..", None);
        check(".e30.", None);
        check("e30.e30.e30.", None);
        check("e30.WzFd.", None); // [1]
        check("e30.e3.", None);
        check("e3*.e30.", None);
    }

    #[test]
    fn json_that_nests_deeply_is_refused() {
        let deep = "{\"a\":".repeat(100_000);
        let token = format!("e30.{}.", to_base64(deep.as_bytes()));
        assert_eq!(Compact::parse(&token).err(), Some("malformed JSON"));
    }
}
