//! JAAS: login modules and their options, as they stand in `sasl.jaas.config` or in a file of sections.
//!
//! `org.apache…PlainLoginModule required username="a" password="b" user_a="b";` – one or more such entries. A file
//! groups them: `KafkaServer { entry; entry; };`. Values are secrets: neither errors nor `Debug` show them.
//!
//! Source: Kafka 3.9 `JaasConfig`, `JaasContext`; Java's `StreamTokenizer` and `ConfigFile`.

mod tokenizer;

use core::fmt;
use std::collections::BTreeMap;

use tokenizer::{Token, Tokenizer};

use super::ClientFailure;

/// Kafka forbids it in `sasl.jaas.config`: it would load what a stranger names.
const DISALLOWED: [&str; 2] = [
    "com.sun.security.auth.module.JndiLoginModule",
    "com.sun.security.auth.module.LdapLoginModule",
];

/// A login module with its options.
#[derive(Clone, PartialEq, Eq)]
pub struct JaasEntry {
    /// The class of the module.
    pub login_module: String,
    /// What its failure means.
    pub control_flag: ControlFlag,
    /// Its options; of one that is given twice the last counts.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for JaasEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JaasEntry")
            .field("login_module", &self.login_module)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What a module's failure means to the others; of no consequence where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are JAAS's own")]
pub enum ControlFlag {
    Required,
    Requisite,
    Sufficient,
    Optional,
}

/// Why a text is not JAAS. Holds no values of options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JaasError(String);

impl JaasEntry {
    /// `username` and `password`, which a client logs in with.
    pub(super) fn username_and_password(&self) -> Result<(String, String), ClientFailure> {
        let option = |name: &str| {
            self.options.get(name).cloned().ok_or_else(|| {
                ClientFailure(format!(
                    "{} has no option {name}, so nobody can log in with it",
                    self.login_module
                ))
            })
        };
        Ok((option("username")?, option("password")?))
    }
}

/// Reads the value of `sasl.jaas.config`: one entry, neither less nor more.
///
/// # Errors
/// Kafka's reasons.
pub fn parse_line(text: &str) -> Result<JaasEntry, JaasError> {
    let mut entries = parse_entries(text)?;
    let count = entries.len();
    match (entries.pop(), count) {
        (Some(entry), 1) => Ok(entry),
        _ => Err(JaasError(format!(
            "JAAS config property contains {count} login modules, should be 1 module"
        ))),
    }
}

/// Reads entries until the end of the text.
fn parse_entries(text: &str) -> Result<Vec<JaasEntry>, JaasError> {
    let mut tokens = Tokenizer::new(text);
    let mut entries = Vec::new();
    loop {
        match tokens.next() {
            Token::End => break,
            first => entries.push(parse_entry(first, &mut tokens)?),
        }
    }
    if entries.is_empty() {
        return Err(error("Login module not specified in JAAS config"));
    }
    Ok(entries)
}

/// Reads a file of sections: `Name { entry; … };`.
///
/// # Errors
/// It is no such file.
pub fn parse_file(text: &str) -> Result<BTreeMap<String, Vec<JaasEntry>>, JaasError> {
    let mut tokens = Tokenizer::new(text);
    let mut sections = BTreeMap::new();
    loop {
        let name = match tokens.next() {
            Token::End => return Ok(sections),
            Token::Text(name) => name,
            Token::Number | Token::Symbol(_) => return Err(error("Section name expected in JAAS config file")),
        };
        if tokens.next() != Token::Symbol('{') {
            return Err(JaasError(format!(
                "Expected '{{' after section {name} in JAAS config file"
            )));
        }
        let mut entries = Vec::new();
        loop {
            match tokens.next() {
                Token::Symbol('}') => break,
                Token::End => return Err(JaasError(format!("Section {name} is not closed in JAAS config file"))),
                first => entries.push(parse_entry(first, &mut tokens)?),
            }
        }
        if tokens.next() != Token::Symbol(';') {
            return Err(JaasError(format!(
                "Expected ';' after section {name} in JAAS config file"
            )));
        }
        if sections.insert(name.clone(), entries).is_some() {
            return Err(JaasError(format!("Section {name} occurs twice in JAAS config file")));
        }
    }
}

fn parse_entry(first: Token, tokens: &mut Tokenizer<'_>) -> Result<JaasEntry, JaasError> {
    let Token::Text(login_module) = first else {
        return Err(error("Login module not specified in JAAS config"));
    };
    if DISALLOWED.contains(&login_module.trim()) {
        return Err(JaasError(format!("{login_module} is not allowed.")));
    }
    let control_flag = match tokens.next() {
        Token::End => return Err(error("Login module control flag not specified in JAAS config")),
        Token::Number | Token::Symbol(_) => {
            return Err(error("Login module control flag is not available in the JAAS config"));
        }
        Token::Text(flag) => match flag.to_uppercase().as_str() {
            "REQUIRED" => ControlFlag::Required,
            "REQUISITE" => ControlFlag::Requisite,
            "SUFFICIENT" => ControlFlag::Sufficient,
            "OPTIONAL" => ControlFlag::Optional,
            // Not shown: where a `required` was forgotten it is an option, and quoting went wrong it is a value.
            _ => return Err(error("Invalid login module control flag in JAAS config")),
        },
    };
    let mut options = BTreeMap::new();
    loop {
        let key = match tokens.next() {
            Token::Symbol(';') => break,
            Token::End => return Err(error("JAAS config entry not terminated by semi-colon")),
            Token::Text(key) => key,
            Token::Number | Token::Symbol(_) => return Err(error("Option name expected in JAAS config")),
        };
        match (tokens.next(), tokens.next()) {
            (Token::Symbol('='), Token::Text(value)) => options.insert(key, value),
            _ => return Err(JaasError(format!("Value not specified for key '{key}' in JAAS config"))),
        };
    }
    Ok(JaasEntry {
        login_module,
        control_flag,
        options,
    })
}

fn error(text: &str) -> JaasError {
    JaasError(text.to_owned())
}

#[cfg(test)]
mod tests;
