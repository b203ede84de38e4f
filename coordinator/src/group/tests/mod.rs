//! What the group core does, seen from outside: golden records, scripts of conversations, random histories.

mod histories;
mod records;
mod script;
mod stage;
