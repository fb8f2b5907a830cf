//! The provider's report as lines, one a VM, with exact seconds.

use jiff::Timestamp;

use super::rows::{Conflict, conflict, with_repeats};
use super::{Use, UseSeconds};
use crate::period::{Period, rfc3339, seconds_between, whole};
use crate::snapshot::{MonthlyReport, ReportVm};
use crate::text::has_replacement;

/// What our own polls saw of a VM.
pub trait Witness: Sync {
    /// Seconds of `life` by the use they were observed in; `None` if no poll ever saw the VM. What
    /// is left of `life` counts as unobserved.
    fn observed(&self, vm_id: &str, life: Period) -> Option<UseSeconds>;
}

/// Nobody watched: everything is unobserved.
#[derive(Clone, Copy, Debug)]
pub struct NoWitness;

impl Witness for NoWitness {
    fn observed(&self, _: &str, _: Period) -> Option<UseSeconds> {
        None
    }
}

/// Why a report cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It is for another period than the one asked for.
    #[error("the report is for {} to {}, asked was for {} to {}", rfc3339(answered.start), rfc3339(answered.end), rfc3339(asked.start), rfc3339(asked.end))]
    Period {
        /// What was asked for.
        asked: Period,
        /// What the report says.
        answered: Period,
    },
    /// Two rows of one VM differ in what counts.
    #[error(transparent)]
    Conflicting(Box<Conflict>),
    /// It names no VM, but its clouds have hours: the list is missing, not empty.
    #[error("the report names no VM, but its clouds have {0} VM hours")]
    NoVms(u64),
}

/// Refuses a report for another period, without its VMs, or one that contradicts itself. Anything else that is odd
/// is reported, never adjusted.
pub fn check(report: &MonthlyReport, asked: Period) -> Result<(), CheckError> {
    if report.period != asked {
        return Err(CheckError::Period { asked, answered: report.period });
    }
    let hours = report.clouds.iter().fold(0, |sum: u64, cloud| sum.saturating_add(cloud.usage.vm_hours));
    if report.vms.is_empty() && hours > 0 {
        return Err(CheckError::NoVms(hours));
    }
    conflict(report).map_or(Ok(()), |conflict| Err(CheckError::Conflicting(Box::new(conflict))))
}

/// Something worth knowing about a line; in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// The response has several rows for it that agree on what counts. The last row is used.
    DuplicateRows,
    /// Neither its exact life nor its life in whole seconds, rounded up to hours, is the provider's
    /// figure.
    HoursDiffer,
    /// No poll of ours ever saw the VM.
    NeverObserved,
    /// There is a price list, but no price for its type.
    NoPrice,
    /// It did not exist within the period.
    OutsidePeriod,
    /// It was released before it was created; counted as released at once.
    ReleasedBeforeCreated,
    /// The polls observed its end at another time than the provider reports.
    ReleasesDiffer,
    /// A text of its row is not valid Unicode and was read with U+FFFD.
    ReplacedText,
    /// Its type is not in the catalogue.
    UnknownType,
    /// It existed for no whole second of the period.
    ZeroLength,
}

impl Flag {
    /// Every flag, sorted by its word.
    pub const ALL: [Self; 10] = [
        Self::DuplicateRows,
        Self::HoursDiffer,
        Self::NeverObserved,
        Self::NoPrice,
        Self::OutsidePeriod,
        Self::ReleasedBeforeCreated,
        Self::ReleasesDiffer,
        Self::ReplacedText,
        Self::UnknownType,
        Self::ZeroLength,
    ];

    /// The word in the column `flags`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateRows => "duplicate_rows",
            Self::HoursDiffer => "hours_differ",
            Self::NeverObserved => "never_observed",
            Self::NoPrice => "no_price",
            Self::OutsidePeriod => "outside_period",
            Self::ReleasedBeforeCreated => "released_before_created",
            Self::ReleasesDiffer => "releases_differ",
            Self::ReplacedText => "replaced_text",
            Self::UnknownType => "unknown_type",
            Self::ZeroLength => "zero_length",
        }
    }
}

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// Adds `flag` if `holds`.
    pub fn set(&mut self, flag: Flag, holds: bool) {
        self.0 |= u16::from(holds) << flag as u8;
    }

    /// The flags that hold, sorted by their words.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.0 & (1 << *flag as u8) != 0)
    }
}

/// A VM's use in the period.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, each summed on its own")]
pub struct Line<'a> {
    /// The provider's row.
    pub vm: &'a ReportVm,
    /// The VM's life clamped to the period, and to the time of the fetch while it lives.
    pub life: Period,
    /// The seconds of `life`, by use.
    pub seconds: UseSeconds,
    /// The VM's life clamped like `life`, at the precision of the API's times, in nanoseconds.
    pub exact_nanoseconds: u64,
    /// Whether it was alive when the period began.
    pub at_start: bool,
    /// Whether it was created within the period.
    pub created: bool,
    /// Whether it was released within the period.
    pub released: bool,
    /// Whether it was alive when the period ended (or when the report was fetched).
    pub at_end: bool,
    /// All but [`Flag::NoPrice`] and [`Flag::UnknownType`], which depend on price list and catalogue.
    pub flags: Flags,
}

/// Returns one line per VM, by id. Of several rows of one VM, the last row is used.
///
/// `vm_seconds = max(0, min(released, end) − max(created, start))`, where a VM that lives is counted
/// up to `fetched_at`, and `at_start + created − released = at_end` for every line.
pub fn lines<'a>(
    report: &'a MonthlyReport,
    fetched_at: Timestamp,
    witness: &dyn Witness,
) -> impl Iterator<Item = Line<'a>> {
    let rows = with_repeats(report).into_iter();
    rows.map(move |(vm, repeated)| {
        let mut line = line(vm, report.period, fetched_at, witness);
        line.flags.set(Flag::DuplicateRows, repeated);
        line
    })
}

/// A VM's life clamped to the period, and to the time of the fetch while it lives.
#[must_use]
pub fn life(vm: &ReportVm, period: Period, fetched_at: Timestamp) -> Period {
    let created = whole(vm.created_at);
    let until = vm.released_at.map_or_else(|| whole(fetched_at), |at| whole(at).max(created));
    let start = created.clamp(period.start, period.end);
    Period { start, end: until.clamp(start, period.end) }
}

/// Returns the length of a VM's life like [`life`], but at the precision of the API's times, in
/// nanoseconds.
fn exact_life(vm: &ReportVm, period: Period, fetched_at: Timestamp) -> u64 {
    let until = vm.released_at.unwrap_or(fetched_at).min(period.end);
    let from = vm.created_at.max(period.start);
    // Negative if the VM did not exist within the period.
    u64::try_from(until.as_nanosecond() - from.as_nanosecond()).unwrap_or(0)
}

/// Nanoseconds in an hour.
pub const HOUR_NANOSECONDS: u64 = 3_600_000_000_000;

impl Line<'_> {
    /// Returns the hours that the provider can have made of the VM's life, rounded up: of its whole
    /// seconds, and of its exact time.
    ///
    /// Both are accepted. Some versions of the API send times with fractions of a second, some cut
    /// the fractions, and the API does not document from which of both it computes hours. The two
    /// lives differ by less than one second at each end.
    #[must_use]
    pub fn explained_hours(&self) -> [u64; 2] {
        [self.seconds.total().div_ceil(3600), self.exact_nanoseconds.div_ceil(HOUR_NANOSECONDS)]
    }

    /// Returns the distance between the provider's hours and the nearest value of
    /// [`Line::explained_hours`].
    #[must_use]
    pub fn unexplained_hours(&self) -> u64 {
        let away = self.explained_hours().map(|hours| hours.abs_diff(self.vm.vm_hours));
        away[0].min(away[1])
    }
}

/// Returns whether a text of the row contains U+FFFD.
fn has_replaced_text(vm: &ReportVm) -> bool {
    let texts = [&*vm.name, vm.status.as_str(), &vm.instance_type, &vm.image, &vm.site];
    texts.into_iter().chain(vm.tags.iter().map(|tag| &**tag)).any(has_replacement)
}

fn line<'a>(vm: &'a ReportVm, period: Period, fetched_at: Timestamp, witness: &dyn Witness) -> Line<'a> {
    // Everything is cut to whole seconds first, so that lives and months add up exactly.
    let created = whole(vm.created_at);
    let released = vm.released_at.map(|at| whole(at).max(created));
    let life = life(vm, period, fetched_at);
    let (exact, observed) = (seconds_between(life.start, life.end), witness.observed(&vm.id, life));
    let mut made = Line {
        vm,
        life,
        seconds: partition(exact, observed.unwrap_or_default()),
        exact_nanoseconds: exact_life(vm, period, fetched_at),
        at_start: created < period.start && released.is_none_or(|at| at >= period.start),
        created: period.contains(created),
        released: released.is_some_and(|at| period.contains(at)),
        at_end: created < period.end && released.is_none_or(|at| at >= period.end),
        flags: Flags::default(),
    };
    let outside = created >= period.end || released.is_some_and(|at| at < period.start);
    made.flags.set(Flag::OutsidePeriod, outside);
    made.flags.set(Flag::ZeroLength, exact == 0 && !outside);
    made.flags.set(Flag::ReleasedBeforeCreated, vm.released_at.is_some_and(|at| whole(at) < created));
    made.flags.set(Flag::NeverObserved, observed.is_none());
    made.flags.set(Flag::HoursDiffer, made.unexplained_hours() > 0);
    made.flags.set(Flag::ReplacedText, has_replaced_text(vm));
    made
}

/// `exact` seconds split as observed; whatever a witness says, the parts sum to `exact`.
fn partition(exact: u64, observed: UseSeconds) -> UseSeconds {
    let mut left = exact;
    let mut parts = UseSeconds::default();
    for part in [Use::Running, Use::Stopped, Use::Failed, Use::Other] {
        let seconds = observed.get(part).min(left);
        parts.add(part, seconds);
        left -= seconds;
    }
    parts.add(Use::Unobserved, left);
    parts
}
