//! Expiry of the exporter's certificate, as a series.

use std::fs;
use std::path::Path;

use flexvm_exporter::api::unverified_client;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::place::{PATIENCE, Place, config, until};

/// Writes a certificate that expires in January of `year`.
fn write_certificate(place: &Place, year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let write = |name: &str, pem: String| {
        let new: &Path = &place.write("new", &pem);
        fs::rename(new, place.path(name)).unwrap();
    };
    // Certificate and key in one file, so that no reading sees only one of them.
    write("server.pem", params.self_signed(&key).unwrap().pem() + &key.serialize_pem());
}

#[test]
fn expiry_of_the_certificate_follows_the_file() {
    let place = Place::new();
    place.write("token", "simulator\n");
    write_certificate(&place, 2031);
    place.write("web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.pem}\n");
    let text = config("http://127.0.0.1:1", "");
    let (_daemon, address) = place.serve_with("tls", &text, &["--web.config.file", "web.yml"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shows = |seconds: u64| {
        let line =
            format!("flexvm_exporter_certificate_expiry_timestamp_seconds{{use=\"server\"}} {seconds}\n");
        until(&line, || {
            runtime.block_on(async {
                // A new client, because an open connection keeps its certificate.
                let client = unverified_client(PATIENCE).unwrap();
                let response = client.get(format!("https://{address}/metrics")).send().await.ok()?;
                response.text().await.ok()?.contains(&line).then_some(())
            })
        });
    };
    shows(1_924_992_000);
    write_certificate(&place, 2032);
    shows(1_956_528_000);
}
