//! Persistent connections to the API, and their replacement. Tenants can share connections (`sharing`).
//!
//! A [`Pool`] keeps idle connections open, and resolves the server's name for each new connection.
//! Replacing the pool therefore closes idle connections and resolves the name again. Requests in flight
//! finish on the old pool, which closes its connections after the last of these requests.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::redirect;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::time::Instant;

use super::error::Source;
use super::trust;
use crate::config::{Api, Tenant, base_url, ca_file};

/// Maximum time that an idle connection is kept. It is shorter than a minute, so that the first request
/// of a poll does not use a connection that a router has already dropped.
const IDLE: Duration = Duration::from_secs(50);

/// Maximum age of a pool. When the API moves to another address, the old server may continue to run and
/// return old data without an error. After this time, the connections are closed and the name is
/// resolved again.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Minimum age of a pool that is replaced because requests failed. While a server is down, not every
/// failed run may cause new TLS handshakes and DNS queries.
const MIN_AGE: Duration = Duration::from_mins(1);

/// Bounds of two times of an HTTP/2 connection: the time without received data after which a PING is
/// sent, and the time limit for the response to the PING. The lower bound keeps PINGs rare. The upper
/// bound ensures that a dead connection is detected within 30 s, even if `api.timeout` is 90 s.
const PING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Bounds of the time after which TCP closes a connection because sent bytes were not acknowledged.
const UNACKNOWLEDGED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// A client cannot be created from the configuration.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {problem}")]
pub struct BuildError {
    /// The tenant's name.
    pub tenant: Arc<str>,
    problem: BuildProblem,
    #[source]
    source: Option<Source>,
}

#[derive(Debug, thiserror::Error)]
enum BuildProblem {
    #[error("base_url {0}")]
    BaseUrl(base_url::BaseUrlError),
    #[error("api.ca_file {0}")]
    CaFile(String),
    #[error("api.proxy must be an http:// or https:// URL")]
    Proxy,
    #[error("TLS cannot be set up")]
    Tls,
}

/// A client with its connections.
pub(super) struct Pool {
    pub http: reqwest::Client,
    tls: ClientConfig,
    made: Instant,
}

/// The content of `api.ca_file`.
#[derive(Default)]
struct CaFile {
    /// The bytes that are in use.
    pem: Vec<u8>,
    /// The logged reason why the current content of the file is not in use.
    problem: Option<String>,
}

/// The connections of one tenant, or of several with the same server and settings.
pub(super) struct Connections {
    /// The host, as logged.
    server: String,
    api: Api,
    current: ArcSwap<Pool>,
    /// Held while the pool is replaced.
    replacing: Mutex<()>,
    /// Held while the file is read.
    ca_file: Mutex<CaFile>,
}

impl Connections {
    /// Creates the first pool. Opens no connection.
    pub fn new(tenant: &Tenant, now: Instant) -> Result<Self, BuildError> {
        let error = |problem, source| BuildError { tenant: tenant.name.clone(), problem, source };
        let api = &tenant.api;
        base_url::check(&tenant.base_url, api.allow_http)
            .map_err(|why| error(BuildProblem::BaseUrl(why), None))?;
        let (mut pem, mut certificates) = (Vec::new(), Vec::new());
        if let Some(path) = &api.ca_file {
            let wrong = |why| error(BuildProblem::CaFile(why), None);
            pem = ca_file::read(path).map_err(wrong)?;
            certificates = ca_file::certificates(path, &pem).map_err(wrong)?;
        }
        let tls = trust::tls(certificates).map_err(|source| error(BuildProblem::Tls, Some(source)))?;
        let http = client(api, &tls).map_err(|(problem, source)| error(problem, source))?;
        Ok(Self {
            server: tenant.base_url.host_str().unwrap_or_default().to_owned(),
            api: api.clone(),
            current: ArcSwap::from_pointee(Pool { http, tls, made: now }),
            replacing: Mutex::default(),
            ca_file: Mutex::new(CaFile { pem, problem: None }),
        })
    }

    /// Returns the pool for a request that begins `now`. The pool is at most [`MAX_AGE`] old.
    pub fn pool(&self, now: Instant) -> Arc<Pool> {
        let is_old = |pool: &Arc<Pool>| now.saturating_duration_since(pool.made) >= MAX_AGE;
        if is_old(&self.current.load()) {
            self.replace("maximum age", None, now, is_old);
        }
        self.current.load_full()
    }

    /// Replaces `pool`, on which a request timed out. HTTP/1.1 closes the connection of the request,
    /// but HTTP/2 keeps the connection for other requests, because a timeout does not show whether the
    /// server is slow or a middlebox dropped the connection. [`MIN_AGE`] does not apply here: only a
    /// request that began on the current pool replaces it, so there is at most one replacement per
    /// `api.timeout`.
    pub fn abandon(&self, pool: &Arc<Pool>, now: Instant) {
        self.replace("a request timed out", None, now, |current| Arc::ptr_eq(current, pool));
    }

    /// Replaces the pool if it is at least [`MIN_AGE`] old. Called after a request failed despite its
    /// retries, because the server may have moved to another address.
    pub fn request_failed(&self, now: Instant) {
        let is_due = |pool: &Arc<Pool>| now.saturating_duration_since(pool.made) >= MIN_AGE;
        self.replace("requests fail", None, now, is_due);
    }

    /// Whether `api.ca_file` is configured.
    pub fn has_ca_file(&self) -> bool {
        self.api.ca_file.is_some()
    }

    /// Reads `api.ca_file` and replaces the pool if its content has changed. If the file cannot be read
    /// or used, the pool is kept and the problem is logged once. Blocks. Returns immediately if another
    /// thread is reading the file.
    pub fn follow_ca_file(&self, now: Instant) {
        let Some(path) = &self.api.ca_file else { return };
        let mut known = match self.ca_file.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(known)) => known.into_inner(),
            // A read that hangs must not occupy one thread per run.
            Err(TryLockError::WouldBlock) => return,
        };
        let server = &*self.server;
        match self.apply_ca_file(path, &mut known, now) {
            Ok(is_changed) => {
                if known.problem.take().is_some() || is_changed {
                    tracing::info!(server, path = %path.display(), "using the current content of api.ca_file");
                }
            }
            Err(problem) => {
                if known.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        server,
                        problem,
                        "cannot use the changed api.ca_file; keeping the previous certificates"
                    );
                    known.problem = Some(problem);
                }
            }
        }
    }

    /// Applies the content of the file. Returns whether the content differs from the content that was
    /// applied last.
    fn apply_ca_file(&self, path: &Path, known: &mut CaFile, now: Instant) -> Result<bool, String> {
        let pem = ca_file::read(path)?;
        if pem == known.pem {
            return Ok(false);
        }
        let tls = trust::tls(ca_file::certificates(path, &pem)?).map_err(|error| error.to_string())?;
        self.replace("api.ca_file changed", Some(tls), now, |_| true);
        known.pem = pem;
        Ok(true)
    }

    /// Replaces the pool if `is_due` returns true for it. Holds a lock, so that no other thread
    /// replaces the pool at the same time.
    fn replace(
        &self,
        cause: &'static str,
        tls: Option<ClientConfig>,
        now: Instant,
        is_due: impl Fn(&Arc<Pool>) -> bool,
    ) {
        let _guard = lock(&self.replacing);
        let old = self.current.load_full();
        if !is_due(&old) {
            return;
        }
        let mut tls = tls.unwrap_or_else(|| old.tls.clone());
        // A resumed TLS session presents no certificate, so the new pool would not verify a changed
        // certificate.
        tls.resumption = Resumption::default();
        let server = &*self.server;
        match client(&self.api, &tls) {
            Ok(http) => {
                tracing::debug!(server, cause, "new requests use new connections");
                self.current.store(Arc::new(Pool { http, tls, made: now }));
            }
            Err((problem, source)) => {
                let source = source.map(|source| source.to_string());
                tracing::error!(server, %problem, source, "cannot replace the connections; keeping them");
            }
        }
    }
}

/// Creates a client that has no connections yet.
fn client(api: &Api, tls: &ClientConfig) -> Result<reqwest::Client, (BuildProblem, Option<Source>)> {
    let ping = (api.timeout / 2).clamp(PING.0, PING.1);
    let builder = reqwest::Client::builder()
        .user_agent(concat!("flexvm-exporter/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls.clone())
        // A redirect would send the token to another host.
        .redirect(redirect::Policy::none())
        .referer(false)
        // A metric shows the expiry of the server's certificate.
        .tls_info(true)
        // `retry` counts and limits all retries.
        .retry(reqwest::retry::never())
        .connect_timeout(api.connect_timeout)
        .read_timeout(api.timeout)
        .timeout(api.timeout)
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(ping)
        .http2_keep_alive_timeout(ping)
        // A dead idle connection is closed before the next poll uses it.
        .http2_keep_alive_while_idle(true)
        .tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(api.timeout.clamp(UNACKNOWLEDGED.0, UNACKNOWLEDGED.1));
    let builder = match &api.proxy {
        Some(url) if !matches!(url.scheme(), "http" | "https") => return Err((BuildProblem::Proxy, None)),
        Some(url) => builder.proxy(
            reqwest::Proxy::all(url.clone()).map_err(|source| (BuildProblem::Proxy, Some(source.into())))?,
        ),
        None => builder.no_proxy(),
    };
    builder.build().map_err(|source| (BuildProblem::Tls, Some(source.into())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, TokenSource};

    fn connections(api: Api, now: Instant) -> Connections {
        let tenant = Tenant {
            name: "k1".into(),
            base_url: "https://api.example".parse().unwrap(),
            token: TokenSource::Fixed(Secret::new("token")),
            api,
            prices: None,
            group_by: Vec::new(),
        };
        Connections::new(&tenant, now).unwrap()
    }

    /// Whether `change` replaces the pool.
    fn is_replaced(connections: &Connections, change: impl FnOnce()) -> bool {
        let before = connections.current.load_full();
        change();
        !Arc::ptr_eq(&before, &connections.current.load_full())
    }

    #[test]
    fn pool_is_replaced_after_its_maximum_age() {
        let start = Instant::now();
        let connections = connections(Api::default(), start);
        let after = |age| is_replaced(&connections, || drop(connections.pool(start + age)));
        assert!(!after(MAX_AGE.checked_sub(Duration::from_secs(1)).unwrap()));
        assert!(after(MAX_AGE));
        assert!(!after(MAX_AGE + Duration::from_secs(1)), "the new pool is young");
        assert!(after(MAX_AGE * 2));
    }

    #[test]
    fn failed_requests_replace_once_per_minute() {
        let start = Instant::now();
        let connections = connections(Api::default(), start);
        let replaced = (0..600).filter(|second| {
            is_replaced(&connections, || connections.request_failed(start + Duration::from_secs(*second)))
        });
        assert_eq!(replaced.collect::<Vec<_>>(), (1..10).map(|minute| minute * 60).collect::<Vec<_>>());
    }

    #[test]
    fn timeouts_on_one_pool_replace_it_once() {
        let now = Instant::now();
        let connections = connections(Api::default(), now);
        let (first, same) = (connections.pool(now), connections.pool(now));
        assert!(is_replaced(&connections, || connections.abandon(&first, now)));
        assert!(!is_replaced(&connections, || connections.abandon(&same, now)));
        let second = connections.pool(now);
        assert!(is_replaced(&connections, || connections.abandon(&second, now)));
    }

    #[test]
    fn only_usable_content_of_the_ca_file_replaces() {
        let pem = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
        };
        let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let path = folder.path().join("ca.pem");
        let (first, second) = (pem(), pem());
        std::fs::write(&path, &first).unwrap();
        let connections = connections(Api { ca_file: Some(path.clone()), ..Api::default() }, now);
        let follows = || is_replaced(&connections, || connections.follow_ca_file(now));
        assert!(!follows(), "unchanged");
        for (what, content) in [
            ("half-written", &second[..second.len() / 2]),
            ("second certificate half-written", &format!("{first}{}", &second[..second.len() / 2])),
            ("empty", ""),
        ] {
            std::fs::write(&path, content).unwrap();
            assert!(!follows(), "{what}");
            assert!(connections.ca_file.lock().unwrap().problem.is_some(), "{what}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!follows(), "missing");
        std::fs::write(&path, &second).unwrap();
        assert!(follows(), "complete");
        assert!(connections.ca_file.lock().unwrap().problem.is_none());
        assert!(!follows(), "already applied");
        let busy = connections.ca_file.lock().unwrap();
        std::fs::write(&path, &first).unwrap();
        assert!(!follows(), "another thread reads");
        drop(busy);
        assert!(follows());
    }
}
