//! Whole lists over HTTP. The algorithm's own tests go through many more cases.

use std::sync::{Arc, Mutex};

use flexvm_exporter::api::{Client, Endpoint, NoObserver, PageSize, Reason};
use flexvm_exporter::snapshot::VmStatus;
use serde_json::{Value, json};

use crate::common::{LONG, clouds, page, run, tenant, vm};
use crate::server::{Server, json as reply, status};

#[tokio::test]
async fn whole_lists_from_servers_that_clamp() {
    for clamp in [25, 50, 100] {
        for total in [24, 25, 50, 99, 100, 101, 600] {
            let rows = clouds(total);
            let server = Server::start(move |request, _| page(request, &rows, clamp)).await;
            let (run, _) = run(&server);
            assert_eq!(run.clouds().await.unwrap().len(), total, "{total} by {clamp}");
            let statistics = run.statistics()[&Endpoint::Clouds];
            assert_eq!(statistics.largest_page, total.min(clamp) as u64);
            assert!(statistics.rows >= total as u64);
            let told = match () {
                () if total > clamp && clamp < 100 => PageSize::Clamped(clamp as u64),
                () if total >= 100 && clamp == 100 => PageSize::AsAsked,
                () => PageSize::AtLeast(total as u64),
            };
            assert_eq!(statistics.page_size, Some(told), "{total} by {clamp}");
        }
    }
}

#[tokio::test]
async fn whole_lists_from_servers_that_refuse_what_lies_behind_the_end() {
    for code in [400, 404, 422] {
        for total in [100, 200, 600] {
            let rows = clouds(total);
            let server = Server::start(move |request, _| match request.range() {
                Some((start, _)) if start >= total => status(code, "", ""),
                _ => page(request, &rows, 100),
            })
            .await;
            assert_eq!(run(&server).0.clouds().await.unwrap().len(), total, "{total}, {code}");
        }
    }
}

#[tokio::test]
async fn whole_lists_from_servers_that_ignore_the_range() {
    for total in [0, 10, 60, 100, 101, 700] {
        let rows = Value::from(clouds(total));
        let server = Server::start(move |_, _| reply(&rows)).await;
        let (run, _) = run(&server);
        assert_eq!(run.clouds().await.unwrap().len(), total);
        assert!(server.count() <= 3);
        let told = if total < 25 { PageSize::AtLeast(total as u64) } else { PageSize::RangeIgnored };
        assert_eq!(run.statistics()[&Endpoint::Clouds].page_size, Some(told), "{total}");
    }
}

#[tokio::test]
async fn a_cloud_that_is_gone_is_not_found() {
    let server = Server::start(|_, _| {
        status(404, "", r#"{"errorCode":10001,"errorMessage":"Entity not found","errors":[]}"#)
    })
    .await;
    let (run, seen) = run(&server);
    assert_eq!(run.nodes(&"c".into()).await.unwrap_err().reason(), Reason::NotFound);
    assert_eq!(run.vms(&"c".into(), &VmStatus::Running).await.unwrap_err().reason(), Reason::NotFound);
    assert_eq!((server.count(), seen.retries()), (2, 0));
}

#[tokio::test]
async fn a_server_that_repeats_itself_is_an_error_with_a_name() {
    let rows = clouds(30);
    let server = Server::start(move |request, _| {
        let (_, results) = request.range().unwrap();
        reply(&Value::from(&rows[..results.min(30)]))
    })
    .await;
    let error = run(&server).0.clouds().await.unwrap_err();
    assert_eq!(error.to_string(), "clouds: paging: the rows from 30 on are all known already");
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_row_that_changes_while_it_is_read_is_there_once_as_last_read() {
    let server = Server::start(|request, _| {
        let (start, _) = request.range().unwrap();
        let rows: Vec<_> = if start == 0 {
            (0..100).map(|number| vm(&format!("v-{number}"))).collect()
        } else {
            let mut moved = vm("v-99");
            moved["status"] = json!("stopping");
            vec![moved, vm("v-100")]
        };
        reply(&Value::from(rows))
    })
    .await;
    let vms = run(&server).0.vms(&"c-1".into(), &VmStatus::Running).await.unwrap();
    assert_eq!(vms.len(), 101);
    assert_eq!((&*vms[99].id, &vms[99].status), ("v-99", &VmStatus::Stopping));
}

#[tokio::test]
async fn a_list_read_again_is_the_same_until_a_row_changes() {
    let rows: Arc<Mutex<Vec<Value>>> =
        Arc::new(Mutex::new((0..250).map(|number| vm(&format!("v-{number:03}"))).collect()));
    let listed = Arc::clone(&rows);
    let server = Server::start(move |request, _| page(request, &listed.lock().unwrap(), 100)).await;
    let client = Client::new(&Arc::new(tenant(&server, |_| {})), Arc::new(NoObserver)).unwrap();
    let read = async || {
        let run = client.run(LONG);
        run.vms(&"c-1".into(), &VmStatus::Running).await.unwrap()
    };
    let first = read().await;
    let second = read().await;
    assert!(Arc::ptr_eq(&first, &second), "nothing changed, so it is the very same list");

    // A row in the second page: its neighbours are shared, and it is what it says now.
    rows.lock().unwrap()[150]["status"] = json!("stopping");
    let changed = read().await;
    assert_eq!(changed.len(), 250);
    assert_eq!((&*changed[150].id, &changed[150].status), ("v-150", &VmStatus::Stopping));
    assert!(Arc::ptr_eq(&changed[0], &first[0]) && Arc::ptr_eq(&changed[249], &first[249]));
    assert_eq!(changed[151], first[151]);

    // Fewer pages, all as they were: not the longer list of before.
    rows.lock().unwrap().truncate(200);
    let fewer = read().await;
    assert_eq!(fewer.len(), 200);
    assert_eq!(fewer[..], changed[..200]);

    // More again, behind pages that are as they were.
    rows.lock().unwrap().push(vm("v-new"));
    let more = read().await;
    assert_eq!(more.len(), 201);
    assert_eq!(&*more[200].id, "v-new");

    // And what only moved to another page is not taken for what stood there.
    rows.lock().unwrap().remove(0);
    let moved = read().await;
    assert_eq!(moved.len(), 200);
    assert_eq!(moved[..], more[1..]);
}
