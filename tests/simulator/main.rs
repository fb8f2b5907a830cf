//! The simulator against its own OpenAPI document, against arithmetic done by hand, and against
//! what it promises to the other tests.

mod conformance;
mod faults;
mod life;
mod monthly;
mod support;
mod world;
