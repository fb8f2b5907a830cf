//! Prometheus exporter and monthly usage reports for i3D.net FlexVM clouds.
//!
//! Modules stand in the order in which data flows; each uses only those above it.

pub mod clock;
pub mod period;

pub mod config;

pub mod snapshot;
pub mod usage;

pub mod api;

pub mod simulator;
