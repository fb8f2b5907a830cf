//! Closed months, read once a day: their files must be the ones that the ledger recorded.

use jiff::{SignedDuration, Timestamp};

use super::log_failure;
use crate::close::Closer;
use crate::poll::describe;
use crate::self_metrics::SelfMetrics;

/// How often every file is read.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// How soon they are read again while something is wrong, so that the alert stays.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// The audits of one tenant.
#[derive(Debug, Default)]
pub struct Audit {
    /// When the newest was, and the pause after it; `None` before the first.
    last: Option<(Timestamp, SignedDuration)>,
    /// What the newest found wrong.
    pub wrong: Vec<String>,
}

impl Audit {
    /// Audits if it is time, and tells what is wrong.
    pub async fn look(&mut self, closer: &Closer, now: Timestamp, self_metrics: &SelfMetrics) {
        if self.last.is_some_and(|(at, pause)| now.duration_since(at).abs() < pause) {
            return;
        }
        let tenant = closer.tenant();
        let pause = match closer.audit().await {
            Ok(wrong) => {
                for (month, error) in &wrong {
                    let reason = error.reason();
                    tracing::error!(tenant, %month, reason = reason.as_str(), error = describe(error), "a closed month is not what was recorded");
                    self_metrics.report_failed(tenant, reason);
                }
                self.wrong =
                    wrong.iter().map(|(month, error)| format!("{month}: {}", describe(error))).collect();
                if wrong.is_empty() { DAILY } else { AGAIN }
            }
            Err(error) => {
                log_failure(closer, None, &error, self_metrics);
                AGAIN
            }
        };
        self.last = Some((now, pause));
    }
}
