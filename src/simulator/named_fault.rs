//! Faults that users choose by name with `--fault`: each shows a situation in which the API or its
//! surroundings misbehave. `docs/simulator.md` states what the exporter does.

mod capacity;
mod lists;
mod months;
mod transport;
mod values;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::Value;

use super::fault::Fault;
use super::route::Operation;
use crate::clock::Clock;

/// A fault with a name. The first line of each comment is shown by `--help` and in `docs/simulator.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NamedFault {
    /// Absent values are null, also the node of a VM that is being provisioned
    NullValues,
    /// Responses have fields, VM statuses and sites that are not documented
    UnknownFields,
    /// Names and tags of some VMs are not valid Unicode
    UnreadableText,
    /// Times of some VMs and figures of some instance types cannot be read
    UnreadableValues,
    /// Names and tags contain separators, quotes, formulas and reserved texts
    OddText,
    /// Names of VMs have 2,000 characters
    LongText,
    /// Ids are written in upper case
    UpperCaseIds,
    /// The list of clouds is empty, but each cloud is returned by its id
    EmptyClouds,
    /// The list of clouds lacks a cloud, but the cloud is returned by its id
    MissingCloud,
    /// The list of clouds lacks a cloud, and the request by its id returns 404 of a gateway
    MissingCloudNotFound,
    /// Lists of nodes lack a node, but the node is returned by its id
    MissingNode,
    /// Lists of VMs lack some VMs, but each VM is returned by its id
    MissingVms,
    /// Lists of VMs lack some VMs, and requests by id do not respond
    StalledLookups,
    /// The server ignores the paging header and returns whole lists
    IgnoredPaging,
    /// Rows of VM lists move between two pages
    ShiftingPages,
    /// More is in use than exists, so the available amount is negative
    NegativeCapacity,
    /// Figures of the capacity are absent, negative or fractions
    UnreadableCapacity,
    /// The catalogue lacks instance types that VMs use
    MissingInstanceType,
    /// The catalogue is empty
    EmptyCatalogue,
    /// Reports of ended months are empty
    EmptyMonth,
    /// Reports of ended months lack some VMs
    IncompleteMonth,
    /// From 2 minutes after the start on, ended months have a VM with more hours
    LateChange,
    /// From 2 minutes after the start on, ended months have other totals for the same VMs
    LateTotals,
    /// Reports of ended months contain every VM twice
    DuplicateRows,
    /// Reports of ended months contain a cloud twice, with different totals
    ConflictingRows,
    /// Reports of ended months are for another period
    WrongPeriod,
    /// Requests for reports of ended months return 500
    PreviousMonthFails,
    /// Responses have no Date
    NoDate,
    /// The Date of responses is one day ahead
    WrongDate,
    /// Responses come from a cache: they have an Age, and a Date of one hour ago
    CachedResponses,
    /// In every second minute, requests are refused with 429 and Retry-After
    RateLimit,
    /// In every second minute, a gateway responds with 502 and an HTML page
    ServerErrors,
    /// In every second minute, requests are refused with 403
    Forbidden,
    /// In every second minute, requests get no response
    Stalled,
    /// Responses take 3 s
    Slow,
    /// Every tenth connection is closed without a response
    DroppedConnections,
    /// Every tenth response ends in the middle
    TruncatedResponses,
}

impl NamedFault {
    /// Returns the parts of the fault. Its times begin at the current time of `clock`.
    pub(super) fn parts(self, clock: &Clock) -> Vec<Fault> {
        match self {
            Self::NullValues => values::null(),
            Self::UnknownFields => values::unknown(),
            Self::UnreadableText => values::unreadable_text(),
            Self::UnreadableValues => values::unreadable(),
            Self::OddText => values::odd_text(),
            Self::LongText => values::long_text(),
            Self::UpperCaseIds => values::upper_case_ids(),
            Self::EmptyClouds => lists::empty_clouds(),
            Self::MissingCloud => lists::missing_cloud(),
            Self::MissingCloudNotFound => lists::missing_cloud_not_found(),
            Self::MissingNode => lists::missing_node(),
            Self::MissingVms => lists::missing_vms(),
            Self::StalledLookups => lists::stalled_lookups(),
            Self::IgnoredPaging => lists::ignored_paging(),
            Self::ShiftingPages => lists::shifting_pages(),
            Self::NegativeCapacity => capacity::negative(),
            Self::UnreadableCapacity => capacity::unreadable(),
            Self::MissingInstanceType => lists::missing_instance_type(),
            Self::EmptyCatalogue => lists::empty_catalogue(),
            Self::EmptyMonth => months::empty(clock),
            Self::IncompleteMonth => months::incomplete(clock),
            Self::LateChange => months::late_change(clock),
            Self::LateTotals => months::late_totals(clock),
            Self::DuplicateRows => months::duplicate_rows(clock),
            Self::ConflictingRows => months::conflicting_rows(clock),
            Self::WrongPeriod => months::wrong_period(clock),
            Self::PreviousMonthFails => months::fails(),
            Self::NoDate => transport::no_date(),
            Self::WrongDate => transport::wrong_date(),
            Self::CachedResponses => transport::cached(),
            Self::RateLimit => transport::rate_limit(clock),
            Self::ServerErrors => transport::server_errors(clock),
            Self::Forbidden => transport::forbidden(clock),
            Self::Stalled => transport::stalled(clock),
            Self::Slow => transport::slow(),
            Self::DroppedConnections => transport::dropped(),
            Self::TruncatedResponses => transport::truncated(),
        }
    }
}

/// Changes the rows of lists, or the one object, of several operations; errors stay unchanged.
fn edit_rows_of(
    operations: &[Operation],
    change: impl Fn(&mut Value) + Clone + Send + Sync + 'static,
) -> Vec<Fault> {
    let edit = |operation: &Operation| {
        let change = change.clone();
        Fault::edit_rows(move |row| {
            if row.get("errorCode").is_none() {
                change(row);
            }
        })
        .on(*operation)
    };
    operations.iter().map(edit).collect()
}

/// Returns whether an object belongs to a fixed quarter of all objects, chosen by its id.
fn is_chosen(row: &Value) -> bool {
    let id = row.get("id").or_else(|| row.get("vm_id")).and_then(Value::as_str).unwrap_or_default();
    id.ends_with(['0', '1', '2', '3'])
}

/// Seconds from `start` to `end`.
fn seconds_between(start: Timestamp, end: Timestamp) -> i64 {
    end.as_second() - start.as_second()
}
