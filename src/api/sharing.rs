//! Which tenants share connections.
//!
//! Hundreds of tenants mostly use one server. With connections for each of them, the server and this
//! machine hold thousands of connections that are idle, and some servers accept no more.

use std::sync::Arc;

use reqwest::Url;
use tokio::time::Instant;

use super::connections::{BuildError, Connections};
use crate::config::{Api, Tenant};

/// Maximum number of requests in flight over connections that are shared. HTTP/2 servers should accept at
/// least this many on one connection (RFC 9113, section 6.5.2). So requests of one tenant that hang never
/// make requests of another wait for a place.
const MAX_REQUESTS: usize = 100;

/// The connections that the tenants of one configuration use so far.
#[derive(Default)]
pub struct SharedConnections(Vec<Group>);

/// Tenants that share connections.
struct Group {
    base_url: Url,
    api: Api,
    /// The sum of `api.concurrency` of its tenants.
    requests: usize,
    connections: Arc<Connections>,
}

impl SharedConnections {
    /// The connections for `tenant`: those of other tenants with the same server, proxy, certificates and
    /// time limits, if these have room, or new ones.
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
    fn other_servers_and_settings_have_connections_of_their_own() {
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

    /// What one tenant may do is not what another may.
    #[test]
    fn plain_http_is_refused_although_another_tenant_may_use_it() {
        let mut shared = SharedConnections::default();
        let allowed = tenant("a", "http://api.example/", Api { allow_http: true, ..Api::default() });
        assert!(shared.of(&allowed, Instant::now()).is_ok());
        let refused = shared.of(&tenant("b", "http://api.example/", Api::default()), Instant::now());
        assert!(refused.err().unwrap().to_string().contains("tenant b"));
    }
}
