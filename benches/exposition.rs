//! Rendering 100,000 VMs with all their series: this crate's writer beside the `prometheus` crate's
//! `gather` and `TextEncoder` on the same series, in one run. Prints the ratio and fails below
//! [`AT_LEAST`].
//!
//! Both write into a buffer that is used again. With new memory for each body the kernel has to clear
//! as many pages for either, which is measured too, but tells more of the machine than of the writers.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use flexvm_exporter::config::Metrics;
use flexvm_exporter::exposition::{Part, Renderer, TenantView, gzip, write_part};
use flexvm_exporter::snapshot::{Cloud, Collector, InventoryData, Section, Snapshot, Text, Vm, VmStatus};
use jiff::Timestamp;
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};

const VMS: u32 = 100_000;

/// When every VM was first seen in its status.
const SINCE: i64 = 1_790_000_000;

/// Families with a series for each VM.
const FAMILIES: usize = 5;

const CLOUDS: u32 = 10;
const TAG_KEYS: [&str; 2] = ["project", "team"];
const TENANT: &str = "k12345";
const INVENTORY: [Part; 2] = [Part::Collector(Collector::Inventory), Part::Vms];

/// How many times faster than the `prometheus` crate the writer must be.
const AT_LEAST: f64 = 20.0;

fn main() {
    let snapshot = snapshot();
    let tenant = TenantView { name: TENANT, snapshot: &snapshot, up: Some(true), closed: &[] };
    let tag_keys = TAG_KEYS.map(str::to_owned).to_vec();
    let options = Metrics { max_vms: VMS as usize, tag_keys, ..Metrics::default() };
    let registry = registry(&snapshot);
    let write =
        |buffer| INVENTORY.iter().fold(buffer, |buffer, part| write_part(*part, &tenant, &options, buffer));
    let encode = |buffer| encode(&registry, buffer);
    let ours = write(Vec::new());
    compare(&ours, &encode(Vec::new()));

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("exposition_100k_vms");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Bytes(ours.len() as u64));
    let writer = measure(&mut group, "writer", reusing(write));
    let reference = measure(&mut group, "prometheus_gather_and_encode", reusing(encode));
    let fresh_writer = measure(&mut group, "writer_new_memory", || write(Vec::new()).len());
    let fresh_reference = measure(&mut group, "prometheus_new_memory", || encode(Vec::new()).len());
    measure(&mut group, "gzip", || gzip(&ours).len());
    measure(&mut group, "render_and_gzip", || {
        let mut renderer = Renderer::default();
        let _ = renderer.render(&tenant, &options, INVENTORY.into_iter().collect());
        renderer.assemble().compressed(None, &[]).len()
    });
    group.finish();
    criterion.final_summary();
    println!(
        "{} bytes, {} compressed; {} series of VMs",
        ours.len(),
        gzip(&ours).len(),
        FAMILIES * VMS as usize
    );
    ratio("new memory each time", fresh_writer, fresh_reference);
    let ratio = ratio("a buffer used again", writer, reference);
    assert!(ratio.is_none_or(|ratio| ratio >= AT_LEAST), "less than {AT_LEAST} times as fast");
}

fn ratio(memory: &str, writer: Option<Duration>, reference: Option<Duration>) -> Option<f64> {
    let (writer, reference) = (writer?, reference?);
    let ratio = reference.as_secs_f64() / writer.as_secs_f64();
    println!("{memory}: writer {writer:.1?}, prometheus {reference:.1?}: {ratio:.1} times as fast (medians)");
    Some(ratio)
}

/// `work` on a buffer that keeps its memory.
fn reusing(work: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn() -> usize {
    let kept = RefCell::new(Vec::new());
    move || {
        let mut buffer = kept.take();
        buffer.clear();
        buffer = work(buffer);
        let length = buffer.len();
        kept.replace(buffer);
        length
    }
}

/// Measures `work` and returns the median, or nothing when this measurement was not asked for.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    work: impl Fn() -> usize,
) -> Option<Duration> {
    let times = RefCell::new(Vec::new());
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let runs = (0..iterations).map(|_| {
                let start = Instant::now();
                black_box(work());
                start.elapsed()
            });
            let runs: Vec<Duration> = runs.collect();
            times.borrow_mut().extend_from_slice(&runs);
            runs.iter().sum()
        });
    });
    let mut times = times.into_inner();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn encode(registry: &Registry, mut buffer: Vec<u8>) -> Vec<u8> {
    TextEncoder::new().encode(&registry.gather(), &mut buffer).expect("the families are valid");
    buffer
}

/// Both sides must say the same of every VM, or the comparison is worth nothing.
fn compare(ours: &[u8], theirs: &[u8]) {
    let series = |bytes| {
        let text = std::str::from_utf8(bytes).expect("a body is UTF-8");
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.starts_with("flexvm_vm_")).map(sorted).collect();
        lines.sort_unstable();
        lines
    };
    let (ours, theirs) = (series(ours), series(theirs));
    assert_eq!(ours.len(), FAMILIES * VMS as usize);
    assert!(ours == theirs, "the series differ");
}

/// A line with its labels in the order of their names (no text of this world holds a comma).
fn sorted(line: &str) -> String {
    let (name, rest) = line.split_once('{').expect("labels");
    let (labels, value) = rest.split_once("} ").expect("a value");
    let mut labels: Vec<_> = labels.split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}} {value}", labels.join(","))
}

fn snapshot() -> Snapshot {
    let text = |text: &str| Text::from(text);
    let types = ["vm.4c.8g", "vm.8c.32g", "vm.16c.64g.1gpu"].map(text);
    let (image, nodes) = (text("ubuntu-24.04-lts"), (0..200).map(uuid).collect::<Vec<_>>());
    // Sets of tags are shared between VMs, as the client makes them.
    let sets: Vec<Arc<[Text]>> = (0..1000)
        .map(|number| {
            [format!("project:p{}", number % 500), format!("team:t{}", number % 40)].map(Text::from).into()
        })
        .collect();
    let cloud = |number| Cloud {
        id: uuid(number),
        name: format!("build-farm-{number}").into(),
        site: text("frmtl1"),
        node_type: text("bm9.hmm.gpu.4rtx4000.64"),
        created_at: None,
    };
    let clouds: Vec<Cloud> = (0..CLOUDS).map(cloud).collect();
    let vm = |number: u32| Vm {
        id: uuid(number + 1_000_000),
        cloud_id: clouds[(number % CLOUDS) as usize].id.clone(),
        name: format!("ci-agent-{number}").into(),
        instance_type: types[(number % 3) as usize].clone(),
        size: None,
        image: image.clone(),
        status: if number.is_multiple_of(10) { VmStatus::Stopped } else { VmStatus::Running },
        node_id: Some(nodes[(number % 200) as usize].clone()),
        created_at: Timestamp::from_second(1_790_000_000 + i64::from(number) * 20).ok(),
        deleted_at: None,
        ips: Box::new([]),
        tags: sets[(number % 1000) as usize].clone(),
    };
    let inventory = InventoryData {
        vms: (0..VMS).map(|number| Arc::new(vm(number))).collect(),
        status_since: vec![Timestamp::from_second(SINCE).ok(); VMS as usize],
        clouds,
        ..InventoryData::default()
    };
    let at = Timestamp::UNIX_EPOCH;
    Snapshot { inventory: Some(Section { at, data: Arc::new(inventory) }), ..Snapshot::default() }
}

fn uuid(number: u32) -> Text {
    // Like version 7: later ones are greater, and lists come in the order of ids.
    let (time, random) = (0x0198_f3a1_0000_u64 + u64::from(number), number.wrapping_mul(0x9e37_79b1));
    format!("{:08x}-{:04x}-7{:03x}-8b1d-{random:012x}", time >> 16, time & 0xffff, random % 4096).into()
}

/// The same series as gauges of the `prometheus` crate, set beforehand: only gathering and encoding
/// them is measured.
fn registry(snapshot: &Snapshot) -> Registry {
    let registry = Registry::new();
    let gauge = |name: &str, labels: &[&str]| {
        let labels = [&["tenant", "cloud_id", "vm_id"], labels].concat();
        let gauge =
            GaugeVec::new(Opts::new(name, "One of the series of a VM."), &labels).expect("a valid family");
        registry.register(Box::new(gauge.clone())).expect("a new family");
        gauge
    };
    let info = gauge("flexvm_vm_info", &["vm", "instance_type", "image", "node_id"]);
    let status = gauge("flexvm_vm_status", &["status"]);
    let created = gauge("flexvm_vm_created_timestamp_seconds", &[]);
    let since = gauge("flexvm_vm_status_since_timestamp_seconds", &[]);
    let tags = gauge("flexvm_vm_tags", &["tag_project", "tag_team"]);
    for vm in snapshot.inventory.iter().flat_map(|section| &*section.data.vms) {
        let node = vm.node_id.as_deref().unwrap_or_default();
        let set = |gauge: &GaugeVec, more: &[&str], value| {
            gauge.with_label_values(&[&[TENANT, &*vm.cloud_id, &*vm.id], more].concat()).set(value);
        };
        set(&info, &[&vm.name, &vm.instance_type, &vm.image, node], 1.0);
        set(&status, &[vm.status.as_str()], 1.0);
        #[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^53")]
        let seconds = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_second) as f64;
        set(&created, &[], seconds(vm.created_at));
        set(&since, &[], seconds(Timestamp::from_second(SINCE).ok()));
        let value =
            |tag: &'static str| vm.tags.iter().find_map(|text| text.strip_prefix(tag)).unwrap_or_default();
        set(&tags, &[value("project:"), value("team:")], 1.0);
    }
    registry
}
