//! A month's report as files: what they say, to the byte, and how they appear.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

#[path = "report/anything.rs"]
mod anything;
#[path = "report/changes.rs"]
mod changes;
#[path = "report/files.rs"]
mod files;
#[path = "report/folder.rs"]
mod folder;
#[path = "report/memory.rs"]
mod memory;
#[path = "report/month.rs"]
mod month;
#[path = "report/opening.rs"]
mod opening;
#[path = "report/precision.rs"]
mod precision;
mod program;
#[path = "report/repeats.rs"]
mod repeats;
#[path = "report/verdict.rs"]
mod verdict;
