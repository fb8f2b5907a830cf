//! Proxies and roots of trust. The environment belongs to a process, so these tests run
//! themselves again in a process of their own.

use std::process::Command;
use std::sync::Arc;

use flexvm_exporter::api::{Client, NoObserver};

use crate::common::{LONG, client_with, everything, run, tenant};
use crate::server::Server;

/// Runs the ignored test `name` of this file with `variables` set.
fn again(name: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("network::{name}"), "--exact", "--ignored"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = Server::start(|request, _| everything(request)).await;
    let url = format!("http://{}", proxy.address);
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let variables = names.map(|name| (name, url.as_str()));
    tokio::task::spawn_blocking({
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        move || {
            let borrowed: Vec<_> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            again("with_the_environment_at_hand", &borrowed);
        }
    })
    .await
    .unwrap();
    assert_eq!(proxy.count(), 0);
}

#[tokio::test]
#[ignore = "run by the other tests of this file, with an environment of its own"]
async fn with_the_environment_at_hand() {
    let server = Server::start(|request, _| everything(request)).await;
    run(&server).0.clouds().await.unwrap();
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_configured_proxy_gets_the_requests() {
    let server = Server::start(|request, _| everything(request)).await;
    let proxy = Server::start(|request, _| {
        let path = request.target.find("/v3/").map(|at| request.target[at..].to_owned());
        everything(&crate::server::Request { target: path.unwrap_or_default(), ..request.clone() })
    })
    .await;
    let url = format!("http://{}", proxy.address);
    let (client, _) = client_with(&server, |tenant| tenant.api.proxy = Some(url.parse().unwrap()));
    client.run(LONG).clouds().await.unwrap();
    assert_eq!((server.count(), proxy.count()), (0, 1));
    assert_eq!(proxy.requests()[0].target, format!("http://{}/v3/flexVM/clouds", server.address));
}

#[test]
fn a_machine_without_certificates_has_the_bundled_ones() {
    again("a_client_for_https", &[("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/dev/null")]);
}

#[tokio::test]
#[ignore = "run by the other tests of this file, with an environment of its own"]
async fn a_client_for_https() {
    let server = Server::start(|request, _| everything(request)).await;
    let tenant = tenant(&server, |tenant| tenant.base_url = "https://127.0.0.1:9".parse().unwrap());
    Client::new(&tenant, Arc::new(NoObserver)).unwrap();
}
