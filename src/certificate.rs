//! Expiry of certificates. Pure.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Returns the time after which a certificate in DER is not valid; `None` if it cannot be read.
#[must_use]
pub fn expiry(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // The latest time of RFC 5280, which means that there is no expiry, is later than the latest `Timestamp`.
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_second(seconds.min(Timestamp::MAX.as_second())).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_the_end_of_the_validity() {
        let der = |year| {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 3, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            parameters.self_signed(&key).unwrap().der().to_vec()
        };
        // Years from 2050 on have another form.
        for year in [2026, 2049, 2050, 4096] {
            let expected = format!("{year}-03-01T00:00:00Z");
            assert_eq!(expiry(&der(year)).unwrap().to_string(), expected);
        }
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let endless = parameters.self_signed(&key).unwrap();
        assert_eq!(expiry(endless.der()).unwrap().as_second(), Timestamp::MAX.as_second());
        let whole = der(2030);
        assert_eq!(expiry(&whole[..whole.len() / 2]), None);
        assert_eq!(expiry(b""), None);
    }
}
