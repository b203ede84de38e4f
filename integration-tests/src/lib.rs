//! The harness of the tests that look from outside: it starts programs and talks to them as strangers do.
//!
//! It knows our broker only as a program with a `server.properties`, a log and a port; nothing here links to a crate of
//! ours. `OTTLA_BROKER_COMMAND` names another program to test, its words split at blanks, to which the properties file
//! is added: with Apache Kafka's own broker there, the same suite shows that what the tests expect is what Kafka does.
//!
//! Invariants: every wait has a deadline and says what it waited for; every process is bound to 127.0.0.1 and dies with
//! the test program; a failed test leaves its directory (properties, logs, data) and says where it is.

mod administration;
mod broker;
mod certificates;
mod cluster;
mod coordinator;
mod copier;
mod ecosystem;
mod group;
mod http;
mod metadata;
mod ports;
mod process;
mod proxy;
mod replicas;
mod sasl;
mod scene;
mod secure;
mod tools;
mod transactions;
mod transactor;
mod wire;
mod writer;
mod znodes;
mod zookeeper;

pub use broker::{Broker, BrokerSetup, is_reference, program};
pub use certificates::{Authority, Identity, STORE_PASSWORD};
pub use cluster::Cluster;
pub use coordinator::Coordinator;
pub use copier::{Copied, Copier};
pub use ecosystem::{ConnectWorker, Program, lines_of, whole_ecosystem};
pub use group::{Group, StockWriter};
pub use http::{HttpAnswer, http};
pub use metadata::{Metadata, Partition};
pub use ports::free_port;
pub use process::{Outcome, Process, run, run_with_input};
pub use proxy::{Cut, Proxy};
pub use replicas::{StoredBatch, compare, stored_batches};
pub use sasl::{SaslAnswer, Scram};
pub use scene::Scene;
pub use secure::{Login, MECHANISMS, Security, create_scram_users, password};
pub use tools::{
    client, kafka, kafka_0_10, kafka_2_8, kafka_jar, kafka_with_input, kcat, kcat_reads_all, kcat_with_input,
};
pub use transactions::TransactionalProducer;
pub use transactor::Transactor;
pub use wire::{Answer, Batch, BatchRecord, Connection, FetchAnswer, ProduceAnswer};
pub use writer::{Writer, WriterSetup, Written};
pub use znodes::{Znode, Znodes};
pub use zookeeper::ZooKeeper;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The top of this repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
        .to_path_buf()
}

/// Polls `probe` until it gives something, at most for `seconds`; panics with `what` and the last words otherwise.
pub fn eventually<T>(seconds: u64, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match probe() {
            Ok(found) => return found,
            Err(last) if Instant::now() >= deadline => panic!("{what}: not within {seconds} s; last: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
