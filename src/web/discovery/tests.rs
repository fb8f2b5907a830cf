use std::future::poll_fn;

use jiff::Timestamp;

use super::*;
use crate::snapshot::{IpAddress, Section, Vm, VmStatus};
use crate::store::TenantState;

/// Addresses of a VM, each with whether it is public.
type Addresses<'a> = &'a [(&'a str, bool)];

fn vm(id: &str, status: VmStatus, addresses: Addresses<'_>) -> Arc<Vm> {
    let ips =
        addresses.iter().map(|(address, public)| IpAddress { address: (*address).into(), public: *public });
    Arc::new(Vm {
        id: id.into(),
        cloud_id: "c".into(),
        name: "vm".into(),
        instance_type: "t".into(),
        size: None,
        image: "i".into(),
        status,
        node_id: None,
        created_at: None,
        deleted_at: None,
        ips: ips.collect(),
        tags: Arc::default(),
    })
}

fn view(tenants: &[(&str, &[Arc<Vm>])]) -> Arc<View> {
    let state = |vms: &[Arc<Vm>]| {
        let data = Arc::new(InventoryData { vms: vms.into(), ..InventoryData::default() });
        let mut state = TenantState::default();
        let inventory = Some(Section { at: Timestamp::UNIX_EPOCH, data });
        Arc::make_mut(&mut state.snapshot).inventory = inventory;
        Arc::new(state)
    };
    Arc::new(View { tenants: tenants.iter().map(|(name, vms)| ((*name).into(), state(vms))).collect() })
}

fn query(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

async fn next(stream: &mut TargetStream) -> Option<std::io::Result<bytes::Bytes>> {
    poll_fn(|context| stream.poll_next(context)).await
}

async fn read(lists: &Lists, view: &View, text: &str) -> serde_json::Value {
    let mut stream = lists.get(view, &query(text)).await.unwrap().unwrap();
    let mut whole = Vec::new();
    while let Some(block) = next(&mut stream).await {
        whole.extend(block.unwrap());
    }
    serde_json::from_slice(&whole).unwrap()
}

fn targets(list: &serde_json::Value) -> Vec<Vec<&str>> {
    let of = |group: &serde_json::Value| group["targets"].as_array().unwrap().clone();
    let groups = list.as_array().unwrap().iter();
    groups
        .map(|group| (0..of(group).len()).map(|at| group["targets"][at].as_str().unwrap()).collect())
        .collect()
}

#[tokio::test]
async fn ports_and_filters_apply_to_one_list() {
    let vms = [
        vm("a", VmStatus::Running, &[("10.0.0.2", false), ("203.0.113.1", true), ("10.0.0.2", false)]),
        vm("b", VmStatus::Running, &[("2001:db8::1/64", true)]),
        vm("stopped", VmStatus::Stopped, &[("10.0.0.9", false)]),
        vm("without", VmStatus::Running, &[]),
    ];
    let (lists, view) = (Lists::default(), view(&[("one", &vms), ("two", &vms[..1])]));
    let list = read(&lists, &view, "tenant=one").await;
    assert_eq!(targets(&list), [vec!["10.0.0.2:9100", "203.0.113.1:9100"], vec!["[2001:db8::1]:9100"]]);
    assert_eq!(list[0]["labels"]["__meta_flexvm_vm_id"], "a");
    assert_eq!(list[1]["labels"]["__meta_flexvm_tenant"], "one");
    let list = read(&lists, &view, "port=80&public=true").await;
    assert_eq!(targets(&list), [["203.0.113.1:80"], ["[2001:db8::1]:80"], ["203.0.113.1:80"]]);
    assert_eq!(targets(&read(&lists, &view, "public=false&tenant=two").await), [["10.0.0.2:9100"]]);
    // A filter can exclude everything.
    let none = self::view(&[("two", &vms[1..2])]);
    assert_eq!(read(&lists, &none, "public=false").await, serde_json::json!([]));
}

fn latest(lists: &Lists, tenant: &str) -> *const TargetList {
    let made = lists.made.lock().unwrap();
    Arc::as_ptr(made[tenant].latest.load().as_ref().unwrap())
}

#[tokio::test]
async fn list_is_created_once_per_change() {
    let of = |id: &str| view(&[("t", &[vm(id, VmStatus::Running, &[("10.0.0.1", false)])])]);
    let (lists, one) = (Lists::default(), of("a"));
    read(&lists, &one, "port=1").await;
    let first = latest(&lists, "t");
    for port in 2..20 {
        read(&lists, &one, &format!("port={port}")).await;
    }
    // A poll that changes nothing keeps the list.
    read(&lists, &of("a"), "").await;
    assert_eq!(latest(&lists, "t"), first);
    read(&lists, &of("b"), "").await;
    assert_ne!(latest(&lists, "t"), first);
    // The list of a removed tenant is dropped.
    let other = view(&[("other", &[])]);
    assert_eq!(read(&lists, &other, "").await, serde_json::json!([]));
    assert!(!lists.made.lock().unwrap().contains_key("t"));
}

#[tokio::test]
async fn quotation_marks_in_an_address_stay() {
    let vms = [vm("a", VmStatus::Running, &[("x\"", false), ("\"y", false)])];
    let list = read(&Lists::default(), &view(&[("t", &vms)]), "").await;
    assert_eq!(targets(&list), [["\"y:9100", "x\":9100"]]);
}

#[tokio::test]
async fn dropped_response_holds_no_list() {
    let vms: Vec<_> =
        (0..400).map(|number| vm(&number.to_string(), VmStatus::Running, &[("10.0.0.1", false)])).collect();
    let lists = Lists::default();
    let mut response = lists.get(&view(&[("t", &vms)]), &[]).await.unwrap().unwrap();
    assert!(next(&mut response).await.unwrap().is_ok());
    let readers = || Arc::strong_count(&lists.made.lock().unwrap()["t"].latest);
    assert_eq!(readers(), 2, "the response has further blocks");
    drop(response);
    assert_eq!(readers(), 1);
}

#[tokio::test]
async fn slow_readers_hold_a_bounded_number_of_old_lists() {
    let of = |change: usize| {
        let vms: Vec<_> = (0..400)
            .map(|number| vm(&format!("{change}-{number}"), VmStatus::Running, &[("10.0.0.1", false)]))
            .collect();
        view(&[("t", &vms)])
    };
    let lists = Lists::default();
    let mut readers = Vec::new();
    for change in 0..10 {
        let mut reader = lists.get(&of(change), &[]).await.unwrap().unwrap();
        assert!(next(&mut reader).await.unwrap().is_ok());
        readers.push(reader);
    }
    let mut is_aborted = Vec::new();
    for reader in &mut readers {
        is_aborted.push(next(reader).await.unwrap().is_err());
    }
    assert_eq!(is_aborted, [[true; 6].as_slice(), &[false; 4]].concat());
}

#[tokio::test]
async fn unknown_requests_are_refused() {
    let lists = Lists::default();
    let view = view(&[("t", &[])]);
    for text in ["port=0", "port=65536", "port=x", "public=1", "ports=80", "tenant=nobody"] {
        let (status, _) = lists.get(&view, &query(text)).await.unwrap().err().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    }
    let state = Arc::new(TenantState::default());
    let unknown = View { tenants: BTreeMap::from([("t".into(), state)]) };
    let (status, _) = lists.get(&unknown, &[]).await.unwrap().err().unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
