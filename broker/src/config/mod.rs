//! Configuration: one table of keys, four layers, one typed result, and what may change while the broker runs.
//!
//! [`load`] puts defaults, `server.properties`, environment and `--override` together and checks everything once;
//! [`ConfigHandle`] lays `/config/brokers/<default>` and `/config/brokers/N` over that at run time. `keys` is the only
//! place where a key is described.

mod broker_config;
mod dynamic;
mod error;
mod handle;
mod jaas_file;
pub mod keys;
mod layers;
mod listener;
mod listener_values;
mod load;
mod originals;
mod passwords;
mod protocol_version;
mod reconfigure;
mod sasl;
mod value;

pub use broker_config::{BrokerConfig, RACK_AWARE_SELECTOR};
pub use dynamic::{Ignored, is_dynamic_password, key_type};
pub use error::ConfigError;
pub use handle::{ConfigHandle, DYNAMIC_ONLY_KEYS, DescribedValue, Entries, ValueSource, is_dynamic, synonyms};
pub use keys::{Importance, KEYS, Key, OWN_KEYS, UpdateMode, lookup};
pub use layers::{Sources, read_properties};
pub use listener::{Endpoint, ProtocolMap, SecurityProtocol};
pub use listener_values::ListenerConfig;
pub use load::{Loaded, Notice, load};
pub use originals::Originals;
pub use protocol_version::ProtocolVersion;
pub use reconfigure::Reconfigurable;
pub use value::{Type, Valid, Value};
