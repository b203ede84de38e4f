//! What the transaction core does, seen from outside: golden records, tables of decisions, conversations, random histories.

mod bench;
mod conversations;
mod decisions;
mod records;
mod simulation;
