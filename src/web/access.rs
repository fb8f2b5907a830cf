//! Who may read what, and how it is encrypted: the web configuration file of the Prometheus
//! exporter toolkit.
//!
//! Read at start, at every reload, and whenever it or a certificate changes on disk. Connections go
//! on under the certificate they began with; every request is judged by the newest passwords.

mod basic;
mod file;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use rustls::ServerConfig;

use self::basic::Users;
use super::peer::Peer;
use crate::config::problem::Problems;
use crate::self_metrics::CertificateUse;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a web configuration file says; by default nothing is encrypted and nobody is asked.
#[derive(Debug, Default)]
pub struct Rules {
    /// TLS, if there is any.
    pub tls: Option<Arc<ServerConfig>>,
    /// Expiries of the certificates, the earliest for each use.
    pub expiries: Vec<(CertificateUse, Timestamp)>,
    /// Whether every client has to show a certificate.
    clients_verified: bool,
    users: Users,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The files that it was read from.
    files: Vec<Seen>,
}

impl Rules {
    /// Reads a web configuration file and everything that it names.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        file::read(path)
    }

    /// Whether nobody comes in without a password or a certificate.
    #[must_use]
    pub fn authenticated(&self) -> bool {
        self.clients_verified || !self.users.is_empty()
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    In,
    /// It names no user with the right password.
    Out,
    /// Its password was not checked in time, because too many other passwords wait.
    Busy,
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Access {
    path: Option<PathBuf>,
    rules: ArcSwap<Rules>,
    known: basic::Known,
}

impl Access {
    /// The rules of the file at `path`; without one everything is open.
    pub fn open(path: Option<&Path>) -> Result<Self, Problems> {
        let rules = path.map(Rules::read).transpose()?.unwrap_or_default();
        Ok(Self {
            path: path.map(Path::to_owned),
            rules: ArcSwap::from_pointee(rules),
            known: basic::Known::default(),
        })
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Reads the file again, without taking it.
    pub fn read_again(&self) -> Result<Rules, Problems> {
        Ok(self.path.as_deref().map(Rules::read).transpose()?.unwrap_or_default())
    }

    /// Puts `rules` in force.
    pub fn take(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Whether a request of `peer` with these headers may be answered.
    pub(super) async fn judges(&self, headers: &HeaderMap, peer: Peer) -> Verdict {
        let rules = self.rules();
        if rules.users.is_empty() { Verdict::In } else { self.known.judges(&rules, headers, peer).await }
    }

    /// Takes the file whenever it, or one that it names, has changed; `reloaded` hears how that went.
    pub async fn watch(self: Arc<Self>, reloaded: impl Fn(&Result<(), Problems>)) {
        if self.path.is_none() {
            return std::future::pending().await;
        }
        // What was wrong the last time: said once, however often it is looked at again.
        let mut refused = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let (this, again) = (Arc::clone(&self), refused.is_some());
            let look =
                move || (again || this.rules().files.iter().any(Seen::changed)).then(|| this.read_again());
            // A panic is in the log already.
            let Ok(Some(read)) = tokio::task::spawn_blocking(look).await else { continue };
            match read {
                Ok(rules) => {
                    self.take(rules);
                    refused = None;
                    reloaded(&Ok(()));
                }
                Err(problems) if refused.as_ref() == Some(&problems) => {}
                Err(problems) => {
                    refused = Some(problems.clone());
                    reloaded(&Err(problems));
                }
            }
        }
    }
}

/// A file as it was just before it was read.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    state: Option<(SystemTime, u64)>,
}

impl Seen {
    fn now(path: PathBuf) -> Self {
        let state = state(&path);
        Self { path, state }
    }

    fn changed(&self) -> bool {
        state(&self.path) != self.state
    }
}

/// Time of change and size.
fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
