//! Writes a batch anew: another codec, or offsets put right.
