//! Dashboards, rules and runbooks are what they promise: the files parse, follow the rules for
//! dashboards, name only series that exist, and every expression is answered by a live Prometheus
//! that scrapes the program on the simulator.
//!
//! Tests that need promtool, Prometheus or python3 say when they are skipped, or fail where `FLEXVM_REQUIRE_TOOLS=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

#[path = "dashboards/files.rs"]
mod files;
#[path = "dashboards/healthy.rs"]
mod healthy;
#[path = "dashboards/linter.rs"]
mod linter;
#[path = "dashboards/live.rs"]
mod live;
#[path = "dashboards/rules.rs"]
mod rules;
#[path = "dashboards/schema.rs"]
mod schema;
#[path = "dashboards/series.rs"]
mod series;
#[path = "dashboards/stage.rs"]
mod stage;
