//! Expiry of the exporter's own certificates and of the certificates of the APIs.

use jiff::Timestamp;
use prometheus::IntGaugeVec;

use super::Maker;

/// Use of a certificate of the exporter's own HTTP server: the value of the label `use`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUse {
    /// The certificate that the server presents, with its chain.
    Server,
    /// The authorities by which certificates of clients are verified.
    ClientCa,
}

impl CertificateUse {
    /// Every use.
    pub const ALL: [Self; 2] = [Self::Server, Self::ClientCa];

    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ClientCa => "client_ca",
        }
    }
}

/// Series about certificates.
#[derive(Debug)]
pub struct Certificates {
    own: IntGaugeVec,
    api: IntGaugeVec,
}

impl Certificates {
    pub fn new(made: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            own: made.int_gauges(
                "certificate_expiry_timestamp_seconds",
                "Earliest expiry of the certificates in --web.config.file, as Unix time in seconds. server: the certificate and its chain. client_ca: the authorities that verify client certificates. Absent without TLS.",
                &["use"],
            )?,
            api: made.int_gauges(
                "api_certificate_expiry_timestamp_seconds",
                "Expiry of the certificate that the API presented on the connection of the latest request, as Unix time in seconds. Absent without TLS and before the first connection.",
                &["tenant"],
            )?,
        })
    }

    /// Replaces the expiries of the exporter's own certificates.
    pub fn own(&self, expiries: &[(CertificateUse, Timestamp)]) {
        for of in CertificateUse::ALL {
            match expiries.iter().find(|(it, _)| *it == of) {
                Some((_, at)) => self.own.with_label_values(&[of.as_str()]).set(at.as_second()),
                // The series may not exist.
                None => drop(self.own.remove_label_values(&[of.as_str()])),
            }
        }
    }

    pub fn api(&self, tenant: &str, at: Timestamp) {
        self.api.with_label_values(&[tenant]).set(at.as_second());
    }

    pub fn remove_tenant(&self, tenant: &str) {
        // The series may not exist.
        let _ = self.api.remove_label_values(&[tenant]);
    }
}
