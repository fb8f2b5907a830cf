//! Requests of web pages of other sites, and pages below a prefix.

use flexvm_exporter::web::{Limits, Paths};

use crate::rig::{plain, serve, serve_at};

/// A reload that is allowed. The rig has no daemon that could reload.
const ALLOWED: u16 = 503;

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_cannot_reload_or_read_reports() {
    let folder = tempfile::tempdir().unwrap();
    let external = Paths::new("/metrics", Some("https://host.example/"), None).unwrap();
    let serving = serve_at(folder.path(), Limits::default(), external).await;
    let evil = "https://evil.example";
    for (headers, is_allowed) in [
        (&[][..], true),
        (&[("host", "localhost:10935"), ("sec-fetch-site", "same-origin")], true),
        (&[("host", "host.example"), ("origin", "https://host.example")], true),
        (&[("sec-fetch-site", "cross-site"), ("origin", evil)], false),
        (&[("origin", evil)], false),
        // DNS rebinding: for the browser, both are one site.
        (
            &[("host", "evil.example"), ("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")],
            false,
        ),
        (&[("host", "evil.example")], false),
    ] {
        let send = async |method: reqwest::Method, path: &str| {
            let mut request = plain().request(method, format!("http://{}{path}", serving.address));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        for (method, path, allowed) in [
            (reqwest::Method::POST, "/-/reload", ALLOWED),
            (reqwest::Method::GET, "/reports/", 200),
            (reqwest::Method::GET, "/reports/k1/index.csv", 404),
        ] {
            let (status, text) = send(method, path).await;
            assert_eq!(status, if is_allowed { allowed } else { 403 }, "{path} {headers:?}: {text}");
            assert_eq!(text.contains("--web.external-url"), !is_allowed, "{path} {headers:?}: {text}");
        }
        // Other pages contain only public data, and Prometheus may use any host name.
        for path in ["/metrics", "/", "/-/ready"] {
            assert_eq!(send(reqwest::Method::GET, path).await.0, 200, "{path} {headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn password_replaces_the_check_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("basic_auth_users: {{me: {}}}\n", bcrypt::hash("pw", 4).unwrap());
    std::fs::write(folder.path().join("web.yml"), rules).unwrap();
    let serving = serve(folder.path(), Limits::default()).await;
    for (site, status) in [("same-origin", 200), ("cross-site", 403)] {
        let request = plain().get(format!("http://{}/reports/", serving.address));
        let request = request.basic_auth("me", Some("pw")).header("host", "proxy.example");
        assert_eq!(request.header("sec-fetch-site", site).send().await.unwrap().status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_below_the_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths::new("/metrics", Some("https://host.example/flexvm/"), None).unwrap();
    let serving = serve_at(folder.path(), Limits::default(), paths).await;
    for (path, status, location) in [
        ("/", 302, Some("/flexvm/")),
        ("/flexvm", 302, Some("/flexvm/")),
        ("/flexvm/", 200, None),
        ("/flexvm/metrics", 200, None),
        ("/flexvm/reports/", 200, None),
        ("/flexvm/-/healthy", 200, None),
        ("/flexvm/-/ready", 200, None),
        ("/metrics", 404, None),
        ("/reports/", 404, None),
        ("/-/healthy", 404, None),
        ("/flexvmetrics", 404, None),
    ] {
        let response = plain().get(format!("http://{}{path}", serving.address)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let to = response.headers().get("location").map(|to| to.to_str().unwrap());
        assert_eq!(to, location, "{path}");
    }
}
