//! What is asked for, and how.

use std::time::Duration;

use flexvm_exporter::api::{Endpoint, Reason};
use flexvm_exporter::period::Month;
use flexvm_exporter::snapshot::VmStatus;
use serde_json::json;

use crate::common::{LONG, TOKEN, client_with, cloud, everything, run, tenant};
use crate::server::{Reply, Server, json as reply, status};

#[tokio::test]
async fn every_read_operation_is_a_get_and_nothing_else_is_sent() {
    let server = Server::start(|request, _| everything(request)).await;
    let (run, seen) = run(&server);
    let cloud_id = run.clouds().await.unwrap()[0].id.clone();
    assert_eq!(&*run.cloud("c-1").await.unwrap().name, "One");
    assert_eq!(&*run.nodes(&cloud_id).await.unwrap()[0].serial, "s");
    assert_eq!(&*run.node(&cloud_id, "n-1").await.unwrap().status, "running");
    assert_eq!(run.instance_types().await.unwrap()[0].memory_mib, 4096);
    assert_eq!(&*run.images().await.unwrap()[0].os_type, "linux");
    assert_eq!(&*run.vms(&cloud_id, &VmStatus::Running).await.unwrap()[0].id, "v-1");
    assert_eq!(&*run.vm(&cloud_id, "v-1").await.unwrap().instance_type, "vm.4c");
    assert_eq!(run.cloud_capacity().await.unwrap()[0].capacity.nodes, Some(1));
    assert_eq!(run.capacity().await.unwrap().vcpus.total, Some(1));
    let month: Month = "2026-10".parse().unwrap();
    let monthly = run.monthly(Some(month.period())).await.unwrap();
    assert_eq!(monthly.report.period, month.period());
    assert!(monthly.body.starts_with(b"{"));
    run.monthly(None).await.unwrap();

    let requests = server.requests();
    let targets: Vec<_> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "/v3/flexVM/clouds",
            "/v3/flexVM/clouds/c-1",
            "/v3/flexVM/clouds/c-1/nodes",
            "/v3/flexVM/clouds/c-1/nodes/n-1",
            "/v3/flexVM/instanceTypes",
            "/v3/flexVM/images",
            "/v3/flexVM/clouds/c-1/vms?status=running",
            "/v3/flexVM/clouds/c-1/vms/v-1",
            "/v3/flexVM/capacity",
            "/v3/flexVM/reports/capacity",
            "/v3/flexVM/reports/monthly?start=2026-10-01T00%3A00%3A00Z&end=2026-11-01T00%3A00%3A00Z",
            "/v3/flexVM/reports/monthly",
        ]
    );
    for (request, paged) in
        requests.iter().zip([true, false, true, false, true, true, true, false, true, false, false, false])
    {
        assert_eq!(request.method, "GET");
        assert_eq!(request.headers["private-token"], TOKEN);
        assert_eq!(request.headers["user-agent"], concat!("flexvm-exporter/", env!("CARGO_PKG_VERSION")));
        assert!(!request.headers.contains_key("referer"));
        assert_eq!(request.range(), paged.then_some((0, 100)), "{}", request.target);
    }
    assert_eq!(seen.codes(), ["200"; 12]);
    let statistics = run.statistics();
    assert_eq!(statistics.len(), Endpoint::ALL.len());
    let monthly = statistics[&Endpoint::Monthly];
    assert_eq!((monthly.requests, monthly.pages, monthly.last_status), (2, 2, Some(200)));
    assert_eq!(statistics[&Endpoint::Vms].rows, 1);
}

#[tokio::test]
async fn ids_stay_within_their_path() {
    let server = Server::start(|_, _| reply(&json!([]))).await;
    let (run, _) = run(&server);
    run.nodes(&"../../a?b".into()).await.unwrap();
    assert_eq!(server.requests()[0].target, "/v3/flexVM/clouds/..%2F..%2Fa%3Fb/nodes");
    for id in ["", ".", ".."] {
        assert_eq!(run.nodes(&id.into()).await.unwrap_err().reason(), Reason::Malformed);
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn an_object_must_be_the_one_that_was_asked_for() {
    let server = Server::start(|_, _| reply(&cloud("c-2"))).await;
    let error = run(&server).0.cloud("c-1").await.unwrap_err();
    assert_eq!(error.to_string(), "cloud: malformed: asked for c-1, got c-2");
}

#[tokio::test]
async fn no_more_requests_at_once_than_configured_over_all_runs_of_a_tenant() {
    let wait = Duration::from_millis(30);
    let server = Server::start(move |request, _| Reply::After(wait, Box::new(everything(request)))).await;
    let (client, _) = client_with(&server, |tenant| tenant.api.concurrency = 3);
    let runs: Vec<_> = (0..12).map(|_| client.clone()).collect();
    let all = runs.iter().map(|client| async move { client.run(LONG).clouds().await });
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(server.most_at_once(), 3);
}

#[tokio::test]
async fn unknown_fields_are_named_and_counted() {
    let server = Server::start(|_, _| {
        let mut row = cloud("c-1");
        row["colour"] = json!("red");
        reply(&json!([row]))
    })
    .await;
    let (run, _) = run(&server);
    run.clouds().await.unwrap();
    run.clouds().await.unwrap();
    let expected = [((Endpoint::Clouds, "colour".to_owned()), 2)];
    assert_eq!(run.unknown_fields().into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn errors_say_endpoint_status_and_the_apis_own_words_but_no_html() {
    let cases = [
        (
            400,
            r#"{"errorCode":1,"errorMessage":"Bad","errors":[{"property":"start","message":"too old"},{"property":"","message":"x"}]}"#,
            "capacity: client (HTTP 400): Bad; start: too old; x",
            Reason::Client,
        ),
        (401, "", "capacity: credentials (HTTP 401)", Reason::Credentials),
        (
            403,
            "<html>Forbidden</html>",
            "capacity: credentials (HTTP 403): this does not look like the FlexVM API; check base_url, to which the \
             exporter adds /v3/flexVM",
            Reason::Credentials,
        ),
        (
            404,
            r#"{"errorCode":10001,"errorMessage":"Entity not found","errors":[]}"#,
            "capacity: not_found (HTTP 404): Entity not found",
            Reason::NotFound,
        ),
        (409, "null", "capacity: client (HTTP 409)", Reason::Client),
        (422, r#"{"errorMessage":null,"errors":null}"#, "capacity: client (HTTP 422)", Reason::Client),
        (
            301,
            "",
            "capacity: redirect (HTTP 301): the FlexVM API does not redirect; check base_url",
            Reason::Redirect,
        ),
        (304, "", "capacity: redirect (HTTP 304)", Reason::Redirect),
        (
            418,
            r#"{"errorMessage":"a\nb\u001b[0m c"}"#,
            "capacity: client (HTTP 418): a b [0m c",
            Reason::Client,
        ),
        (429, "slow down", "capacity: rate_limited (HTTP 429)", Reason::RateLimited),
        (500, r#"{"errorMessage":"Oops"}"#, "capacity: server (HTTP 500): Oops", Reason::Server),
        (503, "<h1>Down</h1>", "capacity: server (HTTP 503)", Reason::Server),
    ];
    for (code, body, message, reason) in cases {
        let server = Server::start(move |_, _| status(code, "", body)).await;
        let (client, seen) = client_with(&server, |tenant| tenant.api.retries = 0);
        let error = client.run(LONG).capacity().await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.reason()), (message, reason));
        assert_eq!(error.status, Some(code));
        assert_eq!(seen.codes(), [code.to_string()]);
    }
}

#[tokio::test]
async fn a_client_says_what_is_wrong_with_its_configuration() {
    let server = Server::start(|request, _| everything(request)).await;
    let build = |change: &dyn Fn(&mut flexvm_exporter::config::Tenant)| {
        let tenant = tenant(&server, change);
        flexvm_exporter::api::Client::new(&tenant, std::sync::Arc::new(flexvm_exporter::api::NoObserver))
            .unwrap_err()
            .to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let named = file.display().to_string();
    let ca_file = || build(&|t| t.api.ca_file = Some(file.clone()));
    assert!(ca_file().starts_with(&format!("tenant k1: api.ca_file {named} cannot be read")));
    std::fs::write(&file, "nothing").unwrap();
    assert!(ca_file().starts_with(&format!("tenant k1: api.ca_file {named} contains no certificate")));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(
        ca_file().starts_with(&format!("tenant k1: api.ca_file {named} contains an invalid certificate"))
    );
    let error = build(&|t| t.base_url = "http://api.i3d.net".parse().unwrap());
    assert!(error.starts_with("tenant k1: base_url must begin with https://"), "{error}");
    let error = build(&|t| t.api.proxy = Some("ftp://proxy".parse().unwrap()));
    assert!(error.starts_with("tenant k1: api.proxy"), "{error}");
}
