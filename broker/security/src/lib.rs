//! Who is at the other end of a connection, and what they may do.
//!
//! TLS from Kafka's own key stores, the mechanisms of SASL, access control lists, delegation tokens, and passwords as
//! they stand in ZooKeeper. Decides; does not open sockets, read ZooKeeper or know requests.

pub mod authorizer;
pub mod delegation_token;
pub mod oauthbearer;
pub mod password_encoder;
pub mod principal;
pub mod sasl;
pub mod tls;
