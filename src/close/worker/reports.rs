//! A tenant's reports, read from their folder for `/metrics` and the status page.

use std::collections::BTreeMap;

use crate::close::Closer;
use crate::period::Month;
use crate::poll::describe;
use crate::report::{Listing, Published};
use crate::self_metrics::{Difference, SelfMetrics};
use crate::store::Store;

/// What was read last.
#[derive(Debug, Default)]
pub struct ShownReports {
    /// The reports that there were; `None` before the first look.
    names: Option<Vec<(Month, String)>>,
    /// What could not be read.
    problems: Vec<String>,
    /// What was found to be other than recorded.
    wrong: Vec<String>,
}

impl ShownReports {
    /// Looks whether there are other reports than before, maybe by another process, and shows them.
    /// `wrong` is what the newest audit found.
    pub async fn refresh(
        &mut self,
        closer: &Closer,
        wrong: &[String],
        store: &Store,
        self_metrics: &SelfMetrics,
    ) {
        let names = closer.names().await;
        // Manifests never change; one that could not be read may be mended.
        if self.problems.is_empty()
            && self.wrong == wrong
            && names.as_ref().is_ok_and(|names| self.names.as_ref() == Some(names))
        {
            return;
        }
        let found = match names {
            Ok(names) => {
                // What comes in between is seen the next time.
                self.names = Some(names);
                closer.listing().await
            }
            Err(error) => Err(error),
        };
        let (mut listing, newest) = found.unwrap_or_else(|error| {
            (Listing { problems: vec![describe(&error)], ..Listing::default() }, None)
        });
        if listing.problems != self.problems {
            for error in &listing.problems {
                tracing::warn!(tenant = closer.tenant(), error, "closed months cannot be read");
            }
            self.problems.clone_from(&listing.problems);
        }
        wrong.clone_into(&mut self.wrong);
        // What cannot even be read is said already.
        let said = |problem: &&String| {
            let month = problem.split(':').next().unwrap_or_default();
            listing.problems.iter().any(|said| said.starts_with(month))
        };
        let new: Vec<String> = wrong.iter().filter(|problem| !said(problem)).cloned().collect();
        listing.problems.extend(new);
        if let Some(newest) = &newest {
            self_metrics.reconciled(closer.tenant(), &difference(newest));
        }
        store.reports(closer.tenant(), listing);
    }
}

/// What the gauges show of the newest closed month's reconciliation.
fn difference(published: &Published) -> Difference {
    let differences = published.reconciliation;
    let scopes = differences.seconds;
    let mut vms: BTreeMap<_, _> =
        [("created", differences.vms_created), ("released", differences.vms_released)].into();
    if let Some(disagreements) = published.disagreements {
        for (kind, count) in [
            ("only_observed", disagreements.only_observed),
            ("only_observed_other", disagreements.only_observed_other),
            ("creations_differ", disagreements.creations_differ),
            ("never_observed", disagreements.never_observed),
            ("releases_differ", disagreements.releases_differ),
        ] {
            vms.insert(kind, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    Difference {
        month: published.month.to_string(),
        vms,
        seconds: [("total", scopes.total), ("clouds", scopes.clouds), ("tags", scopes.tags)].into(),
    }
}
