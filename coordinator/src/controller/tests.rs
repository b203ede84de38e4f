//! What the controller does, told as scripts (`testdata/controller/*.txt`) and as random histories.

mod load;
mod script;
mod simulation;
mod world;
