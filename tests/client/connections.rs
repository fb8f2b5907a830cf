//! Tests for the reuse of connections and for the servers that the client accepts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::api::{Client, Reason};

use crate::common::{LONG, Seen, tenant_at};
use crate::pki::{SelfSigned, authority, expired_authority, server};
use crate::tls::{Https, Relay};

/// Returns a client for `url` that trusts the certificates in `ca_file`.
fn client(url: &str, ca_file: &Path, timeout: Duration, retries: u32) -> (Client, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let tenant = tenant_at(url, |tenant| {
        tenant.api.ca_file = Some(ca_file.to_owned());
        (tenant.api.timeout, tenant.api.retries) = (timeout, retries);
        tenant.api.connect_timeout = LONG;
    });
    (Client::new(&tenant, seen.clone()).unwrap(), seen)
}

#[tokio::test]
async fn timed_out_request_is_retried_on_a_new_connection() {
    for protocol in ["h2", "http/1.1"] {
        let folder = tempfile::tempdir().unwrap();
        let (ca_file, certificate) = (folder.path().join("ca.pem"), server(&["localhost"]));
        std::fs::write(&ca_file, &certificate.certificate).unwrap();
        let https = Https::start(certificate.tls(protocol)).await;
        let relay = Relay::start(https.address).await;
        let url = format!("https://localhost:{}", relay.address.port());
        // The request times out before the HTTP/2 PING can fail.
        let (client, seen) = client(&url, &ca_file, Duration::from_secs(1), 1);
        for _ in 0..2 {
            client.run(LONG).clouds().await.unwrap();
        }
        assert_eq!(relay.connections(), 1, "{protocol}: the connection is kept");
        relay.lose_connections();
        client.run(LONG).clouds().await.unwrap();
        client.run(LONG).clouds().await.unwrap();
        assert_eq!(relay.connections(), 2, "{protocol}: one connection replaces the dead one");
        assert!(matches!(&*seen.codes(), [_, _, failed, _, _] if failed == "timeout"), "{:?}", seen.codes());
    }
}

#[tokio::test]
async fn ping_closes_a_dead_http2_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, certificate) = (folder.path().join("ca.pem"), server(&["localhost"]));
    std::fs::write(&ca_file, &certificate.certificate).unwrap();
    let https = Https::start(certificate.tls("h2")).await;
    let relay = Relay::start(https.address).await;
    let url = format!("https://localhost:{}", relay.address.port());
    let (client, seen) = client(&url, &ca_file, Duration::from_secs(2), 0);
    client.run(LONG).clouds().await.unwrap();
    relay.lose_connections();
    // The connection is closed before the pool closes idle connections.
    tokio::time::timeout(LONG, relay.all_closed()).await.unwrap();
    client.run(LONG).clouds().await.unwrap();
    assert_eq!((relay.connections(), seen.codes()), (2, vec!["200".to_owned(); 2]));
}

#[tokio::test]
async fn replaced_ca_file_is_used_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let (old, new) = (server(&["localhost"]), server(&["localhost"]));
    std::fs::write(&ca_file, &old.certificate).unwrap();
    let https = Https::start(old.tls("http/1.1")).await;
    let relay = Relay::start(https.address).await;
    let url = format!("https://localhost:{}", relay.address.port());
    let (client, _) = client(&url, &ca_file, LONG, 0);
    let clouds = async || client.run(LONG).clouds().await;
    clouds().await.unwrap();
    // Only half of the new file is written: the old certificates stay in use.
    std::fs::write(&ca_file, &new.certificate[..new.certificate.len() / 2]).unwrap();
    clouds().await.unwrap();
    std::fs::write(&ca_file, &new.certificate).unwrap();
    // The idle connection was verified with the old file, so it is not reused.
    let error = clouds().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Transport);
    https.present(new.tls("http/1.1"));
    clouds().await.unwrap();
    std::fs::remove_file(&ca_file).unwrap();
    clouds().await.unwrap();
}

/// Sends a request to a server that presents `presented`, by a client that trusts `trusted`.
async fn connect(presented: &SelfSigned, trusted: &str, host: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, trusted).unwrap();
    let https = Https::start(presented.tls("h2")).await;
    let (client, _) = client(&format!("https://{host}:{}", https.address.port()), &ca_file, LONG, 0);
    let result = client.run(LONG).clouds().await;
    result.map(|_| ()).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

#[tokio::test]
async fn self_signed_authority_in_ca_file_is_accepted() {
    let (local, other) = (authority(&["localhost"]), authority(&["localhost"]));
    let both = format!("{}{}", other.certificate, local.certificate);
    for trusted in [&local.certificate, &both] {
        assert_eq!(connect(&local, trusted, "localhost").await, Ok(()));
    }
    let address = authority(&["127.0.0.1"]);
    assert_eq!(connect(&address, &address.certificate, "127.0.0.1").await, Ok(()));
}

#[tokio::test]
async fn other_self_signed_certificates_are_refused() {
    let (local, other) = (authority(&["localhost"]), authority(&["localhost"]));
    let elsewhere = authority(&["elsewhere.example"]);
    let expired = expired_authority(&["localhost"]);
    for (presented, trusted, host, why) in [
        (&local, &other, "localhost", "(CA:TRUE) that is not in api.ca_file"),
        (&local, &local, "127.0.0.1", "not valid for name \"127.0.0.1\""),
        (&elsewhere, &elsewhere, "localhost", "not valid for name \"localhost\""),
        (&expired, &expired, "localhost", "expired"),
    ] {
        let error = connect(presented, &trusted.certificate, host).await.unwrap_err();
        assert!(error.starts_with("clouds: transport") && error.contains(why), "{why}: {error}");
    }
}
