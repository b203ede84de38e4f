//! Who may do what: the shell round `broker_security::authorizer`.
//!
//! Handlers ask by [`crate::api::RequestContext`]: `authorize`, `authorized`, `authorized_operations`. Without an
//! authorizer everyone may do everything, and asking costs one load.
//!
//! Rules live in ZooKeeper. [`broker_admission::AclAuthorizer`] reads them before the listeners open, follows the notices of changes, and
//! changes them for `CreateAcls` and `DeleteAcls`; every decision is made on what it has read, never by asking ZooKeeper.

mod context;
mod settings;

pub use context::Authorized;
pub(crate) use context::operation_code;
pub(crate) use settings::authorizer_settings;

pub use broker_security::authorizer::{BindingFilter, CLUSTER_NAME, EntryFilter, PatternTypeFilter, ResourceFilter};
pub use zk_schema::acl::{AclEntry, Operation, PatternType, ResourcePattern, ResourceType};
