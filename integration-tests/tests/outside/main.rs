//! What a stranger sees: our programs, a real ZooKeeper, stock clients.

mod before_login;
mod clients;
mod cluster_tools;
mod configurations;
mod coordinators;
mod crashes;
mod death;
mod directories;
mod failover;
mod groups;
mod hostile;
mod membership;
mod mixed;
mod obeyed;
mod office;
mod partial_failures;
mod quotas;
mod reassignment;
mod records;
mod replication;
mod retention;
mod secured;
mod soak;
mod starts;
mod tls;
mod topics;
