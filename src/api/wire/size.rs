//! The size that a row of a list of VMs states for its instance type. It is a courtesy of the API, so
//! a size that cannot be read is no size, and never an error of the list.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::row::Report;

/// Up to this number, every whole number has a float of its own.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number that is not negative, also written as `8.0`; anything else is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SoftCount(pub Option<u64>);

/// The number of pass-through devices of class `gpu`; `None` if the list cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GpuCount(pub Option<u64>);

impl Default for GpuCount {
    /// A row without the list has no devices.
    fn default() -> Self {
        Self(Some(0))
    }
}

impl Report for SoftCount {}
impl Report for GpuCount {}

/// A visitor that accepts every value, and reads some of them.
macro_rules! accept_all {
    ($value:ty, $none:expr) => {
        type Value = $value;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("any value")
        }
        fn visit_unit<E: Error>(self) -> Result<$value, E> {
            Ok(<$value>::default())
        }
        fn visit_bool<E: Error>(self, _: bool) -> Result<$value, E> {
            Ok($none)
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<$value, E> {
            Ok($none)
        }
        fn visit_str<E: Error>(self, _: &str) -> Result<$value, E> {
            Ok($none)
        }
    };
}

impl<'de> Deserialize<'de> for SoftCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl<'de> Visitor<'de> for CountVisitor {
            accept_all!(SoftCount, SoftCount(None));

            fn visit_u64<E: Error>(self, number: u64) -> Result<SoftCount, E> {
                Ok(SoftCount(Some(number)))
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked: whole, not negative, exact"
            )]
            fn visit_f64<E: Error>(self, number: f64) -> Result<SoftCount, E> {
                let is_exact = number.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&number);
                Ok(SoftCount(is_exact.then_some(number as u64)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SoftCount, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(SoftCount(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SoftCount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(SoftCount(None))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

impl<'de> Deserialize<'de> for GpuCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GpusVisitor;
        impl<'de> Visitor<'de> for GpusVisitor {
            accept_all!(GpuCount, GpuCount(None));

            fn visit_u64<E: Error>(self, _: u64) -> Result<GpuCount, E> {
                Ok(GpuCount(None))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<GpuCount, E> {
                Ok(GpuCount(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<GpuCount, A::Error> {
                let (mut gpus, mut is_readable) = (0, true);
                while let Some(class) = list.next_element::<DeviceClass>()? {
                    match class.0.as_deref() {
                        Some("gpu") => gpus += 1,
                        Some(_) => {}
                        None => is_readable = false,
                    }
                }
                Ok(GpuCount(is_readable.then_some(gpus)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GpuCount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(GpuCount(None))
            }
        }
        deserializer.deserialize_any(GpusVisitor)
    }
}

/// The `type` of a device; `None` if it has none that can be read.
#[derive(Default)]
struct DeviceClass(Option<String>);

impl<'de> Deserialize<'de> for DeviceClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ClassVisitor;
        impl<'de> Visitor<'de> for ClassVisitor {
            accept_all!(DeviceClass, DeviceClass(None));

            fn visit_u64<E: Error>(self, _: u64) -> Result<DeviceClass, E> {
                Ok(DeviceClass(None))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<DeviceClass, E> {
                Ok(DeviceClass(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<DeviceClass, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(DeviceClass(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DeviceClass, A::Error> {
                let mut class = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "type" {
                        class = map.next_value::<SoftText>()?.0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(DeviceClass(class))
            }
        }
        deserializer.deserialize_any(ClassVisitor)
    }
}

/// Text; anything else is none.
#[derive(Default)]
struct SoftText(Option<String>);

impl<'de> Deserialize<'de> for SoftText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_str().map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::read_vms;
    use crate::snapshot::{VmSize, VmStatus};

    #[test]
    fn unreadable_sizes_are_none() {
        let count = |json: &str| serde_json::from_str::<SoftCount>(json).unwrap().0;
        assert_eq!([count("4"), count("4.0"), count("0")], [Some(4), Some(4), Some(0)]);
        for json in ["null", "-4", "4.5", "-4.0", "1e300", "\"4\"", "true", "[4]", "{\"a\": [4]}"] {
            assert_eq!(count(json), None, "{json}");
        }
        let gpus = |json: &str| serde_json::from_str::<GpuCount>(json).unwrap().0;
        assert_eq!(gpus("null"), Some(0));
        assert_eq!(gpus("[]"), Some(0));
        assert_eq!(
            gpus(r#"[{"type": "gpu", "spec": "A100"}, {"type": "nvme"}, {"spec": 1, "type": "gpu"}]"#),
            Some(2)
        );
        for json in ["1", "1.5", "\"gpu\"", "{}", "[1]", "[1.5]", "[{}]", r#"[{"type": 7}]"#, "[[]]"] {
            assert_eq!(gpus(json), None, "{json}");
        }
    }

    #[test]
    fn unreadable_size_never_fails_the_list() {
        let whole = r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": [{"type": "gpu"}]}"#;
        let size = Some(VmSize { vcpus: 4, memory_mib: 8192, gpus: 1 });
        let rows = [
            (whole, "vm.a", size),
            // The name of the list in capacities.
            (
                r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pci_devices": [{"type": "gpu"}]}"#,
                "vm.a",
                size,
            ),
            (
                r#"{"name": "vm.a", "vcpu": 4, "memory": 8192}"#,
                "vm.a",
                size.map(|of| VmSize { gpus: 0, ..of }),
            ),
            (r#"{"name": "vm.a", "vcpu": 4}"#, "vm.a", None),
            (r#"{"name": "vm.a", "vcpu": null, "memory": 8192}"#, "vm.a", None),
            (r#"{"name": "vm.a", "vcpu": "four", "memory": [8192], "pciDevices": 1}"#, "vm.a", None),
            (r#"{"name": "vm.a", "vcpu": 4, "memory": 8192, "pciDevices": {"gpu": [1]}}"#, "vm.a", None),
            (r#"{"name": "vm.a", "vcpu": -4, "memory": 8192}"#, "vm.a", None),
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
}
