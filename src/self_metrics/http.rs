//! Requests and connections of the exporter's own HTTP server.

use prometheus::{IntCounterVec, IntGauge};

use super::Maker;

/// Group of pages: the value of the label `handler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// The metrics.
    Metrics,
    /// The status page.
    Status,
    /// The list of reports and their files.
    Reports,
    /// Service discovery.
    Sd,
    /// `/-/healthy` and `/-/ready`.
    Health,
    /// `/-/reload`.
    Reload,
    /// Every other address.
    Other,
}

impl Handler {
    /// Every handler that has pages.
    pub const PAGES: [Self; 6] =
        [Self::Metrics, Self::Status, Self::Reports, Self::Sd, Self::Health, Self::Reload];

    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Status => "status",
            Self::Reports => "reports",
            Self::Sd => "sd",
            Self::Health => "health",
            Self::Reload => "reload",
            Self::Other => "other",
        }
    }
}

/// Reason why the server closed a connection: the value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// All connection slots were in use.
    Limit,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The first request did not arrive in time, or the head of a request was too large or not HTTP.
    Head,
    /// The client did not read its response in time.
    Stalled,
    /// The process had no file descriptor for a new connection.
    Descriptors,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Limit, Self::Handshake, Self::Head, Self::Stalled, Self::Descriptors];

    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Stalled => "stalled",
            Self::Descriptors => "descriptors",
        }
    }
}

/// Series of the HTTP server.
#[derive(Debug)]
pub struct Http {
    requests: IntCounterVec,
    connections: IntGauge,
    rejected: IntCounterVec,
}

impl Http {
    pub fn new(made: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let this = Self {
            requests: made.counters(
                "http_requests_total",
                "Requests to the exporter's own HTTP server, by handler and HTTP status. Requests with a wrong password or without a password have the code 401.",
                &["handler", "code"],
            )?,
            connections: made.int_gauge(
                "http_connections",
                "Open connections of the exporter's own HTTP server, over all listen addresses. The limit is 512.",
            )?,
            rejected: made.counters(
                "http_connections_rejected_total",
                "Connections that the exporter's own HTTP server closed, by reason. limit: all 512 connections were in use. handshake: the TLS handshake failed or took too long. head: the first request did not arrive in time, or the head of a request was too large or not HTTP. stalled: the client did not read its response in time. descriptors: no file descriptor was left.",
                &["reason"],
            )?,
        };
        // Counters start at 0, so that their first increase is visible.
        for handler in Handler::PAGES {
            this.requests.with_label_values(&[handler.as_str(), "200"]);
        }
        for reason in Rejection::ALL {
            this.rejected.with_label_values(&[reason.as_str()]);
        }
        Ok(this)
    }

    pub fn request(&self, handler: Handler, code: u16) {
        self.requests.with_label_values(&[handler.as_str(), &code.to_string()]).inc();
    }

    pub fn rejected(&self, reason: Rejection) {
        self.rejected.with_label_values(&[reason.as_str()]).inc();
    }

    pub fn opened(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
}

/// An open connection. The gauge decreases when this value is dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
