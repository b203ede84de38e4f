//! Tests of append plans.
