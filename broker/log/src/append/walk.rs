//! Reads every record of a batch once, compressed or not.
