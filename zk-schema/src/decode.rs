//! Reading JSON as tolerantly as Kafka does, and saying what was wrong where it cannot.
//!
//! Unknown fields are ignored, a `null` reads as absent, numbers may come as JSON strings where some version wrote
//! them so. Depth is bounded by `serde_json`, size by ZooKeeper's 1 MiB.

use core::str::FromStr;

use serde_json::{Map, Value};

/// A znode holds something that no version of Kafka wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{znode}: {reason}: {content}")]
pub struct DecodeError {
    /// Which znode.
    pub znode: String,
    /// What is wrong with it.
    pub reason: String,
    /// The start of its content.
    pub content: String,
}

impl DecodeError {
    pub(crate) fn new(znode: &str, reason: impl Into<String>, data: &[u8]) -> Self {
        const SHOWN: usize = 256;
        let content = String::from_utf8_lossy(&data[..data.len().min(SHOWN)]).into_owned();
        Self {
            znode: znode.to_owned(),
            reason: reason.into(),
            content,
        }
    }
}

/// A number that is the whole content.
pub(crate) fn decimal<T: FromStr>(znode: &str, data: &[u8]) -> Result<T, DecodeError> {
    core::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| DecodeError::new(znode, "not a decimal number in range", data))
}

/// A JSON object with the znode it came from, for messages.
pub(crate) struct Object<'a> {
    znode: &'a str,
    data: &'a [u8],
    map: Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(crate) fn parse(znode: &'a str, data: &'a [u8]) -> Result<Self, DecodeError> {
        match serde_json::from_slice(data) {
            Ok(Value::Object(map)) => Ok(Self { znode, data, map }),
            Ok(_) => Err(DecodeError::new(znode, "not a JSON object", data)),
            Err(error) => Err(DecodeError::new(znode, format!("not JSON: {error}"), data)),
        }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> DecodeError {
        DecodeError::new(self.znode, reason, self.data)
    }

    /// The field, unless it is absent or `null`.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, field: &str) -> Result<T, DecodeError> {
        self.optional_number(field)?
            .ok_or_else(|| self.error(format!("no '{field}'")))
    }

    pub(crate) fn optional_number<T: TryFrom<i64>>(&self, field: &str) -> Result<Option<T>, DecodeError> {
        self.get(field)
            .map(|value| number(value).ok_or_else(|| self.error(format!("'{field}' is not a number in range"))))
            .transpose()
    }

    pub(crate) fn string(&self, field: &str) -> Result<String, DecodeError> {
        self.optional_string(field)?
            .ok_or_else(|| self.error(format!("no '{field}'")))
    }

    pub(crate) fn optional_string(&self, field: &str) -> Result<Option<String>, DecodeError> {
        self.get(field)
            .map(|value| {
                value
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| self.error(format!("'{field}' is not a string")))
            })
            .transpose()
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<&Map<String, Value>>, DecodeError> {
        self.get(field)
            .map(|value| {
                value
                    .as_object()
                    .ok_or_else(|| self.error(format!("'{field}' is not an object")))
            })
            .transpose()
    }

    pub(crate) fn array(&self, field: &str) -> Result<Option<&Vec<Value>>, DecodeError> {
        self.get(field)
            .map(|value| {
                value
                    .as_array()
                    .ok_or_else(|| self.error(format!("'{field}' is not an array")))
            })
            .transpose()
    }

    /// The numbers of an array.
    pub(crate) fn numbers<T: TryFrom<i64>>(&self, what: &str, value: &Value) -> Result<Vec<T>, DecodeError> {
        value
            .as_array()
            .and_then(|items| items.iter().map(number).collect())
            .ok_or_else(|| self.error(format!("'{what}' is not an array of numbers in range")))
    }
}

/// A number, also one that was written as a string.
pub(crate) fn number<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    T::try_from(number).ok()
}
