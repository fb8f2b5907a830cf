//! What can go wrong with a request, as a closed set.

use std::fmt;

use super::Endpoint;
use crate::text::one_line;

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
    /// The body is larger than `api.max_body`, or a list or a run exceeds its bounds of rows and bytes.
    TooLarge,
    /// The body is not what the API promises.
    Malformed,
    /// The pages of a list do not make a whole.
    Paging,
    /// The run's deadline passed.
    Deadline,
    /// The report is for another period.
    Period,
    /// The report contradicts itself, or responses of a run contradict each other.
    Inconsistent,
    /// The report lacks VMs that polls observed in use.
    Incomplete,
    /// A file or folder could not be written.
    Storage,
    /// Other bytes are already published.
    Exists,
}

impl Reason {
    /// Reasons why requests fail. Collector runs can fail for the same reasons.
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

    /// Reasons why only collector runs fail, never single requests.
    pub const RUN: [Self; 1] = [Self::Inconsistent];

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
            Self::Incomplete => "incomplete",
            Self::Storage => "storage",
            Self::Exists => "exists",
        }
    }
}

/// The underlying error, where there is one.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failed request, or a list whose pages make no whole.
///
/// Displayed, it says endpoint, reason, HTTP status and what is known beyond them: the API's own
/// message, or what is wrong with the body. It never quotes a body and never holds the token.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {}{}{}", .reason.as_str(), Status(*.status), Detail(.message.as_deref(), *.hint))]
pub struct Error {
    /// What was asked for.
    pub endpoint: Endpoint,
    /// Why it failed.
    pub reason: Reason,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// One line, at most [`MAX_MESSAGE`] characters ([`MAX_REPORT_MESSAGE`] about a monthly report),
    /// without control characters.
    pub message: Option<String>,
    /// What the operator should check.
    pub hint: Option<&'static str>,
    /// What lies below.
    #[source]
    pub source: Option<Source>,
}

/// Longest message kept of an answer, in characters: enough for a sentence and its details.
pub const MAX_MESSAGE: usize = 500;

/// Maximum length of our own message about a monthly report, in characters: it can contain two rows.
pub const MAX_REPORT_MESSAGE: usize = 1500;

impl Error {
    pub(super) fn new(endpoint: Endpoint, reason: Reason) -> Self {
        Self { endpoint, reason, status: None, message: None, hint: None, source: None }
    }

    pub(super) fn status(self, status: Option<u16>) -> Self {
        Self { status, ..self }
    }

    pub(super) fn message(self, message: &str) -> Self {
        let message = one_line(message, MAX_MESSAGE);
        Self { message: (!message.is_empty()).then_some(message), ..self }
    }

    pub(super) fn hint(self, hint: Option<&'static str>) -> Self {
        Self { hint, ..self }
    }

    pub(super) fn caused_by(self, source: impl Into<Source>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// A monthly report that can be read, but not used. Keeps [`MAX_REPORT_MESSAGE`] characters.
    #[must_use]
    pub fn malformed_report(message: &str) -> Self {
        let message = Some(one_line(message, MAX_REPORT_MESSAGE));
        Self { message, ..Self::new(Endpoint::Monthly, Reason::Malformed) }
    }

    /// Returns the error for a cloud whose contents cannot be read, although the API returns the cloud
    /// by its id and only the list of clouds lacks it. `self` becomes the source of the new error.
    #[must_use]
    pub fn contradicts_list(self) -> Self {
        Self::new(self.endpoint, Reason::Inconsistent)
            .status(self.status)
            .message(
                "the list of clouds lacks a cloud that the API returns by its id, and the lists of this cloud cannot be read",
            )
            .caused_by(self)
    }

    /// Why it failed: the value of the label `reason`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// ` (HTTP 403)`, or nothing.
struct Status(Option<u16>);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |status| write!(f, " (HTTP {status})"))
    }
}

/// `: message; hint`, or only the part that exists.
struct Detail<'a>(Option<&'a str>, Option<&'static str>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(message), Some(hint)) => write!(f, ": {message}; {hint}"),
            (Some(text), None) | (None, Some(text)) => write!(f, ": {text}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_endpoint_reason_status_and_message() {
        let error =
            Error::new(Endpoint::Vms, Reason::Server).status(Some(502)).message("a\r\n\u{1b}[31mb\u{202e}c");
        assert_eq!(error.to_string(), "vms: server (HTTP 502): a [31mbc");
        assert_eq!(Error::new(Endpoint::Monthly, Reason::Timeout).to_string(), "monthly: timeout");
        let long = Error::new(Endpoint::Vm, Reason::Client).message(&"é".repeat(10_000));
        assert_eq!(long.message.unwrap().chars().count(), MAX_MESSAGE + 1);
    }
}
