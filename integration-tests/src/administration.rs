//! Changes to ACLs, quotas, credentials and configurations by hand: a stock tool's JVM takes longer to start than a broker
//! has to obey.

use crate::sasl::{salted, take_string};
use crate::wire::{Connection, malformed, put_string};
use bytes::{Buf, BufMut, BytesMut};
use std::io::Result;

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const ALTER_CLIENT_QUOTAS: i16 = 49;
const ALTER_USER_SCRAM_CREDENTIALS: i16 = 51;

const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const ALLOW: i8 = 3;
/// Of ACLs.
const WRITE: i8 = 4;

impl Connection {
    /// Allows somebody (`User:alice`) to write to a topic, from everywhere; gives the error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn allow_writing(&mut self, topic: &str, principal: &str) -> Result<i16> {
        self.send(CREATE_ACLS, 1, &acl(topic, principal))?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 4 + 2 {
            return Err(malformed("a short CreateAcls answer"));
        }
        answer.advance(8);
        Ok(answer.get_i16())
    }

    /// Takes back what [`Connection::allow_writing`] has given; gives the error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn forbid_writing(&mut self, topic: &str, principal: &str) -> Result<i16> {
        self.send(DELETE_ACLS, 1, &acl(topic, principal))?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 4 + 2 {
            return Err(malformed("a short DeleteAcls answer"));
        }
        answer.advance(8);
        Ok(answer.get_i16())
    }

    /// Sets a quota of a user, or takes it away; gives the error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn alter_quota(&mut self, user: &str, key: &str, value: Option<f64>) -> Result<i16> {
        let mut body = BytesMut::new();
        body.put_i32(1);
        body.put_i32(1);
        put_string(&mut body, "user");
        put_string(&mut body, user);
        body.put_i32(1);
        put_string(&mut body, key);
        body.put_f64(value.unwrap_or(0.0));
        body.put_u8(u8::from(value.is_none()));
        body.put_u8(0);
        self.send(ALTER_CLIENT_QUOTAS, 0, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 4 + 2 {
            return Err(malformed("a short AlterClientQuotas answer"));
        }
        answer.advance(8);
        Ok(answer.get_i16())
    }

    /// Sets a topic's config; gives the error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn alter_topic_config(&mut self, topic: &str, key: &str, value: &str) -> Result<i16> {
        let mut body = BytesMut::new();
        body.put_i32(1);
        body.put_i8(TOPIC);
        put_string(&mut body, topic);
        body.put_i32(1);
        put_string(&mut body, key);
        body.put_i8(0); // set
        put_string(&mut body, value);
        body.put_u8(0);
        self.send(INCREMENTAL_ALTER_CONFIGS, 0, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 4 + 2 {
            return Err(malformed("a short IncrementalAlterConfigs answer"));
        }
        answer.advance(8);
        Ok(answer.get_i16())
    }

    /// Gives a user a password for `SCRAM-SHA-256`; gives the error code. For the controller only.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn set_scram_password(&mut self, user: &str, password: &str) -> Result<i16> {
        const ITERATIONS: i32 = 4096;
        let salt = b"salt of a test";
        let salted = salted(password, salt, ITERATIONS.cast_unsigned());
        // A flexible version: compact lengths are one more, and each structure ends with its tagged fields.
        let mut body = BytesMut::new();
        body.put_u8(0); // of the header
        body.put_u8(1); // no deletion
        body.put_u8(2); // one change
        put_compact(&mut body, user.as_bytes());
        body.put_i8(1); // SCRAM-SHA-256
        body.put_i32(ITERATIONS);
        put_compact(&mut body, salt);
        put_compact(&mut body, &salted);
        body.put_u8(0);
        body.put_u8(0);
        self.send(ALTER_USER_SCRAM_CREDENTIALS, 0, &body)?;
        let (_, mut answer) = self.receive()?;
        // tagged fields of the header, throttle, results, name, error
        if answer.remaining() < 1 + 4 + 1 + 1 + user.len() + 2 {
            return Err(malformed("a short AlterUserScramCredentials answer"));
        }
        answer.advance(1 + 4 + 1 + 1 + user.len());
        Ok(answer.get_i16())
    }

    /// Writes one batch with acks=1 and tells error code and `throttle_time_ms` of the answer (Produce version 7).
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn produce_throttled(&mut self, topic: &str, partition: i32, records: &[u8]) -> Result<(i16, i32)> {
        self.send_produce(topic, partition, 1, records)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 {
            return Err(malformed("a short Produce answer"));
        }
        answer.advance(4);
        take_string(&mut answer)?;
        // partitions, index, error, offset, append time, log start offset, throttle time
        if answer.remaining() < 4 + 4 + 2 + 8 + 8 + 8 + 4 {
            return Err(malformed("a short Produce answer"));
        }
        answer.advance(8);
        let error = answer.get_i16();
        answer.advance(24);
        Ok((error, answer.get_i32()))
    }
}

/// One ACL, which is also the filter that finds it.
fn acl(topic: &str, principal: &str) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(1);
    body.put_i8(TOPIC);
    put_string(&mut body, topic);
    body.put_i8(LITERAL);
    put_string(&mut body, principal);
    put_string(&mut body, "*");
    body.put_i8(WRITE);
    body.put_i8(ALLOW);
    body
}

fn put_compact(to: &mut BytesMut, bytes: &[u8]) {
    to.put_u8(u8::try_from(bytes.len() + 1).expect("a test's names are short"));
    to.put_slice(bytes);
}
