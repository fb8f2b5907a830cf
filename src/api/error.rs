//! What can go wrong with a request, as a closed set.

/// Why something failed: the value of every label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// 401 or 403, or no token to send.
    Credentials,
    /// 404.
    NotFound,
    /// 429.
    RateLimited,
    /// 5xx.
    Server,
    /// Any other 4xx.
    Client,
    /// 3xx: redirects are not followed.
    Redirect,
    /// A connect, read or total timeout of a request.
    Timeout,
    /// Connecting, sending or reading failed.
    Transport,
    /// The body is larger than `api.max_body`.
    TooLarge,
    /// The body is not what the API promises.
    Malformed,
    /// The pages of a list do not make a whole.
    Paging,
    /// The run's deadline passed.
    Deadline,
    /// The report is for another period.
    Period,
    /// The report contradicts itself.
    Inconsistent,
    /// A file or folder could not be written.
    Storage,
    /// Other bytes are already published.
    Exists,
}

impl Reason {
    /// The reasons of requests and collector runs.
    pub const API: [Self; 12] = [
        Self::Credentials,
        Self::NotFound,
        Self::RateLimited,
        Self::Server,
        Self::Client,
        Self::Redirect,
        Self::Timeout,
        Self::Transport,
        Self::TooLarge,
        Self::Malformed,
        Self::Paging,
        Self::Deadline,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Client => "client",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Paging => "paging",
            Self::Deadline => "deadline",
            Self::Period => "period",
            Self::Inconsistent => "inconsistent",
            Self::Storage => "storage",
            Self::Exists => "exists",
        }
    }
}

/// A failed request. To be completed by the client.
#[derive(Debug, thiserror::Error)]
#[error("{reason:?}")]
pub struct Error {
    /// Why.
    pub reason: Reason,
}
