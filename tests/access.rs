//! Passwords, certificates and hostile clients, over real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "access/attack.rs"]
mod attack;
#[path = "access/counted.rs"]
mod counted;
#[path = "access/files.rs"]
mod files;
#[path = "access/floods.rs"]
mod floods;
#[path = "access/passwords.rs"]
mod passwords;
#[path = "access/pki.rs"]
mod pki;
mod program;
#[path = "access/prometheus.rs"]
mod prometheus;
#[path = "access/rig.rs"]
mod rig;
#[path = "access/sites.rs"]
mod sites;
#[path = "access/tls.rs"]
mod tls;
