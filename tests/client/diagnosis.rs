//! Errors that a wrong configuration causes name the setting that the operator should check.

use std::net::SocketAddr;

use flexvm_exporter::api::{Client, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::common::{LONG, Seen, client_with, tenant_at};
use crate::pki::{SelfSigned, authority, server};
use crate::server::{Server, status};
use crate::tls::Https;

const NOT_THE_API: &str = "this does not look like the FlexVM API; check base_url";

/// Requests clouds from `url` and returns the error with its causes. `ca_file` is the content of the file.
async fn error(url: &str, ca_file: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let tenant = tenant_at(url, |tenant| {
        (tenant.api.timeout, tenant.api.connect_timeout, tenant.api.retries) = (LONG, LONG, 0);
        tenant.api.ca_file = ca_file.map(|pem| {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, pem).unwrap();
            path
        });
    });
    let client = Client::new(&tenant, std::sync::Arc::<Seen>::default()).unwrap();
    let error = client.run(LONG).clouds().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Transport, "{error}");
    format!("{:#}", anyhow::Error::from(error))
}

/// A server that reads the beginning of a request, sends `bytes` and closes the connection.
async fn responding(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1 << 14]).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn untrusted_certificate_is_named_with_the_ca_file() {
    let (own, other) = (server(&["localhost"]), authority(&["localhost"]));
    let https = async |presented: &SelfSigned| {
        let https = Https::start(presented.tls("h2")).await;
        (format!("https://localhost:{}", https.address.port()), https)
    };
    for presented in [&own, &authority(&["localhost"])] {
        let (url, _https) = https(presented).await;
        for ca_file in [None, Some(&*other.certificate)] {
            let error = error(&url, ca_file).await;
            assert!(error.contains("api.ca_file"), "{error}");
        }
        let error = error(&url, None).await;
        assert!(error.contains("self-signed or from an authority that is not trusted"), "{error}");
    }
}

#[tokio::test]
async fn wrong_protocol_of_a_port_is_named() {
    for (bytes, hint) in [
        (&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], "does not speak TLS on this port"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak TLS on this port"),
        (b"", "closed the connection during the TLS handshake"),
    ] {
        let error = error(&format!("https://{}", responding(bytes).await), None).await;
        assert!(error.contains(hint) && error.contains("base_url"), "{error}");
    }
    let https = Https::start(server(&["localhost"]).tls("http/1.1")).await;
    for address in [https.address, responding(b"SSH-2.0-OpenSSH_9.2\r\n").await] {
        let error = error(&format!("http://{address}"), None).await;
        assert!(error.contains("does not speak HTTP on this port"), "{error}");
    }
}

#[tokio::test]
async fn response_of_another_server_names_base_url() {
    let html = "<!doctype html><title>Welcome</title>";
    for (code, headers, body, reason, hint) in [
        (200, "", html, Reason::Malformed, Some(NOT_THE_API)),
        (200, "", "{\"status\": \"ok\"}", Reason::Malformed, Some(NOT_THE_API)),
        (200, "", "\"ok\"", Reason::Malformed, Some(NOT_THE_API)),
        (404, "", html, Reason::NotFound, Some(NOT_THE_API)),
        (404, "", "", Reason::NotFound, Some(NOT_THE_API)),
        (404, "", "{\"detail\": \"Not Found\"}", Reason::NotFound, Some(NOT_THE_API)),
        (405, "", "", Reason::Client, Some(NOT_THE_API)),
        (403, "", html, Reason::Credentials, Some(NOT_THE_API)),
        (302, "Location: /login\r\n", "", Reason::Redirect, Some("check base_url")),
        // The API itself.
        (404, "", "{\"errorCode\": 1, \"errorMessage\": \"Entity not found\"}", Reason::NotFound, None),
        (403, "", "", Reason::Credentials, None),
        (502, "", html, Reason::Server, None),
        (200, "", "[{\"id\": \"c-1\"", Reason::Malformed, None),
    ] {
        let server = Server::start(move |_, _| status(code, headers, body)).await;
        let (client, _) = client_with(&server, |tenant| tenant.api.retries = 0);
        let error = client.run(LONG).clouds().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{code} {body}");
        let text = error.to_string();
        match hint {
            Some(hint) => assert!(text.contains(hint), "{text}"),
            None => assert!(!text.contains("base_url"), "{text}"),
        }
    }
}

#[tokio::test]
async fn expiry_of_the_servers_certificate_is_observed() {
    let (first, second) = (authority(&["localhost"]), server(&["localhost"]));
    let https = Https::start(first.tls("http/1.1")).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, format!("{}{}", first.certificate, second.certificate)).unwrap();
    let seen = std::sync::Arc::<Seen>::default();
    let tenant = tenant_at(&format!("https://localhost:{}", https.address.port()), |tenant| {
        tenant.api.ca_file = Some(ca_file);
        (tenant.api.timeout, tenant.api.connect_timeout) = (LONG, LONG);
    });
    let client = Client::new(&tenant, seen.clone()).unwrap();
    client.run(LONG).clouds().await.unwrap();
    // The default of rcgen.
    assert_eq!(seen.expiry().as_deref(), Some("4096-01-01T00:00:00Z"));
    let server = Server::start(|_, _| status(200, "", "[]")).await;
    let (client, seen) = client_with(&server, |_| {});
    client.run(LONG).clouds().await.unwrap();
    assert_eq!(seen.expiry(), None, "http:// has no certificate");
}
