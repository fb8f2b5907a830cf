//! Certificates, of the server and of clients.

use std::fs;
use std::sync::Arc;

use flexvm_exporter::web::{Access, Limits};
use reqwest::Version;

use crate::pki::Authority;
use crate::program::{exporter, run};
use crate::rig::{client, plain, serve, until};

const SERVER: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[tokio::test(flavor = "multi_thread")]
async fn served_by_http_1_and_2_and_never_in_the_clear() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.issue().write(folder.path(), "server");
    for (http2, offered, spoken) in [
        ("", vec!["h2", "http/1.1"], Version::HTTP_2),
        ("", vec!["http/1.1"], Version::HTTP_11),
        ("http_server_config: {http2: false}\n", vec!["h2", "http/1.1"], Version::HTTP_11),
    ] {
        fs::write(folder.path().join("web.yml"), format!("{SERVER}{http2}")).unwrap();
        let serving = serve(folder.path(), Limits::default()).await;
        let https = client(&authority.pem, None, &offered);
        let answer = https.get(format!("https://{}/metrics", serving.address)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, spoken));
        assert!(answer.text().await.unwrap().contains("flexvm_exporter_build_info"));
        for path in ["/", "/metrics", "/-/healthy", "/-/reload", "/nothing"] {
            let url = format!("https://{}{path}", serving.address);
            let head = https.head(&url).header("accept-encoding", "identity").send().await.unwrap();
            let length: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
            assert_eq!(head.status(), https.get(&url).send().await.unwrap().status(), "{path}");
            assert!(length > 0 && head.bytes().await.unwrap().is_empty(), "{path}");
        }
        let clear = plain().get(format!("http://{}/metrics", serving.address)).send().await;
        assert!(clear.is_err(), "{clear:?}");
        // Somebody else's certificate is not trusted, so it is really ours that was shown.
        let stranger = client(&Authority::new().pem, None, &offered);
        assert!(stranger.get(format!("https://{}/metrics", serving.address)).send().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_the_certificate_that_is_asked_for() {
    let (folder, authority, stranger) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    authority.issue().write(folder.path(), "server");
    fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
    let (own, others) = (authority.issue(), stranger.issue());
    for (kind, with, without) in
        [("RequireAndVerifyClientCert", true, false), ("VerifyClientCertIfGiven", true, true)]
    {
        let rules = format!("{SERVER}  client_auth_type: {kind}\n  client_ca_file: ca.crt\n");
        fs::write(folder.path().join("web.yml"), rules).unwrap();
        let serving = serve(folder.path(), Limits::default()).await;
        let comes_in = async |own| {
            let https = client(&authority.pem, own, &["http/1.1"]);
            let answer = https.get(format!("https://{}/metrics", serving.address)).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        assert_eq!((comes_in(Some(&own)).await, comes_in(None).await), (with, without), "{kind}");
        assert!(!comes_in(Some(&others)).await, "{kind}: another authority's");
        assert_eq!(serving.access.rules().authenticated(), kind == "RequireAndVerifyClientCert");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_and_old_connections_go_on() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.issue().write(folder.path(), "server");
    fs::write(folder.path().join("web.yml"), SERVER).unwrap();
    let serving = serve(folder.path(), Limits::default()).await;
    tokio::spawn(Arc::clone(&serving.access).watch(|_| ()));
    let url = format!("https://{}/metrics", serving.address);
    let shown = async |https: &reqwest::Client| {
        let answer = https.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        let certificate = info.peer_certificate().unwrap().to_vec();
        answer.bytes().await.unwrap();
        certificate
    };
    let old = client(&authority.pem, None, &["http/1.1"]);
    let first = shown(&old).await;
    // A key that does not go with the certificate, as in the middle of a rotation: nothing changes.
    let next = authority.issue();
    fs::write(folder.path().join("server.key"), &next.key).unwrap();
    assert!(serving.access.read_again().is_err());
    next.write(folder.path(), "server");
    until("the new certificate", async || shown(&client(&authority.pem, None, &["http/1.1"])).await != first)
        .await;
    assert_eq!(shown(&old).await, first, "its connection is the one from before");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_neither_address_nor_authority() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.issue().write(folder.path(), "server");
    fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
    let client_asked =
        format!("{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    for (rules, code) in [(SERVER, 0), (&client_asked, 1)] {
        fs::write(folder.path().join("web.yml"), rules).unwrap();
        let serving = serve(folder.path(), Limits::default()).await;
        let url = format!("https://{}", serving.address);
        for arguments in [vec!["health", "--web.listen-address", &serving.address], vec!["health", &url]] {
            let mut command = exporter();
            command.args(&arguments);
            let ended = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
            assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
            assert_eq!(ended.stdout, if code == 0 { "ready\n" } else { "" });
        }
    }
}

#[tokio::test]
async fn marked_files_are_read_with_their_earliest_expiry() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let own = authority.issue();
    // Editors on Windows write a byte order mark.
    let marked = |pem: &str| format!("\u{feff}{pem}");
    fs::write(folder.path().join("server.key"), marked(&own.key)).unwrap();
    fs::write(folder.path().join("server.crt"), marked(&format!("{}{}", own.certificate, authority.early())))
        .unwrap();
    fs::write(folder.path().join("ca.crt"), marked(&authority.pem)).unwrap();
    let rules = format!("{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    let file = folder.path().join("web.yml");
    fs::write(&file, marked(&rules)).unwrap();
    let access = Access::open(Some(&file)).unwrap();
    let expiries: Vec<_> =
        access.rules().expiries.iter().map(|(of, at)| (of.as_str(), at.to_string())).collect();
    let expected = [("server", "2033-02-01T00:00:00Z"), ("client_ca", "4096-01-01T00:00:00Z")];
    assert_eq!(expiries, expected.map(|(of, at)| (of, at.to_owned())));
}
