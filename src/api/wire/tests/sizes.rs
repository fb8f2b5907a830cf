//! The size in a VM's own row: read if it can be read, and never an error of the list.

use crate::api::read_vms;
use crate::snapshot::{VmSize, VmStatus};

#[test]
fn unreadable_size_never_fails_the_list() {
    let whole = r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": [{"type": "gpu"}]}"#;
    let size = Some(VmSize { vcpus: 4, memory_mib: 8192, gpus: 1 });
    let rows = [
        (whole, "vm.a", size),
        // The name of the list in capacities.
        (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pci_devices": [{"type": "gpu"}]}"#, "vm.a", size),
        (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192}"#, "vm.a", size.map(|of| VmSize { gpus: 0, ..of })),
        (r#"{"name": "vm.a", "vcpu": 4}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": null, "memory": 8192}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": "four", "memory": [8192], "pciDevices": 1}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": {"gpu": [1]}}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": 4.0, "memory": 8192.0, "pciDevices": [{"type": "gpu"}]}"#, "vm.a", size),
        (r#"{"name": "vm.a", "vcpu": -4, "memory": 8192}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": 4.5, "memory": 8192}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": [1]}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": [{}]}"#, "vm.a", None),
        (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": [{"type": 7}]}"#, "vm.a", None),
        (
            r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": [{"type": "nvme"}, {"spec": null, "type": "gpu"}]}"#,
            "vm.a",
            size,
        ),
        ("{}", "", None),
        ("null", "", None),
        (r#""vm.a""#, "vm.a", None),
    ];
    let row = |(number, (of, ..)): (usize, &(&str, &str, Option<VmSize>))| {
        format!(r#"{{"id": "vm-{number}", "status": "running", "instance_type": {of}}}"#)
    };
    let body = format!("[{}]", rows.iter().enumerate().map(row).collect::<Vec<_>>().join(","));
    let vms = read_vms([(body.as_bytes(), &"c".into(), &VmStatus::Running)]).unwrap();
    assert_eq!(vms.len(), rows.len());
    for (vm, (json, name, size)) in vms.iter().zip(rows) {
        assert_eq!((&*vm.instance_type, vm.size), (name, size), "{json}");
    }
}
