//! Prometheus exporter and monthly usage reports for i3D.net FlexVM clouds.
//!
//! Modules stand in groups, in the order in which data flows; none uses a module of a group below.

pub mod certificate;
pub mod clock;
pub mod filesystem;
pub mod period;
pub mod text;

pub mod config;

pub mod ledger;
pub mod observe;
pub mod snapshot;
pub mod usage;

pub mod api;
pub mod report;

pub mod exposition;
pub mod self_metrics;
pub mod store;

pub mod poll;

pub mod close;

pub mod web;

pub mod simulator;

pub mod daemon;
pub mod progress;

pub mod cli;
pub mod commands;
pub mod logging;
