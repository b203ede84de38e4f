//! What the controller does, told as scripts and as random histories.
