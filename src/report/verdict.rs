//! A report's reconciliation in words. Pure.

use serde::Serialize;

use super::{Differences, Disagreements, Published};

/// How our sums stand to the provider's totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The hours of its VMs sum to its total.
    Agrees,
    /// They do not, but a way of rounding explains each of its totals exactly.
    Rounding,
    /// Something is left over.
    Unexplained,
    /// It gave no total.
    NoTotal,
}

impl Verdict {
    /// Returns the word in the column `verdict`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Rounding => "rounding",
            Self::Unexplained => "differs",
            Self::NoTotal => "no_total",
        }
    }
}

impl Published {
    /// How our sums stand to the provider's totals.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let Differences { vms_created, vms_released, unexplained_seconds: left, .. } = self.reconciliation;
        match self.total.provider {
            None => Verdict::NoTotal,
            Some(_) if [vms_created, vms_released, left.total, left.clouds, left.tags] != [0; 5] => {
                Verdict::Unexplained
            }
            Some(total) if total.difference_hours == 0 => Verdict::Agrees,
            Some(_) => Verdict::Rounding,
        }
    }

    /// The same as a sentence.
    #[must_use]
    pub fn verdict_in_words(&self) -> String {
        let Differences { vms_created, vms_released, unexplained_seconds: left, .. } = self.reconciliation;
        match self.verdict() {
            Verdict::NoTotal => "The provider gave no total.".to_owned(),
            Verdict::Agrees => "Agrees with the provider's totals.".to_owned(),
            Verdict::Rounding => {
                let hours = self.total.provider.map_or(0, |total| total.difference_hours);
                let than = if hours > 0 { "more" } else { "less" };
                let hours = hours.unsigned_abs();
                format!("Explained by rounding: its VMs' hours sum to {hours} h {than} than its total.")
            }
            Verdict::Unexplained => {
                let parts = [
                    left_over("in total", left.total),
                    left_over("in a cloud", left.clouds),
                    left_over("in a tag", left.tags),
                    vms("created", vms_created),
                    vms("released", vms_released),
                ];
                format!("Unexplained by {}.", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What our own polls say about the month, as a sentence.
    #[must_use]
    pub fn witness_in_words(&self) -> String {
        let Some(Disagreements { only_observed, never_observed, releases_differ }) = self.disagreements
        else {
            return "No poll of ours saw this month.".to_owned();
        };
        let parts: Vec<_> = [
            (only_observed, "seen by us alone"),
            (never_observed, "never seen by us"),
            (releases_differ, "released at another time"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if parts.is_empty() {
            return "Our polls saw the same VMs.".to_owned();
        }
        format!("By our polls, VMs: {}.", parts.join(", "))
    }
}

/// `3 h in a cloud`; nothing for nothing. Part of an hour counts as one.
fn left_over(what: &str, seconds: i64) -> Option<String> {
    (seconds != 0).then(|| format!("{} h {what}", seconds.unsigned_abs().div_ceil(3600)))
}

fn vms(what: &str, count: i64) -> Option<String> {
    (count != 0).then(|| format!("{count:+} VMs {what}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Compared, MonthTotals, Ours, Provider, Rounding, Scopes, Status};
    use super::*;

    fn published(difference_hours: Option<i64>, reconciliation: Differences) -> Published {
        let provider = difference_hours.map(|difference_hours| Provider {
            vms_created: 0,
            vms_released: 0,
            vm_hours: 0,
            rounding: Rounding::CeilOfSum,
            difference_vms_created: 0,
            difference_vms_released: 0,
            difference_hours,
            difference_seconds: 0,
            unexplained_seconds: 0,
        });
        Published {
            month: "2026-10".parse().unwrap(),
            revision: 1,
            status: Status::Final,
            fetched_at: jiff::Timestamp::UNIX_EPOCH,
            reason: None,
            dir: "r01".into(),
            files: Vec::new(),
            totals: MonthTotals::default(),
            total: Compared { ours: Ours::default(), provider },
            reconciliation,
            disagreements: None,
            warnings: Vec::new(),
            excel_bom: false,
            digest: String::new(),
            entries: Vec::new(),
        }
    }

    #[test]
    fn a_reconciliation_is_said_in_words() {
        let none = Differences::default();
        let left = Scopes { total: 0, clouds: -3601, tags: 7200 };
        let some = Differences { vms_created: -1, unexplained_seconds: left, ..none };
        for (hours, differences, verdict, words) in [
            (None, none, Verdict::NoTotal, "The provider gave no total."),
            (Some(0), none, Verdict::Agrees, "Agrees with the provider's totals."),
            (
                Some(5),
                none,
                Verdict::Rounding,
                "Explained by rounding: its VMs' hours sum to 5 h more than its total.",
            ),
            (
                Some(-5),
                none,
                Verdict::Rounding,
                "Explained by rounding: its VMs' hours sum to 5 h less than its total.",
            ),
            (
                Some(0),
                some,
                Verdict::Unexplained,
                "Unexplained by 2 h in a cloud, 2 h in a tag, -1 VMs created.",
            ),
        ] {
            let published = published(hours, differences);
            assert_eq!((published.verdict(), published.verdict_in_words().as_str()), (verdict, words));
        }
    }

    #[test]
    fn what_our_polls_saw_is_said_in_words() {
        let mut published = published(None, Differences::default());
        assert_eq!(published.witness_in_words(), "No poll of ours saw this month.");
        published.disagreements = Some(Disagreements::default());
        assert_eq!(published.witness_in_words(), "Our polls saw the same VMs.");
        published.disagreements = Some(Disagreements { never_observed: 3, ..Disagreements::default() });
        assert_eq!(published.witness_in_words(), "By our polls, VMs: 3 never seen by us.");
    }
}
