//! The simulator against its own OpenAPI document, against arithmetic done by hand, and against
//! what it promises to the other tests.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod care;
mod conformance;
mod faults;
mod life;
mod monthly;
mod named_faults;
mod support;
mod world;
