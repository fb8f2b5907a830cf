//! Closed months, verified once a day: their files must be those that the ledger recorded.

use jiff::{SignedDuration, Timestamp};

use crate::close::Closer;
use crate::poll::describe;
use crate::self_metrics::SelfMetrics;

/// Time between two verifications.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// Time until the next verification while a file is wrong, so that the alert stays.
const RETRY: SignedDuration = SignedDuration::from_hours(1);

/// The verifications of one tenant.
#[derive(Debug, Default)]
pub struct Verification {
    /// Time of the latest, and the pause after it; `None` before the first.
    last: Option<(Timestamp, SignedDuration)>,
    /// Whether the clock was trusted at the latest, so that months were imported.
    has_imported: bool,
    /// What the latest found wrong.
    pub problems: Vec<String>,
}

impl Verification {
    /// Verifies the closed months if a verification is due, and as soon as the clock is trusted. Returns whether
    /// a verification took place, because it may have imported months.
    pub async fn run_if_due(
        &mut self,
        closer: &Closer,
        now: Timestamp,
        is_trusted: bool,
        self_metrics: &SelfMetrics,
    ) -> bool {
        let imports = is_trusted && !self.has_imported;
        if !imports && self.last.is_some_and(|(at, pause)| now.duration_since(at).abs() < pause) {
            return false;
        }
        let tenant = closer.tenant();
        let pause = match closer.audit().await {
            Ok(wrong) => {
                for (month, error) in &wrong {
                    let reason = error.reason();
                    tracing::error!(tenant, %month, reason = reason.as_str(), error = describe(error), "a closed month differs from the ledger record");
                    self_metrics.verification_failed(tenant, reason);
                }
                self.problems =
                    wrong.iter().map(|(month, error)| format!("{month}: {}", describe(error))).collect();
                if wrong.is_empty() { DAILY } else { RETRY }
            }
            Err(error) => {
                let reason = error.reason();
                tracing::error!(
                    tenant,
                    reason = reason.as_str(),
                    error = describe(&error),
                    "closed months cannot be verified"
                );
                self_metrics.verification_failed(tenant, reason);
                RETRY
            }
        };
        self.last = Some((now, pause));
        self.has_imported = is_trusted;
        true
    }
}
