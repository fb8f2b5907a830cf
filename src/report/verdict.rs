//! The verdict on a month, as a word and as a sentence. Pure.

use serde::Serialize;

use super::{Compared, Differences, Disagreements, Published};

/// How the figures of a month compare with the provider's totals and with our own polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The response lacks VMs that polls observed in use, and was accepted nevertheless.
    Incomplete,
    /// No rounding explains a total or a count, no rounding explains the hours of VMs that do not sum
    /// to the total, or polls contradict the times of a VM.
    Differs,
    /// The provider gave no total over clouds.
    NoTotal,
    /// The hours of the VMs do not sum to the provider's total, but a rounding explains each total exactly.
    Rounding,
    /// The hours of the VMs sum to the provider's total.
    Agrees,
}

impl Verdict {
    /// Every verdict; the first that applies is that of the month.
    pub const ALL: [Self; 5] = [Self::Incomplete, Self::Differs, Self::NoTotal, Self::Rounding, Self::Agrees];

    /// The word in the column and the label `verdict`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Differs => "differs",
            Self::NoTotal => "no_total",
            Self::Rounding => "rounding",
            Self::Agrees => "agrees",
        }
    }

    /// The verdict on a month from its total, its differences and what polls contradict.
    #[must_use]
    pub fn of(total: &Compared, differences: Differences, polls: Option<Disagreements>) -> Self {
        let polls = polls.unwrap_or_default();
        let Differences { vms_created, vms_released, unexplained_seconds: left, .. } = differences;
        let unexplained = [vms_created, vms_released, left.total, left.clouds, left.tags] != [0; 5];
        match total.provider {
            _ if polls.only_observed > 0 => Self::Incomplete,
            _ if unexplained || polls.releases_differ > 0 || polls.creations_differ > 0 => Self::Differs,
            None => Self::NoTotal,
            Some(total) if total.difference_hours == 0 => Self::Agrees,
            // The total is explained, but the hours of the VMs are not.
            Some(_) if differences.unexplained_vm_hours > 0 => Self::Differs,
            Some(_) => Self::Rounding,
        }
    }
}

impl Published {
    /// How its figures compare with the provider's totals and with our own polls.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::of(&self.total, self.reconciliation, self.disagreements)
    }

    /// The verdict as a sentence.
    #[must_use]
    pub fn verdict_in_words(&self) -> String {
        let Differences {
            vms_created, vms_released, unexplained_seconds: left, unexplained_vm_hours, ..
        } = self.reconciliation;
        let polls = self.disagreements.unwrap_or_default();
        match self.verdict() {
            Verdict::Incomplete => {
                let accepted = self.accepted_incomplete.as_deref();
                let accepted = accepted.map(|reason| format!(" Accepted: {reason}.")).unwrap_or_default();
                format!(
                    "Incomplete: the response lacks {} VMs that polls observed.{accepted}",
                    polls.only_observed
                )
            }
            Verdict::NoTotal => "The provider gave no total.".to_owned(),
            Verdict::Agrees => "Agrees with the provider's totals.".to_owned(),
            Verdict::Rounding => {
                let hours = self.total.provider.map_or(0, |total| total.difference_hours);
                let than = if hours > 0 { "more" } else { "less" };
                let hours = hours.unsigned_abs();
                format!("Explained by rounding: the hours of the VMs sum to {hours} h {than} than the total.")
            }
            Verdict::Differs => {
                let parts = [
                    left_over("in total", left.total),
                    left_over("in a cloud", left.clouds),
                    left_over("in a tag", left.tags),
                    hours_of_vms(unexplained_vm_hours),
                    vms("created", vms_created),
                    vms("released", vms_released),
                    contradicted("released", polls.releases_differ),
                    contradicted("created", polls.creations_differ),
                ];
                format!("Differs: {}.", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What our own polls observed in the month, as a sentence.
    #[must_use]
    pub fn observations_in_words(&self) -> String {
        let Some(polls) = self.disagreements else {
            return "No poll observed this month.".to_owned();
        };
        let parts: Vec<_> = [
            (polls.only_observed, "observed in use but not listed by the provider"),
            (polls.only_observed_other, "observed only outside use and not listed by the provider"),
            (polls.never_observed, "listed by the provider but never observed"),
            (polls.releases_differ, "released at another time"),
            (polls.creations_differ, "created at another time"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if parts.is_empty() {
            return "Polls observed the same VMs.".to_owned();
        }
        format!("VMs by polls: {}.", parts.join(", "))
    }
}

/// `3 h in a cloud`; nothing for nothing. Part of an hour counts as one.
fn left_over(what: &str, seconds: i64) -> Option<String> {
    (seconds != 0)
        .then(|| format!("{} h {what} without an explanation", seconds.unsigned_abs().div_ceil(3600)))
}

fn hours_of_vms(hours: u64) -> Option<String> {
    (hours != 0).then(|| format!("{hours} h of VMs without an explanation"))
}

fn vms(what: &str, count: i64) -> Option<String> {
    (count != 0).then(|| format!("{count:+} VMs {what}"))
}

fn contradicted(what: &str, count: u64) -> Option<String> {
    (count != 0).then(|| format!("{count} VMs {what} at a time that polls contradict"))
}

#[cfg(test)]
mod tests {
    use super::super::{MonthTotals, Ours, Provider, Rounding, Scopes, Status};
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
            accepted_incomplete: Some("the VMs were moved".to_owned()),
            prices: None,
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
    fn verdict_and_its_sentence() {
        let none = Differences::default();
        let left = Scopes { total: 0, clouds: -3601, tags: 7200 };
        let some = Differences { vms_created: -1, unexplained_seconds: left, ..none };
        let of_vms = Differences { unexplained_vm_hours: 156, ..none };
        let polls = Disagreements::default();
        let released = Disagreements { releases_differ: 2, ..polls };
        let missing = Disagreements { only_observed: 5, releases_differ: 2, ..polls };
        let unlisted = Disagreements { only_observed_other: 1, never_observed: 1, ..polls };
        for (hours, differences, polls, verdict, words) in [
            (None, none, polls, Verdict::NoTotal, "The provider gave no total."),
            (Some(0), none, unlisted, Verdict::Agrees, "Agrees with the provider's totals."),
            (
                Some(5),
                none,
                polls,
                Verdict::Rounding,
                "Explained by rounding: the hours of the VMs sum to 5 h more than the total.",
            ),
            (
                Some(-5),
                none,
                polls,
                Verdict::Rounding,
                "Explained by rounding: the hours of the VMs sum to 5 h less than the total.",
            ),
            (Some(156), of_vms, polls, Verdict::Differs, "Differs: 156 h of VMs without an explanation."),
            (Some(0), of_vms, polls, Verdict::Agrees, "Agrees with the provider's totals."),
            (
                Some(0),
                some,
                polls,
                Verdict::Differs,
                "Differs: 2 h in a cloud without an explanation, 2 h in a tag without an explanation, -1 VMs created.",
            ),
            (
                None,
                none,
                released,
                Verdict::Differs,
                "Differs: 2 VMs released at a time that polls contradict.",
            ),
            (
                Some(0),
                some,
                missing,
                Verdict::Incomplete,
                "Incomplete: the response lacks 5 VMs that polls observed. Accepted: the VMs were moved.",
            ),
        ] {
            let published = Published { disagreements: Some(polls), ..published(hours, differences) };
            assert_eq!((published.verdict(), published.verdict_in_words().as_str()), (verdict, words));
        }
    }

    #[test]
    fn observations_are_one_sentence() {
        let mut published = published(None, Differences::default());
        assert_eq!(published.observations_in_words(), "No poll observed this month.");
        published.disagreements = Some(Disagreements::default());
        assert_eq!(published.observations_in_words(), "Polls observed the same VMs.");
        published.disagreements = Some(Disagreements { never_observed: 3, ..Disagreements::default() });
        assert_eq!(
            published.observations_in_words(),
            "VMs by polls: 3 listed by the provider but never observed."
        );
    }
}
