//! HTTP itself: what the server refuses, and every fault as a client sees it.

use std::time::{Duration, Instant};

use flexvm_exporter::simulator::{Fault, FaultKind, Operation};
use serde_json::{Value, json};

use super::support::{API, Hand, Served, quiet, text};

async fn served() -> Served {
    Served::new(quiet(60, 1), Hand::at("2026-05-14T10:00:00Z").clock()).await
}

async fn get(api: &Served, path: &str) -> Value {
    let response = api.request("GET", path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn running(api: &Served, start: usize, results: usize) -> Vec<String> {
    let cloud = text(&get(api, "/clouds").await[0]["id"]);
    let request = api.request("GET", &format!("/clouds/{cloud}/vms?status=running"));
    let response =
        request.header("RANGED-DATA", format!("start={start},results={results}")).send().await.unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    rows.iter().map(|vm| text(&vm["id"])).collect()
}

#[tokio::test]
async fn what_is_not_the_api_is_refused() {
    let api = served().await;
    let status = async |method: &str, path: &str| {
        let response = api.request(method, path).send().await.unwrap();
        (response.status().as_u16(), response.headers().get("allow").cloned())
    };
    assert_eq!(status("GET", "/nothing").await.0, 404);
    assert_eq!(status("GET", "/clouds/").await.0, 404);
    for (method, path, allow) in
        [("PUT", "/clouds", "GET, POST"), ("HEAD", "/capacity", "GET"), ("DELETE", "/images", "GET")]
    {
        let (status, allowed) = status(method, path).await;
        assert_eq!((status, allowed.unwrap().to_str().unwrap()), (405, allow), "{method} {path}");
    }
    let response = api.client.get(format!("{}{API}/clouds", api.base)).send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(response.bytes().await.unwrap().is_empty());
    let big = api.request("POST", "/clouds").body(vec![b' '; 2 << 20]).send().await;
    assert!(big.is_err() || big.unwrap().status() == 413);
    assert_eq!(api.simulator.requests()[&Operation::Clouds], 1);
    assert_eq!(api.simulator.requests().get(&Operation::Images), None, "a wrong method is no operation");
}

#[tokio::test]
async fn canned_answers_come_as_told_and_as_often() {
    let api = served().await;
    let faults = api.simulator.faults();
    faults.add(Fault::status(429).with_header("retry-after", "2").on(Operation::Capacity).after(1).times(1));
    let send = async || api.request("GET", "/reports/capacity").send().await.unwrap();
    assert_eq!(send().await.status(), 200);
    let limited = send().await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "2"));
    assert_eq!(send().await.status(), 200);
    faults.add(Fault::html(502).times(1));
    let html = send().await;
    assert_eq!(html.headers()["content-type"], "text/html");
    assert!(html.text().await.unwrap().starts_with("<html>"));
    faults.add(Fault::redirect("http://192.0.2.1/").times(1));
    assert_eq!(send().await.headers()["location"], "http://192.0.2.1/");
    assert_eq!(api.simulator.requests()[&Operation::Capacity], 5);
}

#[tokio::test]
async fn bodies_are_cut_stalled_stretched_and_endless() {
    let api = served().await;
    let faults = api.simulator.faults();
    let read = async |limit: Duration| {
        tokio::time::timeout(limit, async {
            let mut response = api.request("GET", "/images").send().await?;
            let mut bytes = 0;
            while let Some(chunk) = response.chunk().await? {
                bytes += chunk.len();
                if bytes > 1 << 20 {
                    break;
                }
            }
            Ok::<_, reqwest::Error>(bytes)
        })
        .await
    };
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(20));
    let whole = read(long).await.unwrap().unwrap();
    for (kind, hangs) in [
        (FaultKind::Drop, false),
        (FaultKind::Truncate, false),
        (FaultKind::Stall, true),
        (FaultKind::StallInBody, true),
    ] {
        faults.add(Fault::new(kind.clone()).times(1));
        let outcome = read(if hangs { short } else { long }).await;
        assert_eq!(outcome.is_err(), hangs, "{kind:?}");
        assert!(outcome.is_err() || outcome.unwrap().is_err(), "{kind:?}");
    }
    faults.add(Fault::new(FaultKind::Endless).times(1));
    assert!(read(long).await.unwrap().unwrap() > 1 << 20);
    for kind in [FaultKind::Delay(Duration::from_millis(150)), FaultKind::Trickle(Duration::from_millis(2))] {
        faults.add(Fault::new(kind.clone()).times(1));
        let begun = Instant::now();
        assert_eq!(read(long).await.unwrap().unwrap(), whole, "{kind:?}");
        assert!(begun.elapsed() >= Duration::from_millis(150), "{kind:?} took {:?}", begun.elapsed());
    }
    assert_eq!(read(long).await.unwrap().unwrap(), whole);
}

#[tokio::test]
async fn lists_are_shifted_repeated_unpaged_and_no_lists() {
    let api = served().await;
    let faults = api.simulator.faults();
    let all = running(&api, 0, 1000).await;
    assert!(all.len() > 40);
    faults.add(Fault::new(FaultKind::Shift(-1)).on(Operation::Vms).times(2));
    assert_eq!(running(&api, 0, 10).await, all[..10], "the first page is as it is");
    assert_eq!(running(&api, 10, 10).await, all[9..19], "a row comes again");
    faults.add(Fault::new(FaultKind::Shift(2)).on(Operation::Vms).times(1));
    assert_eq!(running(&api, 10, 10).await, all[12..22], "two rows are lost");
    faults.add(Fault::new(FaultKind::IgnoreRange).on(Operation::Vms).times(1));
    assert_eq!(running(&api, 10, 10).await, all);
    faults.add(Fault::new(FaultKind::ObjectForList).on(Operation::Images).times(1));
    assert!(get(&api, "/images").await["data"].is_array());
}

#[tokio::test]
async fn answers_carry_what_nobody_documented() {
    let api = served().await;
    let faults = api.simulator.faults();
    faults.add(Fault::set("colour", json!("red")).on(Operation::Clouds));
    faults.add(Fault::set("site", json!("moon1")).on(Operation::Clouds));
    let cloud = &get(&api, "/clouds").await[0];
    assert_eq!((&cloud["colour"], &cloud["site"]), (&json!("red"), &json!("moon1")));
    faults.clear();
    faults.add(Fault::edit_rows(|row| row["status"] = json!("hibernating")).on(Operation::Nodes));
    let nodes = get(&api, &format!("/clouds/{}/nodes", text(&cloud["id"]))).await;
    assert!(nodes.as_array().unwrap().iter().all(|node| node["status"] == "hibernating"));
    faults.add(Fault::edit(|report| report["total_nodes"] = json!(-1)).on(Operation::Monthly));
    assert_eq!(get(&api, "/reports/monthly").await["total_nodes"], -1);
}

#[tokio::test]
async fn it_stops_when_told_even_with_a_stalled_client() {
    let api = served().await;
    api.simulator.faults().add(Fault::new(FaultKind::Stall));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let simulator = api.simulator.clone();
    let before = simulator.requests().get(&Operation::Images).copied().unwrap_or(0);
    let serving = simulator.clone();
    let server = tokio::spawn(async move { serving.serve(listener, async { drop(stopped.await) }).await });
    let request =
        api.client.get(format!("http://{address}{API}/images")).header("PRIVATE-TOKEN", "simulator");
    let client = tokio::spawn(request.send());
    let deadline = Instant::now() + Duration::from_secs(20);
    while simulator.requests().get(&Operation::Images).copied().unwrap_or(0) == before {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap().unwrap();
    assert!(client.await.unwrap().is_err());
}
