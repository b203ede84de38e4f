//! Who may do what.
//!
//! Without an authorizer everyone may do everything; `authorizer.class.name` is refused at the start as long as this
//! broker has none, so that nobody believes in ACLs that are not enforced.

mod operations;

pub use operations::{ResourceType, all_operations};
