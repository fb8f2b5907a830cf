//! The monthly report: every figure of it counts, so nothing in it is guessed.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::super::unknown::Path;
use super::compound::{List, Object};
use super::inventory::{identifier, present, valid};
use super::row::{Report as _, row};
use super::time::Time;
use super::value::{Count, Key, Str};
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
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match &*key.0 {
                "period" => {
                    let row = map.next_value::<Object<PeriodRow<'de>>>()?;
                    row.report(&Path::default().field("period"), &mut context.unknown);
                    once(&mut period, row, "period")?;
                }
                "total_nodes" => once(&mut total_nodes, map.next_value::<Count>()?, "total_nodes")?,
                "total_active_vms" => {
                    once(&mut total_active_vms, map.next_value::<Count>()?, "total_active_vms")?;
                }
                "clouds" => {
                    once(
                        &mut clouds,
                        map.next_value_seed(rows::<CloudRow<'_>>(context, "clouds"))?,
                        "clouds",
                    )?;
                }
                "by_tag" => {
                    once(&mut by_tag, map.next_value_seed(rows::<TagRow<'_>>(context, "by_tag"))?, "by_tag")?;
                }
                "vms" => once(&mut vms, map.next_value_seed(rows::<VmRow<'_>>(context, "vms"))?, "vms")?,
                name => {
                    context.unknown.meet(&Path::default(), name);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = A::Error::missing_field;
        let mut vms = vms.ok_or_else(|| missing("vms"))?;
        // What is made of a month goes by id, several times: what is in order already is not sorted again.
        vms.sort_by(|a: &ReportVm, b| a.id.cmp(&b.id));
        let count =
            |count: Option<Count>, field| count.unwrap_or_default().get(field).map_err(A::Error::custom);
        let period = period.ok_or_else(|| missing("period"))?;
        Ok(MonthlyReport {
            period: period.needed("period").and_then(PeriodRow::convert).map_err(A::Error::custom)?,
            total_nodes: count(total_nodes, "total_nodes")?,
            total_active_vms: count(total_active_vms, "total_active_vms")?,
            clouds: clouds.ok_or_else(|| missing("clouds"))?,
            by_tag: by_tag.ok_or_else(|| missing("by_tag"))?,
            vms,
        })
    }
}

/// A list of the report; `null` is an empty one, an absent one is an error.
fn rows<'c, 't, R>(context: &'c mut Context<'t>, field: &'static str) -> Rows<'c, 't, (), R> {
    Rows { context, known: &(), field: Some(field), row: PhantomData }
}

fn once<T, E: Error>(slot: &mut Option<T>, value: T, field: &'static str) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(field)),
    }
}

row! {
    struct PeriodRow {
        start: Time = "start",
        end: Time = "end",
    }
    skip {}
}

impl PeriodRow<'_> {
    fn convert(&self) -> Result<Period, String> {
        let (start, end) = (self.start.needed("period.start")?, self.end.needed("period.end")?);
        if start <= end {
            Ok(Period { start, end })
        } else {
            Err("the period ends before it begins".to_owned())
        }
    }
}

row! {
    struct CloudRow {
        id: Str<'a> = "id",
        site: Str<'a> = "site",
        instance_type: Str<'a> = "instance_type",
        nodes: Count = "nodes",
        active_vms: Count = "active_vms",
        period_usage: Object<Usage<'a>> = "period_usage",
    }
    skip {}
}

row! {
    struct Usage {
        created: Count = "total_vms_created",
        released: Count = "total_vms_released",
        hours: Count = "total_vm_hours",
    }
    skip {}
}

impl Usage<'_> {
    fn convert(&self) -> Result<ProviderTotals, String> {
        Ok(ProviderTotals {
            vms_created: self.created.get("total_vms_created")?,
            vms_released: self.released.get("total_vms_released")?,
            vm_hours: self.hours.get("total_vm_hours")?,
        })
    }
}

impl<'a> Row<'a, ()> for CloudRow<'a> {
    type Domain = ReportCloud;

    const KIND: &'static str = "cloud";

    fn key(&self) -> Result<&str, String> {
        identifier(&self.id, "id in clouds")
    }

    fn convert(&self, id: &str, (): &(), context: &mut Context<'_>) -> Result<ReportCloud, String> {
        Ok(ReportCloud {
            id: context.word(&context.id(id)),
            site: context.word(self.site.get("site")?),
            node_type: context.word(self.instance_type.get("instance_type")?),
            nodes: self.nodes.get("nodes")?,
            active_vms: self.active_vms.get("active_vms")?,
            usage: Usage::convert(self.period_usage.needed("period_usage")?)
                .map_err(|what| format!("period_usage: {what}"))?,
        })
    }
}

row! {
    struct TagRow {
        tag: Str<'a> = "tag",
        active_vms: Count = "active_vms",
        total_vms_created: Count = "total_vms_created",
        total_vms_released: Count = "total_vms_released",
        total_vm_hours: Count = "total_vm_hours",
    }
    skip {}
}

impl<'a> Row<'a, ()> for TagRow<'a> {
    type Domain = ReportTag;

    const KIND: &'static str = "tag";

    fn key(&self) -> Result<&str, String> {
        present(&self.tag, "tag in by_tag")
    }

    fn convert(&self, tag: &str, (): &(), context: &mut Context<'_>) -> Result<ReportTag, String> {
        Ok(ReportTag {
            tag: context.word(tag),
            active_vms: self.active_vms.get("active_vms")?,
            usage: ProviderTotals {
                vms_created: self.total_vms_created.get("total_vms_created")?,
                vms_released: self.total_vms_released.get("total_vms_released")?,
                vm_hours: self.total_vm_hours.get("total_vm_hours")?,
            },
        })
    }
}

row! {
    struct VmRow {
        vm_id: Str<'a> = "vm_id",
        name: Str<'a> = "name",
        status: Str<'a> = "status",
        plan: Str<'a> = "plan",
        image: Str<'a> = "image",
        cloud_id: Str<'a> = "cloud_id",
        site: Str<'a> = "site",
        tags: List<Str<'a>> = "tags",
        created_at: Time = "created_at",
        created_at_camel: Time = "createdAt",
        released_at: Time = "released_at",
        released_at_camel: Time = "releasedAt",
        vm_hours: Count = "vm_hours",
    }
    skip {}
}

impl<'a> Row<'a, ()> for VmRow<'a> {
    type Domain = ReportVm;

    const KIND: &'static str = "VM";

    fn key(&self) -> Result<&str, String> {
        identifier(&self.vm_id, "vm_id")
    }

    fn convert(&self, id: &str, (): &(), context: &mut Context<'_>) -> Result<ReportVm, String> {
        let released_at = match self.released_at.or(&self.released_at_camel) {
            Time::Absent => None,
            time => Some(time.needed("released_at")?),
        };
        let status = self.status.get("status")?;
        let tags = self.tags.get("tags")?.iter().map(|tag| tag.get("tags"));
        let tags = tags.collect::<Result<Vec<_>, _>>()?;
        Ok(ReportVm {
            created_at: self.created_at.or(&self.created_at_camel).needed("created_at")?,
            released_at,
            id: (&*context.id(id)).into(),
            name: self.name.get("name")?.into(),
            status: VmStatus::from_api(if status.is_empty() { "unknown" } else { status }),
            instance_type: context.word(self.plan.get("plan")?),
            image: context.word(self.image.get("image")?),
            cloud_id: context.word(&context.id(valid(self.cloud_id.get("cloud_id")?, "cloud_id")?)),
            site: context.word(self.site.get("site")?),
            tags: context.texts.tags(tags.into_iter()),
            vm_hours: self.vm_hours.get("vm_hours")?,
        })
    }
}
