//! `/cluster/ottla` — what is ours alone; no stock Kafka reads or writes it.
//!
//! Ephemeral children announce which brokers and which dedicated coordinators are of this product: whoever is in
//! `/brokers/ids` but not here is a stock Kafka. Below `/cluster`, so that `ls /` shows the classic paths only.

use model::BrokerId;

/// The parent.
pub const PATH: &str = "/cluster/ottla";
/// Brokers of this product (ephemeral children by broker id).
pub const BROKERS_PATH: &str = "/cluster/ottla/brokers";
/// Dedicated coordinators (ephemeral children by id).
pub const COORDINATORS_PATH: &str = "/cluster/ottla/coordinators";

/// Where a broker announces itself.
pub fn broker_path(id: BrokerId) -> String {
    format!("{BROKERS_PATH}/{id}")
}

/// Where a dedicated coordinator announces itself.
pub fn coordinator_path(id: BrokerId) -> String {
    format!("{COORDINATORS_PATH}/{id}")
}
