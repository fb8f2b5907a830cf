//! The nastiness that an API can have, on demand: for tests, and to see what the exporter does.

use std::collections::BTreeMap;
use std::time::Duration;

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status with this body, said to be of this type.
    Status(u16, &'static str, String),
    /// This status with a `Retry-After` of so much.
    RetryAfter(u16, String),
    /// A redirect to there.
    Redirect(String),
    /// The real answer, after a while.
    Delay(Duration),
    /// The first half of the real answer, then the connection is cut.
    Cut,
    /// The first half of the real answer, then nothing more.
    Stall,
    /// The real answer's first object instead of the list, or a list around the object.
    OtherShape,
    /// A field that nobody documented in the answer's object, or in the first row.
    UnknownField(String),
    /// All rows, whatever was asked for.
    IgnoreRange,
    /// The last row of each page again as the first of the next.
    RepeatRows,
}

/// When a fault strikes.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The operation, such as `getFlexVMCloudVms`; `None` is every one.
    pub operation: Option<&'static str>,
    /// How many matching requests are answered well before.
    pub skip: u64,
    /// How many are struck then.
    pub times: u64,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    /// Strikes every request of `operation`.
    #[must_use]
    pub fn always(operation: &'static str, fault: Fault) -> Self {
        Self { operation: Some(operation), skip: 0, times: u64::MAX, fault }
    }

    /// Strikes every request at all.
    #[must_use]
    pub fn everywhere(fault: Fault) -> Self {
        Self { operation: None, skip: 0, times: u64::MAX, fault }
    }
}

/// The rules in force and the requests counted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub rules: Vec<Rule>,
    pub requests: BTreeMap<&'static str, u64>,
}

impl Faults {
    /// Counts a request and tells what is to go wrong with it.
    pub fn strike(&mut self, operation: &'static str) -> Option<Fault> {
        *self.requests.entry(operation).or_default() += 1;
        let rule = self.rules.iter_mut().find(|rule| {
            rule.operation.is_none_or(|name| name == operation) && (rule.skip > 0 || rule.times > 0)
        })?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}
