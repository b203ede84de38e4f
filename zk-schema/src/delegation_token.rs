//! `/delegation_token/tokens/<id>` and `/delegation_token/token_changes` — tokens that stand for a principal.
//!
//! Persistent; written by whichever broker is asked; the HMAC is not stored (it is made from the id and the secret
//! that all brokers share). Principals are percent-encoded; times are JSON numbers.

use model::Millis;
use serde_json::{Map, Value};

use crate::decode::{DecodeError, Object};
use crate::sanitizer::{desanitize, sanitize};

/// Parent of the tokens.
pub const TOKENS_PATH: &str = "/delegation_token/tokens";
/// Parent of news about tokens.
pub const CHANGES_PATH: &str = "/delegation_token/token_changes";
/// Prefix of a notification's path; the server appends ten digits. Its content is the token's id.
pub const CHANGE_PREFIX: &str = "/delegation_token/token_changes/token_change_";
/// What stands before a notification's number in its name.
pub const CHANGE_NAME_PREFIX: &str = "token_change_";

/// Where a token is.
pub fn path(token_id: &str) -> String {
    format!("{TOKENS_PATH}/{token_id}")
}

/// A token without its HMAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationToken {
    /// Its id.
    pub token_id: String,
    /// Whom it stands for (`User:alice`).
    pub owner: String,
    /// Who asked for it; the owner in versions before 3.
    pub token_requester: String,
    /// Who beside the owner may renew it.
    pub renewers: Vec<String>,
    /// When it was made.
    pub issue_timestamp: Millis,
    /// Until when it is good, unless renewed.
    pub expiry_timestamp: Millis,
    /// Until when it may be renewed.
    pub max_timestamp: Millis,
}

impl DelegationToken {
    /// As Kafka 3.9 writes it (version 3).
    pub fn encode(&self) -> Vec<u8> {
        let renewers: Vec<String> = self.renewers.iter().map(|renewer| sanitize(renewer)).collect();
        let mut json = Map::new();
        json.insert("issueTimestamp".into(), self.issue_timestamp.0.into());
        json.insert("renewers".into(), renewers.into());
        json.insert("tokenRequester".into(), sanitize(&self.token_requester).into());
        json.insert("tokenId".into(), self.token_id.as_str().into());
        json.insert("owner".into(), sanitize(&self.owner).into());
        json.insert("expiryTimestamp".into(), self.expiry_timestamp.0.into());
        json.insert("maxTimestamp".into(), self.max_timestamp.0.into());
        json.insert("version".into(), 3.into());
        Value::Object(json).to_string().into_bytes()
    }

    /// Reads versions 1 to 3; `None` where the znode is empty.
    ///
    /// # Errors
    /// Another version, a field is missing, or a principal is not percent-encoded.
    pub fn decode(data: &[u8]) -> Result<Option<Self>, DecodeError> {
        if data.is_empty() {
            return Ok(None);
        }
        let object = Object::parse(TOKENS_PATH, data)?;
        if !(1..=3).contains(&object.number::<i32>("version")?) {
            return Err(object.error("unsupported version"));
        }
        let principal = |name: &str| desanitize(name).ok_or_else(|| object.error(format!("bad principal '{name}'")));
        let owner = principal(&object.string("owner")?)?;
        let requester = object.optional_string("tokenRequester")?;
        let renewers = object.array("renewers")?.ok_or_else(|| object.error("no 'renewers'"))?;
        Ok(Some(Self {
            token_id: object.string("tokenId")?,
            token_requester: requester.map_or(Ok(owner.clone()), |name| principal(&name))?,
            owner,
            renewers: renewers
                .iter()
                .map(|renewer| principal(renewer.as_str().unwrap_or("%")))
                .collect::<Result<_, _>>()?,
            issue_timestamp: Millis(object.number("issueTimestamp")?),
            expiry_timestamp: Millis(object.number("expiryTimestamp")?),
            max_timestamp: Millis(object.number("maxTimestamp")?),
        }))
    }
}
