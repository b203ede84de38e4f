//! What a stranger sees: our programs, a real ZooKeeper, stock clients.

mod clients;
mod coordinators;
mod crashes;
mod directories;
mod failover;
mod groups;
mod hostile;
mod membership;
mod records;
mod replication;
mod retention;
mod starts;
mod topics;
