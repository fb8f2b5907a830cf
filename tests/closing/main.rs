//! Closing months: what is due, exactly once, what a crash leaves, and what happens afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clock;
mod completeness;
mod differences;
mod due;
mod frozen;
mod killed;
mod once;
mod power;
#[path = "../program/mod.rs"]
mod program;
mod response_time;
mod restate;
#[expect(dead_code, reason = "the tests of the client use the rest")]
#[path = "../client/server.rs"]
mod server;
mod sizes;
mod support;
mod upgrade;
mod waivers;
