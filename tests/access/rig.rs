//! A server in this process, with rules from a file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{Metrics, Poll, WebReports};
use flexvm_exporter::self_metrics::SelfMetrics;
use flexvm_exporter::store::Store;
use flexvm_exporter::web::{self, Access, App, Limits, Lists, Pages, Paths, Settings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::pki::Certified;

pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `what` is true.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is served with no tenant at all.
pub fn app(access: Arc<Access>, reports: WebReports, directory: &Path, paths: Paths) -> Arc<App> {
    let store = Store::new(&[], Metrics::default(), Poll::default());
    // Without tenants nothing is rendered: the empty exposition is what is served.
    store.publish();
    app_of(store, access, reports, directory, paths)
}

/// An application that serves the data of `store`.
pub fn app_of(
    store: Store,
    access: Arc<Access>,
    reports: WebReports,
    directory: &Path,
    paths: Paths,
) -> Arc<App> {
    let (reload, _) = tokio::sync::mpsc::channel(1);
    Arc::new(App {
        store: Arc::new(store),
        self_metrics: Arc::new(SelfMetrics::new(jiff::Timestamp::UNIX_EPOCH).unwrap()),
        paths,
        settings: arc_swap::ArcSwap::from_pointee(Settings {
            directory: directory.to_owned(),
            tenants: Vec::new(),
            reports,
        }),
        access,
        clock: Clock::system(),
        reload,
        lists: Lists::default(),
        pages: Pages::default(),
    })
}

/// A server that ends with this.
pub struct Serving {
    pub address: String,
    /// Address of a second listener.
    pub second: String,
    pub access: Arc<Access>,
    self_metrics: Arc<SelfMetrics>,
    _stop: watch::Sender<bool>,
}

impl Serving {
    /// Returns the value of a series of the exporter itself; `None` if it does not exist.
    pub fn own(&self, series: &str) -> Option<u64> {
        let text = String::from_utf8(self.self_metrics.text()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Waits until a series of the exporter itself has this value.
    pub async fn shows(&self, series: &str, value: u64) {
        until(&format!("{series} {value}"), async || self.own(series) == Some(value)).await;
    }
}

/// Serves by the rules of `web.yml` in `folder`, if there is one.
pub async fn serve(folder: &Path, limits: Limits) -> Serving {
    serve_at(folder, limits, Paths::default()).await
}

/// Serves the pages at these addresses.
pub async fn serve_at(folder: &Path, limits: Limits, paths: Paths) -> Serving {
    let file = folder.join("web.yml");
    let access = Arc::new(Access::open(file.exists().then_some(&*file)).unwrap());
    serve_app(app(access, WebReports::Auto, folder, paths), limits).await
}

/// Serves `app`.
pub async fn serve_app(app: Arc<App>, limits: Limits) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let second_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = second_listener.local_addr().unwrap().to_string();
    let (stop, stopped) = watch::channel(false);
    let (served, self_metrics) = (Arc::clone(&app), Arc::clone(&app.self_metrics));
    std::thread::spawn(move || web::serve(vec![listener, second_listener], &served, limits, &stopped));
    Serving { address, second, access: Arc::clone(&app.access), self_metrics, _stop: stop }
}

/// A client that trusts `authority` and shows `own`, speaking these protocols.
pub fn client(authority: &str, own: Option<&Certified>, protocols: &[&str]) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy();
    client.timeout(PATIENCE).tls_info(true).build().unwrap()
}

/// A client for plain HTTP.
pub fn plain() -> reqwest::Client {
    flexvm_exporter::api::plain_client(PATIENCE).unwrap()
}
