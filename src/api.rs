//! The FlexVM API's client: authentication, paging, limits, retries. It can only read.
//!
//! A [`Client`] belongs to one tenant; each run of a collector makes a [`Run`] from it, which
//! holds the run's deadline and its budget of retries. What comes out is the domain of `snapshot`;
//! the wire's own shapes stay in `wire`.
//!
//! Each request passes through `run` (token, retries, deadline), `transport` (one GET and its response)
//! and `wire` (JSON to domain types). `lookups` limits requests by id, and
//! `volume` limits rows and bytes. `paging` combines the pages of a
//! list. `connections` keeps and replaces connections, `sharing` decides which tenants share them, and
//! `trust` decides which servers are accepted.

mod address;
mod connections;
mod defects;
mod diagnosis;
mod endpoint;
pub mod error;
mod lookups;
mod memo;
mod paging;
mod retry;
mod run;
mod server_time;
mod sharing;
mod spellings;
mod statistics;
mod token;
mod transport;
mod trust;
mod unknown;
mod volume;
mod wire;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use self::memo::Memo;
use crate::config::Tenant;
use crate::snapshot::MonthlyReport;
use crate::snapshot::{Node, Text, Vm, VmStatus};

pub use connections::BuildError;
pub use defects::Defect;
pub use endpoint::{Code, Endpoint, NoObserver, Observer};
pub use error::{Error, Reason};
pub use run::Run;
pub use server_time::{CLOCK_TOLERANCE, ClockState};
pub use sharing::SharedConnections;
pub use statistics::{PageSize, Statistics};
pub use token::{TokenError, read_token, read_token_from};
pub use trust::{plain_client, unverified_client};

/// The provider's monthly report, as it came and as it is understood.
#[derive(Clone, Debug)]
pub struct Monthly {
    /// The answer's bytes, after decompression.
    pub body: Bytes,
    /// What they say.
    pub report: MonthlyReport,
    /// What the response says about its own time; nothing for a saved response.
    pub time: ResponseTime,
}

/// What a response says about the time at which it was generated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseTime {
    /// The header `Date`: the clock of the server that generated the response.
    pub date: Option<Timestamp>,
    /// The header `Age`: how long caches have stored the response.
    pub age: Option<Duration>,
}

impl ResponseTime {
    /// The latest time at which the response can have been generated: `Date`, or, if a cache stored it,
    /// the earlier of `Date` and `received_at` − `Age` (RFC 9111, section 4.2.3). Without a `Date`, an
    /// `Age` only proves that the response is not newer. `None` without both.
    #[must_use]
    pub fn generated_at(self, received_at: Timestamp) -> Option<Timestamp> {
        let stored = self.age.map(|age| received_at.checked_sub(age).unwrap_or(Timestamp::MIN));
        self.date.into_iter().chain(stored).min()
    }
}

impl Monthly {
    /// Reads an answer that was kept.
    pub fn read(body: Bytes) -> Result<Self, Error> {
        let parsed = wire::monthly(&body, &wire::Texts::default());
        Self::of(body, parsed)
    }

    /// Reads a response that was stored by an older version, which did not normalise ids. Ids keep the
    /// spelling of the response, so that identical files can be generated again.
    pub fn read_verbatim(body: Bytes) -> Result<Self, Error> {
        let parsed = wire::monthly_verbatim(&body, &wire::Texts::default());
        Self::of(body, parsed)
    }

    fn of(
        body: Bytes,
        parsed: Result<wire::Parsed<MonthlyReport>, serde_json::Error>,
    ) -> Result<Self, Error> {
        match parsed {
            Ok(parsed) => Ok(Self { body, report: parsed.value, time: ResponseTime::default() }),
            Err(error) => Err(Error::malformed_report(&wire::explain(&body, &error))),
        }
    }

    /// Returns the report for a comparison with another body. Marks identify invalid Unicode in its
    /// texts, so that texts of two bodies are equal if and only if the API sent equal texts.
    ///
    /// # Errors
    /// A text with its marks exceeds the maximum length.
    pub fn for_comparison(&self) -> Result<Cow<'_, MonthlyReport>, Error> {
        match wire::monthly_marked(&self.body, &wire::Texts::default()) {
            None => Ok(Cow::Borrowed(&self.report)),
            Some(Ok(parsed)) => Ok(Cow::Owned(parsed.value)),
            Some(Err(error)) => Err(Error::malformed_report(&wire::explain(&self.body, &error))),
        }
    }
}

/// Reads pages of VMs, each with its cloud and the status that was asked for, as a run does that knows
/// none of them. For those who measure what reading costs.
pub fn read_vms<'a>(
    pages: impl IntoIterator<Item = (&'a [u8], &'a Text, &'a VmStatus)>,
) -> Result<Vec<Vm>, Error> {
    let texts = wire::Texts::default();
    let mut vms = Vec::new();
    for (body, cloud_id, status) in pages {
        let parsed = wire::vms(body, &texts, cloud_id, status).map_err(|error| {
            Error::new(Endpoint::Vms, Reason::Malformed).message(&wire::explain(body, &error))
        })?;
        vms.extend(parsed.value);
    }
    Ok(vms)
}

/// The client of one tenant: its connections, the location of its token, and its limits. Cheap to
/// clone.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// What all runs of a tenant share.
struct Shared {
    tenant: Tenant,
    transport: Arc<transport::Transport>,
    /// A permit for each request in flight.
    permits: Semaphore,
    observer: Arc<dyn Observer>,
    server_time: server_time::ServerTime,
    vms: Memo<Vm>,
    nodes: Memo<Node>,
    spellings: spellings::Spellings,
}

impl Client {
    /// A client for `tenant`. Makes no request and does not read the token.
    ///
    /// # Errors
    /// The base URL is not allowed, `ca_file` cannot be read or holds no certificates, or the
    /// proxy is not usable; the error names the tenant.
    pub fn new(tenant: &Tenant, observer: Arc<dyn Observer>) -> Result<Self, BuildError> {
        Self::sharing(tenant, observer, &mut SharedConnections::default())
    }

    /// Creates a client that shares connections with other tenants that have the same server and
    /// settings.
    ///
    /// # Errors
    /// Returns the errors of [`Client::new`].
    pub fn sharing(
        tenant: &Tenant,
        observer: Arc<dyn Observer>,
        connections: &mut SharedConnections,
    ) -> Result<Self, BuildError> {
        Ok(Self(Arc::new(Shared {
            transport: Arc::new(transport::Transport::new(tenant, connections)?),
            permits: Semaphore::new(tenant.api.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            tenant: tenant.clone(),
            observer,
            server_time: server_time::ServerTime::default(),
            vms: Memo::default(),
            nodes: Memo::default(),
            spellings: spellings::Spellings::default(),
        })))
    }

    /// Begins a run of a collector, whose requests must all end within `deadline` and share a
    /// budget of retries: ten times `api.retries`, so that a server with a hiccup is forgiven and
    /// one that is down is left alone.
    #[must_use]
    pub fn run(&self, deadline: Duration) -> Run {
        Run::new(Arc::clone(&self.0), deadline)
    }

    /// Compares `now`, which was just read from the local clock, with the latest `Date` of the API.
    #[must_use]
    pub fn clock_state(&self, now: Timestamp) -> ClockState {
        self.0.server_time.compare(now)
    }

    /// Returns the current time of the API's clock; `None` if no response contained its time.
    #[must_use]
    pub fn server_time(&self) -> Option<Timestamp> {
        self.0.server_time.now()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("tenant", &self.0.tenant.name).finish_non_exhaustive()
    }
}
