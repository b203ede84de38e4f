//! What the controller does, told as scripts (`testdata/controller/*.txt`) and as random histories.

mod script;
mod simulation;
mod world;
