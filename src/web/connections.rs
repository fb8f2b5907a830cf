//! Counts of the server's connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why the server ended a connection that it did not want to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A newer connection needed its slot.
    Limit,
    /// Its TLS handshake failed, took too long or was displaced by newer ones.
    Handshake,
    /// The head of its first request was invalid, too large or too slow.
    Head,
    /// It took none of the bytes that waited for it.
    Stalled,
    /// The process had no file descriptor left for a newer connection.
    Descriptors,
}

impl Rejection {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Limit, Self::Handshake, Self::Head, Self::Stalled, Self::Descriptors];

    /// The value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Stalled => "stalled",
            Self::Descriptors => "descriptors",
        }
    }
}

/// Numbers of open and of rejected connections, over all listeners.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: AtomicU64,
    rejected: [AtomicU64; Rejection::ALL.len()],
}

impl ConnectionCounts {
    /// Number of connections that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Number of connections that were rejected for `reason` since the start.
    #[must_use]
    pub fn rejected(&self, reason: Rejection) -> u64 {
        self.rejected[reason as usize].load(Ordering::Relaxed)
    }

    /// Counts a connection that opened.
    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that ended.
    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a rejected connection.
    pub(super) fn reject(&self, reason: Rejection) {
        self.rejected[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}
