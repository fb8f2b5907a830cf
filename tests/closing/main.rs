//! Closing months: what is due, exactly once, what a crash leaves, and what happens afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod due;
mod frozen;
mod killed;
mod once;
mod power;
#[path = "../program/mod.rs"]
mod program;
mod restate;
mod support;
mod upgrade;
