//! The configuration, typed and checked. Comes from a YAML file or the environment, goes to
//! everything downstream as plain values.

pub mod base_url;
pub mod ca_file;
mod currency;
pub mod load;
mod prices;
pub mod problem;
pub mod schedule;
mod tag_rule;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rust_decimal::Decimal;

pub use self::tag_rule::{Normalize, TagRule};

use self::schedule::Schedule;
use crate::period::Month;

/// Everything that the YAML file or the environment says.
#[derive(Clone, Debug)]
pub struct Config {
    /// One per FlexVM organisation; never empty, names unique whatever the case.
    pub tenants: Vec<Arc<Tenant>>,
    /// Intervals of the collectors.
    pub poll: Poll,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What the server offers.
    pub web: Web,
    /// Where observations are kept.
    pub ledger: Ledger,
    /// Monthly reports; `group_by` is in each tenant.
    pub report: Report,
}

impl Config {
    /// Returns whether all settings except the tenants are equal in `other`.
    #[must_use]
    pub fn has_same_general_keys(&self, other: &Self) -> bool {
        let Self { tenants: _, poll, metrics, web, ledger, report } = self;
        (poll, metrics, web, ledger, report)
            == (&other.poll, &other.metrics, &other.web, &other.ledger, &other.report)
    }
}

/// A FlexVM organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// `[A-Za-z0-9][A-Za-z0-9.-]*` without `..`, without a dot at the end, and not the name of a Windows device, so that
    /// it is safe as the name of a directory.
    pub name: Arc<str>,
    /// Root of the API, without a trailing slash in its path.
    pub base_url: Url,
    /// Where the token is read from.
    pub token: TokenSource,
    /// How the API is called.
    pub api: Api,
    /// The price list, if there is one.
    pub prices: Option<Arc<Prices>>,
    /// Tag keys that groups are made of; empty: the exact tag set.
    pub group_by: Vec<String>,
}

/// Where a token comes from. The token itself is never part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A value given by this program itself (the demo's simulator).
    Fixed(Secret),
}

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// `api`: how the API is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Longest time for one request, body included; also without a byte read.
    pub timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Whether `http://` is allowed beyond loopback.
    pub allow_http: bool,
    /// Extra root certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Proxy for all requests.
    pub proxy: Option<Url>,
    /// Rows asked for per page.
    pub page_size: u32,
    /// Requests in flight per tenant.
    pub concurrency: usize,
    /// Largest body accepted, in bytes, after decompression.
    pub max_body: u64,
    /// Retries of one request.
    pub retries: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(90),
            connect_timeout: Duration::from_secs(10),
            allow_http: false,
            ca_file: None,
            proxy: None,
            page_size: 100,
            concurrency: 8,
            max_body: 256 << 20,
            retries: 3,
        }
    }
}

/// `poll`: interval of each collector; zero switches it off.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the collectors")]
pub struct Poll {
    pub capacity: Duration,
    pub inventory: Duration,
    pub deleted_vms: Duration,
    pub usage: Duration,
    pub catalogue: Duration,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            capacity: Duration::from_mins(1),
            inventory: Duration::from_mins(1),
            deleted_vms: Duration::ZERO,
            usage: Duration::from_mins(10),
            catalogue: Duration::from_hours(1),
        }
    }
}

/// `metrics`: what `/metrics` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Whether there are series per VM.
    pub per_vm: bool,
    /// Most VMs of a tenant that get series of their own.
    pub max_vms: usize,
    /// Most tags of a tenant that get series; the tags with most seconds.
    pub max_tags: usize,
    /// Most groups of a tenant that get series; the groups with most seconds. The others are summed.
    pub max_groups: usize,
    /// Longest value of a label, in bytes; longer ones are cut and end in a digest.
    pub max_label_length: usize,
    /// Most closed months of a tenant that get series, latest first.
    pub max_months: usize,
    /// Tag keys that become labels of `flexvm_vm_tags`.
    pub tag_keys: Vec<String>,
    /// Least age at which a collector's series go.
    pub stale_after: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            per_vm: true,
            max_vms: 20_000,
            max_tags: 1_000,
            max_groups: 1_000,
            max_label_length: 1_024,
            max_months: 24,
            tag_keys: Vec::new(),
            stale_after: Duration::from_mins(15),
        }
    }
}

/// `web.reports`: whether reports and reload are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebReports {
    /// On loopback, or when authentication is configured.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// `web`: what the server offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// See [`WebReports`].
    pub reports: WebReports,
}

/// `ledger`: where observations are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Path of the SQLite file (the URL without `sqlite:`).
    pub path: PathBuf,
    /// How long events of closed months are kept; `None` is for ever.
    pub retention: Option<Duration>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { path: PathBuf::from("flexvm-exporter.db"), retention: None }
    }
}

/// `report.completeness`: what happens if a response lacks VMs that polls observed in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    /// The month is not closed.
    #[default]
    Strict,
    /// The month is closed, and its verdict is `incomplete`.
    Warn,
}

/// `report.restate`: what a changed closed month does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restate {
    /// A metric and a log line.
    #[default]
    Flag,
    /// Also a new revision.
    Auto,
}

/// `report`: monthly reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Root of the report folders.
    pub directory: PathBuf,
    /// Cron expression with seconds, UTC: when new months are looked for.
    pub schedule: Schedule,
    /// How long after its end a month can be closed.
    pub settle: Duration,
    /// Months before the first start that are closed too.
    pub backfill: u32,
    /// Normalising of tags before they are grouped.
    pub tag_rules: Vec<TagRule>,
    /// How long a closed month is compared with the provider's figures.
    pub watch: Duration,
    /// See [`Completeness`].
    pub completeness: Completeness,
    /// See [`Restate`].
    pub restate: Restate,
    /// Largest ratio by which an automatic restatement may lower the month's `vm_seconds`, from 0 to 1.
    pub restate_max_decrease: Decimal,
    /// Whether CSV files begin with a byte-order mark.
    pub excel_bom: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("reports"),
            schedule: default_schedule(),
            settle: Duration::from_mins(30),
            backfill: 0,
            tag_rules: Vec::new(),
            watch: Duration::from_hours(840),
            completeness: Completeness::Strict,
            restate: Restate::Flag,
            restate_max_decrease: Decimal::new(5, 2),
            excel_bom: false,
        }
    }
}

/// `prices`: rates by instance type.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Prices {
    /// ISO 4217 code.
    pub currency: String,
    /// Per instance type, in the order of `from`; `None` is from ever.
    pub vm_hour: BTreeMap<String, Vec<(Option<Month>, Decimal)>>,
}

impl Prices {
    /// Price of an hour of `instance_type` in `month`: the newest whose month is not later.
    #[must_use]
    pub fn at(&self, instance_type: &str, month: Month) -> Option<Decimal> {
        self.vm_hour
            .get(instance_type)?
            .iter()
            .rev()
            .find(|(from, _)| from.is_none_or(|from| from <= month))
            .map(|(_, price)| *price)
    }

    /// Number of decimals of the currency's minor unit.
    #[must_use]
    pub fn minor_unit(&self) -> u32 {
        currency::minor_unit(&self.currency)
    }
}

/// The command line's share of the server's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Addresses to listen on.
    pub addresses: Vec<SocketAddr>,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// The exporter toolkit's web configuration file.
    pub web_config: Option<PathBuf>,
}

/// The first of each month, half past midnight UTC.
fn default_schedule() -> Schedule {
    "0 30 0 1 * *".parse().expect("the default schedule is valid")
}
