//! The daemon in one process with the simulator, over real sockets: what it shows while the API
//! misbehaves, and afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod absence;
mod changes;
mod faults;
mod ledger;
mod named_faults;
mod paths;
mod recorded;
mod reloads;
mod rig;
mod scrapes;
mod serving;
mod timing;
