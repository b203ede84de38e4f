//! Tests of the producer states.
