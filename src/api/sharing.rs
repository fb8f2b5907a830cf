//! Sharing of connections between tenants.
//!
//! If there are hundreds of tenants, most of them use the same server. With separate connections for
//! each tenant, thousands of connections would be idle, and some servers limit the number of
//! connections.

use std::sync::Arc;

use reqwest::Url;
use tokio::time::Instant;

use super::connections::{BuildError, Connections};
use crate::config::{Api, Tenant};

/// Maximum number of requests in flight over connections that are shared. HTTP/2 servers should accept
/// at least this many on one connection (RFC 9113, section 6.5.2). Therefore, hanging requests of one
/// tenant never delay requests of another tenant.
const MAX_REQUESTS: usize = 100;

/// The connections that have been assigned to the tenants of one configuration.
#[derive(Default)]
pub struct SharedConnections(Vec<Group>);

/// A group of tenants that share connections.
struct Group {
    base_url: Url,
    api: Api,
    /// The sum of `api.concurrency` of its tenants.
    requests: usize,
    connections: Arc<Connections>,
}

impl SharedConnections {
    /// Returns the connections for `tenant`. Reuses the connections of tenants with the same server,
    /// proxy, certificates and time limits if the limit of requests in flight permits this; otherwise
    /// creates new connections.
    pub(super) fn of(&mut self, tenant: &Tenant, now: Instant) -> Result<Arc<Connections>, BuildError> {
        let requests = tenant.api.concurrency;
        if let Some(group) = self.0.iter_mut().find(|group| group.fits(tenant)) {
            group.requests += requests;
            return Ok(Arc::clone(&group.connections));
        }
        let connections = Arc::new(Connections::new(tenant, now)?);
        self.0.push(Group {
            base_url: tenant.base_url.clone(),
            api: tenant.api.clone(),
            requests,
            connections: Arc::clone(&connections),
        });
        Ok(connections)
    }
}

impl Group {
    fn fits(&self, tenant: &Tenant) -> bool {
        let same = |api: &Api| (api.timeout, api.connect_timeout, api.allow_http);
        self.requests.saturating_add(tenant.api.concurrency) <= MAX_REQUESTS
            && self.base_url.origin() == tenant.base_url.origin()
            && same(&self.api) == same(&tenant.api)
            && self.api.ca_file == tenant.api.ca_file
            && self.api.proxy == tenant.api.proxy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, TokenSource};

    fn tenant(name: &str, base_url: &str, api: Api) -> Tenant {
        Tenant {
            name: name.into(),
            base_url: base_url.parse().unwrap(),
            token: TokenSource::Fixed(Secret::new("token")),
            api,
            prices: None,
            group_by: Vec::new(),
        }
    }

    #[test]
    fn tenants_of_one_server_share_connections_until_they_are_full() {
        let mut shared = SharedConnections::default();
        let mut of = |tenant: &Tenant| shared.of(tenant, Instant::now()).unwrap();
        let api = Api { concurrency: 40, ..Api::default() };
        let tenants = ["a", "b", "c"].map(|name| tenant(name, "https://api.example", api.clone()));
        let [a, b, c] = tenants.each_ref().map(&mut of);
        assert!(Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &c), "120 requests in flight are too many");
        let greedy = Api { concurrency: 1_000, ..Api::default() };
        let d = of(&tenant("d", "https://api.example", greedy));
        assert!(!Arc::ptr_eq(&a, &d) && !Arc::ptr_eq(&c, &d));
    }

    #[test]
    fn different_servers_or_settings_share_no_connections() {
        let mut shared = SharedConnections::default();
        let mut of = |url: &str, api: Api| shared.of(&tenant("a", url, api), Instant::now()).unwrap();
        let first = of("https://api.example/v1/", Api::default());
        assert!(Arc::ptr_eq(&first, &of("https://api.example/v2/", Api::default())), "only the path differs");
        let seconds = std::time::Duration::from_secs(7);
        for (url, api) in [
            ("https://other.example/", Api::default()),
            ("https://api.example:8443/", Api::default()),
            ("https://api.example/", Api { timeout: seconds, ..Api::default() }),
            ("https://api.example/", Api { connect_timeout: seconds, ..Api::default() }),
            ("https://api.example/", Api { proxy: "http://proxy:3128".parse().ok(), ..Api::default() }),
        ] {
            assert!(!Arc::ptr_eq(&first, &of(url, api.clone())), "{url} {api:?}");
        }
    }

    /// `api.allow_http` of one tenant does not apply to other tenants.
    #[test]
    fn plain_http_is_refused_although_another_tenant_allows_it() {
        let mut shared = SharedConnections::default();
        let allowed = tenant("a", "http://api.example/", Api { allow_http: true, ..Api::default() });
        assert!(shared.of(&allowed, Instant::now()).is_ok());
        let refused = shared.of(&tenant("b", "http://api.example/", Api::default()), Instant::now());
        assert!(refused.err().unwrap().to_string().contains("tenant b"));
    }
}
