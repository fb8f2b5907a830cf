//! The monthly report: every figure of it counts, so nothing in it is guessed.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::inventory::present;
use super::value::{Count, Str, Tags, Time};
use super::{Context, Row, Rows};
use crate::period::Period;
use crate::snapshot::{MonthlyReport, ProviderTotals, ReportCloud, ReportTag, ReportVm, VmStatus};

/// Reads the report key by key, so that its rows become the domain's as they come.
pub(super) struct Report<'c, 't>(pub &'c mut Context<'t>);

impl<'de> DeserializeSeed<'de> for Report<'_, '_> {
    type Value = MonthlyReport;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<MonthlyReport, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Report<'_, '_> {
    type Value = MonthlyReport;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a monthly report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MonthlyReport, A::Error> {
        let context = self.0;
        let (mut period, mut total_nodes, mut total_active_vms) = (None, None, None);
        let (mut clouds, mut by_tag, mut vms) = (None, None, None);
        while let Some(key) = map.next_key::<Str<'de>>()? {
            match &*key {
                "period" => once(&mut period, map.next_value::<PeriodRow>()?, "period")?,
                "total_nodes" => once(&mut total_nodes, map.next_value::<Count>()?, "total_nodes")?,
                "total_active_vms" => {
                    once(&mut total_active_vms, map.next_value::<Count>()?, "total_active_vms")?;
                }
                "clouds" => {
                    once(&mut clouds, map.next_value_seed(rows::<CloudRow<'_>>(context))?, "clouds")?;
                }
                "by_tag" => once(&mut by_tag, map.next_value_seed(rows::<TagRow<'_>>(context))?, "by_tag")?,
                "vms" => once(&mut vms, map.next_value_seed(rows::<VmRow<'_>>(context))?, "vms")?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = A::Error::missing_field;
        Ok(MonthlyReport {
            period: period.ok_or_else(|| missing("period"))?.convert().map_err(A::Error::custom)?,
            total_nodes: total_nodes.ok_or_else(|| missing("total_nodes"))?.0,
            total_active_vms: total_active_vms.ok_or_else(|| missing("total_active_vms"))?.0,
            clouds: clouds.ok_or_else(|| missing("clouds"))?,
            by_tag: by_tag.ok_or_else(|| missing("by_tag"))?,
            vms: vms.ok_or_else(|| missing("vms"))?,
        })
    }
}

/// A list of the report; `null` is an empty one, an absent one is an error.
fn rows<'c, 't, R>(context: &'c mut Context<'t>) -> Rows<'c, 't, (), R> {
    Rows { context, known: &(), nullable: true, row: PhantomData }
}

fn once<T, E: Error>(slot: &mut Option<T>, value: T, field: &'static str) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(field)),
    }
}

#[derive(Deserialize)]
struct PeriodRow {
    start: Time,
    end: Time,
}

impl PeriodRow {
    fn convert(self) -> Result<Period, String> {
        let (start, end) = (needed(self.start, "period.start")?, needed(self.end, "period.end")?);
        if start <= end {
            Ok(Period { start, end })
        } else {
            Err("the period ends before it begins".to_owned())
        }
    }
}

/// A time that the report cannot be without.
fn needed(time: Time, field: &str) -> Result<Timestamp, String> {
    match time {
        Time::At(at) => Ok(at),
        Time::Absent => Err(format!("no {field}")),
        Time::Unreadable(what) => Err(format!("{field}: {what}")),
    }
}

#[derive(Deserialize)]
struct CloudRow<'a> {
    #[serde(borrow, default)]
    id: Str<'a>,
    #[serde(borrow, default)]
    site: Str<'a>,
    #[serde(borrow, default)]
    instance_type: Str<'a>,
    nodes: Count,
    active_vms: Count,
    period_usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "total_vms_created")]
    created: Count,
    #[serde(rename = "total_vms_released")]
    released: Count,
    #[serde(rename = "total_vm_hours")]
    hours: Count,
}

impl From<Usage> for ProviderTotals {
    fn from(usage: Usage) -> Self {
        Self { vms_created: usage.created.0, vms_released: usage.released.0, vm_hours: usage.hours.0 }
    }
}

impl<'de: 'a, 'a> Row<'de, ()> for CloudRow<'a> {
    type Domain = ReportCloud;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<ReportCloud, String> {
        Ok(ReportCloud {
            id: context.word(present(&self.id, "id of a cloud")?),
            site: context.word(&self.site),
            node_type: context.word(&self.instance_type),
            nodes: self.nodes.0,
            active_vms: self.active_vms.0,
            usage: self.period_usage.into(),
        })
    }
}

#[derive(Deserialize)]
struct TagRow<'a> {
    #[serde(borrow, default)]
    tag: Str<'a>,
    active_vms: Count,
    total_vms_created: Count,
    total_vms_released: Count,
    total_vm_hours: Count,
}

impl<'de: 'a, 'a> Row<'de, ()> for TagRow<'a> {
    type Domain = ReportTag;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<ReportTag, String> {
        Ok(ReportTag {
            tag: context.word(present(&self.tag, "tag in by_tag")?),
            active_vms: self.active_vms.0,
            usage: ProviderTotals {
                vms_created: self.total_vms_created.0,
                vms_released: self.total_vms_released.0,
                vm_hours: self.total_vm_hours.0,
            },
        })
    }
}

#[derive(Deserialize)]
struct VmRow<'a> {
    #[serde(borrow, default)]
    vm_id: Str<'a>,
    #[serde(borrow, default)]
    name: Str<'a>,
    #[serde(borrow, default)]
    status: Str<'a>,
    #[serde(borrow, default)]
    plan: Str<'a>,
    #[serde(borrow, default)]
    image: Str<'a>,
    #[serde(borrow, default)]
    cloud_id: Str<'a>,
    #[serde(borrow, default)]
    site: Str<'a>,
    #[serde(borrow, default)]
    tags: Tags<'a>,
    #[serde(default)]
    created_at: Time,
    #[serde(default, rename = "createdAt")]
    created_at_camel: Time,
    #[serde(default)]
    released_at: Time,
    #[serde(default, rename = "releasedAt")]
    released_at_camel: Time,
    vm_hours: Count,
}

impl<'de: 'a, 'a> Row<'de, ()> for VmRow<'a> {
    type Domain = ReportVm;

    fn convert(self, (): &(), context: &mut Context<'_>) -> Result<ReportVm, String> {
        let id = present(&self.vm_id, "vm_id")?;
        let of = |what: String| format!("VM {id}: {what}");
        let released_at = match self.released_at.or(self.released_at_camel) {
            Time::Absent => None,
            time => Some(needed(time, "released_at").map_err(of)?),
        };
        Ok(ReportVm {
            created_at: needed(self.created_at.or(self.created_at_camel), "created_at").map_err(of)?,
            released_at,
            id: id.into(),
            name: (&*self.name).into(),
            status: VmStatus::from_api(if self.status.is_empty() { "unknown" } else { &self.status }),
            instance_type: context.word(&self.plan),
            image: context.word(&self.image),
            cloud_id: context.word(&self.cloud_id),
            site: context.word(&self.site),
            tags: context.texts.tags(&self.tags),
            vm_hours: self.vm_hours.0,
        })
    }
}
