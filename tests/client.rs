//! The client against servers that behave, misbehave and break off.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "client/bodies.rs"]
mod bodies;
#[path = "client/common.rs"]
mod common;
#[path = "client/connections.rs"]
mod connections;
#[path = "client/credentials.rs"]
mod credentials;
#[path = "client/diagnosis.rs"]
mod diagnosis;
#[path = "client/network.rs"]
mod network;
#[path = "client/paging.rs"]
mod paging;
#[path = "client/pki.rs"]
mod pki;
#[path = "client/requests.rs"]
mod requests;
#[path = "client/retries.rs"]
mod retries;
#[path = "client/server.rs"]
mod server;
#[path = "client/tls.rs"]
mod tls;
