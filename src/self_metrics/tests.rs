use std::time::Duration;

use super::*;

#[test]
fn tenant_that_returns_shows_no_old_series() {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let metrics = Arc::new(SelfMetrics::new(now).unwrap());
    let observer = |tenant: &str| RequestObserver { metrics: Arc::clone(&metrics), tenant: tenant.into() };
    let difference = Difference {
        month: "2026-10".into(),
        vms: BTreeMap::from([("created", 1)]),
        seconds: BTreeMap::from([("total", 1)]),
    };
    let seconds = ChangedSeconds { vms: 1, clouds: 1, tags: 1 };
    let comparison = Comparison { at: now, seconds, first_read: None, open: true };
    for tenant in ["k1", "k2"] {
        metrics.add_tenant(tenant, Collector::ALL.into_iter());
        metrics.collector_succeeded(tenant, Collector::Usage, Duration::from_secs(1), now);
        metrics.collector_failed(tenant, Collector::Capacity, Duration::from_secs(1), Reason::Server);
        observer(tenant).request(Endpoint::Clouds, Code::Status(200), Duration::from_secs(1));
        observer(tenant).retry(Endpoint::Clouds);
        observer(tenant).certificate(now);
        let fields = BTreeMap::from([((Endpoint::Clouds, "new".to_owned()), 1)]);
        metrics.unknown_fields(tenant, Collector::Inventory, &fields);
        let defect = Defect { count: 1, example: String::new() };
        let defects = BTreeMap::from([((Endpoint::Capacity, "available"), defect)]);
        metrics.api_defects(tenant, Collector::Capacity, &defects);
        metrics.report_due(tenant, Some(1));
        metrics.report_succeeded(tenant, now);
        metrics.report_failed(tenant, Reason::Server);
        metrics.comparison_failed(tenant, Reason::Server);
        metrics.verification_failed(tenant, Reason::Server);
        metrics.reconciled(tenant, &difference);
        metrics.ledger_new_beside_reports(tenant, true);
        metrics.compared(tenant, &BTreeMap::from([("2026-10".parse().unwrap(), comparison)]));
    }
    let of = |tenant: &str| {
        let text = String::from_utf8(metrics.text()).unwrap();
        let label = format!("tenant=\"{tenant}\"");
        text.lines().filter(|line| line.contains(&label)).map(str::to_owned).collect::<Vec<_>>()
    };
    let other = of("k2");
    metrics.remove_tenant("k1");
    assert_eq!(of("k1"), Vec::<String>::new());
    // A request that was in progress ends later.
    observer("k1").request(Endpoint::Clouds, Code::Status(200), Duration::from_secs(1));
    metrics.add_tenant("k1", Collector::ALL.into_iter());
    let old: Vec<_> = of("k1").into_iter().filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(old, Vec::<String>::new());
    assert_eq!(of("k2"), other, "other tenants keep their series");
    // Adding a tenant that exists, as a reload does, removes nothing.
    metrics.add_tenant("k2", Collector::ALL.into_iter());
    assert_eq!(of("k2"), other);
}
