//! The four messages of SCRAM, read without allocating more than they hold.
//!
//! The grammar is Kafka's, which is narrower than the RFC's: only the GS2 header `n`, names and values in ASCII. The
//! mandatory extension `m=` is refused, as the RFC asks: nobody knows what it would demand.
//!
//! Source: RFC 5802 section 7; Kafka 3.9 `ScramMessages`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// `n,[a=authzid],n=user,r=nonce[,extension…]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    /// With its commas: what the client binds its last message to.
    pub(super) gs2_header: &'a str,
    /// Still escaped.
    pub(super) authorization_id: &'a str,
    /// Everything after the GS2 header: what is proved.
    pub(super) bare: &'a str,
    /// Still escaped.
    pub(super) user: &'a str,
    pub(super) nonce: &'a str,
    /// Whether the extension `tokenauth` says true.
    pub(super) token_authenticated: bool,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let message = ascii(message)?;
        let rest = message.strip_prefix("n,")?;
        let (header, rest) = rest.split_once(',')?;
        let authorization_id = match header {
            "" => "",
            header => header.strip_prefix("a=").filter(|name| is_escaped_name(name))?,
        };
        let bare = rest;
        let gs2_header = &message[..message.len() - bare.len()];
        let mut fields = bare.split(',');
        let user = fields.next()?.strip_prefix("n=").filter(|name| is_escaped_name(name))?;
        let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| is_printable(nonce))?;
        let mut token_authenticated = false;
        for field in fields {
            let (name, value) = extension(field)?;
            if name == "tokenauth" {
                token_authenticated = value.eq_ignore_ascii_case("true");
            }
        }
        Some(Self {
            gs2_header,
            authorization_id,
            bare,
            user,
            nonce,
            token_authenticated,
        })
    }
}

/// `r=nonce,s=salt,i=iterations[,extension…]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut fields = ascii(message)?.split(',');
        let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| is_printable(nonce))?;
        let salt = STANDARD.decode(fields.next()?.strip_prefix("s=")?).ok()?;
        let iterations = fields.next()?.strip_prefix("i=")?;
        let digits = !iterations.is_empty() && iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse::<u32>().ok().filter(|count| digits && *count > 0)?;
        fields.map(extension).collect::<Option<Vec<_>>>()?;
        Some(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

/// `c=binding,r=nonce[,extension…],p=proof`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    /// What the client says it has bound to: the GS2 header.
    pub(super) channel_binding: Vec<u8>,
    pub(super) nonce: &'a str,
    /// Everything before the proof: what is proved.
    pub(super) without_proof: &'a str,
    pub(super) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (without_proof, proof) = ascii(message)?.rsplit_once(",p=")?;
        let proof = STANDARD.decode(proof).ok()?;
        let mut fields = without_proof.split(',');
        let channel_binding = STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| is_printable(nonce))?;
        fields.map(extension).collect::<Option<Vec<_>>>()?;
        Some(Self {
            channel_binding,
            nonce,
            without_proof,
            proof,
        })
    }
}

/// `v=signature[,extension…]`, or `e=error`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerFinal<'a> {
    Signature(Vec<u8>),
    Error(&'a str),
}

impl<'a> ServerFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let message = ascii(message)?;
        if let Some(error) = message.strip_prefix("e=") {
            return is_value(error).then_some(Self::Error(error));
        }
        let mut fields = message.split(',');
        let signature = STANDARD.decode(fields.next()?.strip_prefix("v=")?).ok()?;
        fields.map(extension).collect::<Option<Vec<_>>>()?;
        Some(Self::Signature(signature))
    }
}

/// Escapes a user's name: `=` and `,` have a meaning of their own.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// The name behind an escaped one.
pub(super) fn unescape(name: &str) -> String {
    name.replace("=2C", ",").replace("=3D", "=")
}

fn ascii(message: &[u8]) -> Option<&str> {
    let text = str::from_utf8(message).ok()?;
    text.bytes().all(|byte| (1..=0x7f).contains(&byte)).then_some(text)
}

fn is_value(text: &str) -> bool {
    !text.is_empty() && !text.contains(',')
}

fn is_printable(text: &str) -> bool {
    is_value(text) && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
}

/// Whether every `=` begins `=2C` or `=3D`.
fn is_escaped_name(name: &str) -> bool {
    is_value(name)
        && name
            .split('=')
            .skip(1)
            .all(|after| after.starts_with("2C") || after.starts_with("3D"))
}

/// `name=value`.
fn extension(field: &str) -> Option<(&str, &str)> {
    let (name, value) = field.split_once('=')?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    (named && is_value(value)).then_some((name, value))
}
