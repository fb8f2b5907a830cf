//! Real Prometheus, over TLS, with a password and with a certificate.

use std::fmt::Write as _;
use std::fs;

use flexvm_exporter::web::Limits;
use serde_json::Value;

use crate::pki::Authority;
use crate::program::{Program, tool};
use crate::rig::{plain, serve, until};

#[tokio::test(flavor = "multi_thread")]
async fn it_scrapes_with_a_password_and_with_a_certificate() {
    let Some(prometheus) = tool("prometheus") else { return };
    let authority = Authority::new();
    let (password, certificate) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    let hash = bcrypt::hash("a password", 4).unwrap();
    let rules = [
        (&password, format!("{server}basic_auth_users: {{prometheus: {hash}}}\n")),
        (
            &certificate,
            format!("{server}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"),
        ),
    ];
    let mut serving = Vec::new();
    for (folder, rules) in rules {
        authority.issue().write(folder.path(), "server");
        authority.issue().write(folder.path(), "client");
        fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
        fs::write(folder.path().join("web.yml"), rules).unwrap();
        serving.push(serve(folder.path(), Limits::default()).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut config = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
    let files = certificate.path().display();
    for (job, server, with) in [
        ("password", 0, "\n    basic_auth: {username: prometheus, password: a password}".to_owned()),
        ("no-password", 0, String::new()),
        ("certificate", 1, format!(", cert_file: {files}/client.crt, key_file: {files}/client.key")),
        ("no-certificate", 1, String::new()),
    ] {
        let (tls, more) = if with.starts_with(',') { (with, String::new()) } else { (String::new(), with) };
        let address = &serving[server].address;
        write!(
            config,
            "  - job_name: {job}\n    scheme: https\n    tls_config: {{ca_file: {files}/ca.crt{tls}}}{more}\n    \
             static_configs: [{{targets: ['{address}']}}]\n"
        )
        .unwrap();
    }
    let prometheus = Program::prometheus(&prometheus, folder.path(), &config);
    let http = plain();
    let targets = async || {
        let url = format!("http://{}/api/v1/targets", prometheus.address);
        let Ok(answer) = http.get(url).send().await else { return Vec::new() };
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut targets: Vec<_> = targets
            .iter()
            .map(|each| (text(&each["labels"]["job"]), text(&each["health"]), text(&each["lastError"])))
            .collect();
        targets.sort();
        targets
    };
    until("every target scraped", async || {
        let targets = targets().await;
        targets.len() == 4 && targets.iter().all(|(_, health, _)| health != "unknown")
    })
    .await;
    let targets = targets().await;
    let health: Vec<_> = targets.iter().map(|(job, health, _)| (&**job, &**health)).collect();
    assert_eq!(
        health,
        [("certificate", "up"), ("no-certificate", "down"), ("no-password", "down"), ("password", "up")],
        "{targets:?}"
    );
    assert!(targets[2].2.contains("401"), "{targets:?}");
}
