//! Absence times of objects that the API did not confirm as deleted.

use std::collections::HashMap;
use std::time::Duration;

use crate::snapshot::Text;

/// Time after which an absent object counts as deleted. A day is longer than a typical outage of one
/// part of the API. Without this limit, an operator would have to remove such objects.
pub const CONFIRMED_AFTER: Duration = Duration::from_hours(24);

/// An object that its list lacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Absent {
    /// A cloud by id. The cloud has no nodes and VMs, or all requests about it fail with 404.
    Cloud(Text),
    /// A node by the id of its cloud and its own id. The request by id fails with 404.
    Node(Text, Text),
    /// A VM by id. The request by id fails with 404.
    Vm(Text),
}

/// Absent objects, and the monotonic time at which a poll first found each of them absent.
#[derive(Debug, Default)]
pub struct Absences(HashMap<Absent, Duration>);

impl Absences {
    /// Records that `object` is absent at the monotonic time `now`. Returns whether it has been absent
    /// for [`CONFIRMED_AFTER`].
    pub fn is_confirmed(&mut self, object: Absent, now: Duration) -> bool {
        let since = *self.0.entry(object).or_insert(now);
        now.saturating_sub(since) >= CONFIRMED_AFTER
    }

    /// Removes an object that is present.
    pub fn forget(&mut self, object: &Absent) {
        self.0.remove(object);
    }

    /// Removes the objects for which `is_absent` is false.
    pub fn retain(&mut self, is_absent: impl Fn(&Absent) -> bool) {
        self.0.retain(|object, _| is_absent(object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_confirmed_after_a_day_without_a_break() {
        let (mut absences, hour) = (Absences::default(), Duration::from_hours(1));
        let (vm, cloud) = (Absent::Vm("a".into()), Absent::Cloud("a".into()));
        assert!(!absences.is_confirmed(vm.clone(), hour));
        assert!(!absences.is_confirmed(vm.clone(), 24 * hour));
        assert!(!absences.is_confirmed(cloud.clone(), 25 * hour), "another kind of object");
        assert!(absences.is_confirmed(vm.clone(), 25 * hour));
        // The cloud was found in between, so its absence starts again.
        absences.retain(|object| *object == cloud);
        assert!(!absences.is_confirmed(vm, 26 * hour));
        assert!(absences.is_confirmed(cloud, 49 * hour));
    }
}
