//! What a stranger sees: our programs, a real ZooKeeper, stock clients.

mod topics;
