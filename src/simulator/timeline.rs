//! States with the instants at which they begin: what makes the world a function of the clock.
//!
//! A transition is written down when it is decided, with the second at which it will take effect;
//! nothing has to run at that second for it to be seen.

/// Seconds since 1970-01-01 UTC.
pub(super) type Second = i64;

/// States in the order of time, never empty.
#[derive(Clone, Debug)]
pub(super) struct Timeline<S>(Vec<(Second, S)>);

impl<S: Copy> Timeline<S> {
    pub fn new(first: (Second, S), later: impl IntoIterator<Item = (Second, S)>) -> Self {
        Self(std::iter::once(first).chain(later).collect())
    }

    /// The state at `now`; before the first instant, the first state.
    pub fn at(&self, now: Second) -> S {
        self.entry(now).1
    }

    /// When the state at `now` began.
    pub fn since(&self, now: Second) -> Second {
        self.entry(now).0
    }

    fn entry(&self, now: Second) -> &(Second, S) {
        self.0.iter().rev().find(|(since, _)| *since <= now).unwrap_or(&self.0[0])
    }

    /// From `now` on, `states` come instead of whatever was still to come.
    pub fn replace_after(&mut self, now: Second, states: impl IntoIterator<Item = (Second, S)>) {
        let kept = self.0.iter().take_while(|(since, _)| *since <= now).count().max(1);
        self.0.truncate(kept);
        self.0.extend(states);
        self.0.shrink_to_fit();
    }
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum $name { $($variant),+ }

        impl $name {
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

states!(
    /// The states of a VM, in the order of a life.
    VmStatus {
        Provisioning = "provisioning",
        Created = "created",
        Starting = "starting",
        Running = "running",
        Stopping = "stopping",
        Stopped = "stopped",
        Paused = "paused",
        Failed = "failed",
        Deleting = "deleting",
        Deleted = "deleted",
    }
);

states!(
    /// The states of a node.
    NodeStatus {
        Created = "created",
        Requested = "requested",
        Bootstrapping = "bootstrapping",
        Running = "running",
        Failed = "failed",
        Deleting = "deleting",
        Deleted = "deleted",
    }
);

impl VmStatus {
    const ALL: [Self; 10] = [
        Self::Provisioning,
        Self::Created,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Paused,
        Self::Failed,
        Self::Deleting,
        Self::Deleted,
    ];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}
