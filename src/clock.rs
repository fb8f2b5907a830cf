//! The one place that reads the clocks. `main` makes a [`Clock`] and passes it on.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The wall clock and the monotonic clock; a test makes one that it moves itself.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    monotonic: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        Self::new(Timestamp::now)
    }

    /// A clock whose wall time is `read`, and whose monotonic time is the machine's.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let start = Instant::now();
        Self { wall: Arc::new(read), monotonic: Arc::new(move || start.elapsed()) }
    }

    /// Replaces the monotonic clock by `read`, which returns the time since a fixed moment.
    #[must_use]
    pub fn with_monotonic(self, read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { monotonic: Arc::new(read), ..self }
    }

    /// The wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// The monotonic time since this clock was made. No step of the wall clock changes it.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        (self.monotonic)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
