//! The rows of the provider's report by VM: which row of a VM is used, and which parts of it count.

use jiff::Timestamp;

use crate::period::{Month, rfc3339, whole};
use crate::snapshot::{MonthlyReport, ReportVm, Text};
use crate::text::one_line;

/// The fields of a VM's row that count. All other fields (name, status, image, site) drift: they can differ
/// between two responses, or between two rows of one response, without a different meaning.
///
/// Times are cut to whole seconds, because some versions of the API send fractions and some cut
/// them; `vm_seconds` is the same for both. A release after the month's end does not count, because
/// a VM that lived on is released one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// When the VM was created.
    pub created_at: Timestamp,
    /// When the VM was released before the month's end; `None` if it lived on.
    pub released_at: Option<Timestamp>,
    /// The provider's hours.
    pub vm_hours: u64,
    /// The instance type.
    pub instance_type: &'a str,
    /// The cloud's id.
    pub cloud_id: &'a str,
    /// The tags, sorted.
    pub tags: &'a [Text],
}

/// Maximum number of characters of an id or a type in a message.
const MAX_WORD: usize = 64;

/// Maximum number of characters of a list of tags in a message.
const MAX_TAGS: usize = 200;

impl<'a> Counted<'a> {
    /// Returns the fields of `vm` that count in a month that ends at `end`.
    #[must_use]
    pub fn of(vm: &'a ReportVm, end: Timestamp) -> Self {
        Self {
            created_at: whole(vm.created_at),
            released_at: vm.released_at.map(whole).filter(|at| *at < end),
            vm_hours: vm.vm_hours,
            instance_type: &vm.instance_type,
            cloud_id: &vm.cloud_id,
            tags: &vm.tags,
        }
    }

    /// Describes the row on one line of bounded length. Tags that `other` lacks come first.
    fn describe(&self, other: &Self) -> String {
        let (own, common): (Vec<&Text>, Vec<&Text>) =
            self.tags.iter().partition(|tag| other.tags.binary_search(tag).is_err());
        let tags: Vec<&str> = own.into_iter().chain(common).map(|tag| &**tag).collect();
        format!(
            "created {}, {}, {} h, type {}, cloud {}, tags [{}]",
            rfc3339(self.created_at),
            self.released_at.map_or("not released".to_owned(), |at| format!("released {}", rfc3339(at))),
            self.vm_hours,
            one_line(self.instance_type, MAX_WORD),
            one_line(self.cloud_id, MAX_WORD),
            one_line(&tags.join(", "), MAX_TAGS)
        )
    }
}

/// Two rows of one VM that differ in a field that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the report has two different rows for the VM {vm_id}: {}; and: {}; ask the provider for a corrected report, save it, and close with `report --month {month} --from-file FILE --reason TEXT`",
    rows[0], rows[1]
)]
pub struct Conflict {
    vm_id: String,
    month: Month,
    /// On one line each, in the order of the response.
    rows: [String; 2],
}

/// Returns the first two rows of one VM that differ in a field that counts.
pub(super) fn conflict(report: &MonthlyReport) -> Option<Conflict> {
    let (rows, end) = (sorted(report), report.period.end);
    let mut repeats = rows.windows(2).filter(|pair| pair[0].id == pair[1].id);
    let (id, one, other) = repeats.find_map(|pair| {
        let (one, other) = (Counted::of(pair[0], end), Counted::of(pair[1], end));
        (one != other).then_some((&pair[0].id, one, other))
    })?;
    Some(Conflict {
        vm_id: one_line(id, MAX_WORD),
        month: Month::of(report.period.start),
        rows: [one.describe(&other), other.describe(&one)],
    })
}

/// Returns the report's VMs by id, each with the row that is used: its last one in the response.
#[must_use]
pub fn by_id(report: &MonthlyReport) -> Vec<&ReportVm> {
    with_repeats(report).into_iter().map(|(vm, _)| vm).collect()
}

/// Returns the report's VMs by id, as [`by_id`] does, each with whether it has several rows.
pub(super) fn with_repeats(report: &MonthlyReport) -> Vec<(&ReportVm, bool)> {
    let mut rows: Vec<_> = sorted(report).into_iter().map(|vm| (vm, false)).collect();
    rows.dedup_by(|next, kept| {
        let same = next.0.id == kept.0.id;
        if same {
            *kept = (next.0, true);
        }
        same
    });
    rows
}

/// All rows by VM id; those of one VM in the order of the response.
fn sorted(report: &MonthlyReport) -> Vec<&ReportVm> {
    let mut rows: Vec<_> = report.vms.iter().collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}
