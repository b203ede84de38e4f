//! What goes over a Kafka socket: sized frames, headers, the guard before the decoder, codecs, client connections.
//!
//! The message types are those of the `kafka-protocol` crate; everything that stands between them and bytes of a
//! stranger is here. Knows nothing of topics, logs or who may do what; opens sockets only as a client ([`client`]).
//!
//! The way in: [`frame::FrameBuffer`] cuts the stream into frames, [`header::RequestHeader::parse`] reads who asks for
//! what and checks key and version, [`codec::decode_request`] walks the body along its shape ([`guard`]) before
//! the crate's decoder, which trusts every count, may see it. The way out: [`codec::encode_response`], or
//! [`placeholder::encode_with_files`] where parts of the response are ranges of files.
//!
//! Invariant: no bytes from the network make this crate panic, loop, or allocate more than a small multiple of what
//! has really arrived.

pub mod apis;
pub mod client;
pub mod codec;
pub mod error_code;
pub mod frame;
pub mod guard;
pub mod header;
pub mod login;
pub mod placeholder;
pub mod serial;
pub mod throttle;
pub mod transport;

pub use error_code::ErrorCode;
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{Decodable, Encodable, Message, Request, StrBytes};
