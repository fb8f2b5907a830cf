//! The operations that read, paging, and the way from a request to the operation that answers it.
//! Those that write are in [`super::write`].

use serde::Serialize;
use uuid::Uuid;

use super::answer::{Answer, Problem};
use super::catalogue::{IMAGES, SIZES};
use super::monthly;
use super::route::{Ids, Operation};
use super::timeline::{NodeStatus, VmStatus};
use super::wire::{ImageOut, InstanceType};
use super::world::World;

/// Rows without a RANGED-DATA header.
const DEFAULT_RESULTS: usize = 25;

/// A request once its method and path are understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub operation: Operation,
    pub ids: Ids<'a>,
    pub query: &'a str,
    /// The RANGED-DATA header.
    pub range: Option<&'a str>,
    /// As if the server had never heard of RANGED-DATA: a fault.
    pub whole_list: bool,
    /// Rows by which every page but the first comes too early (or too late): a fault.
    pub shift: i64,
    pub body: &'a [u8],
}

/// Which rows of a list are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    start: usize,
    results: usize,
}

impl Call<'_> {
    fn page(&self, cap: Option<usize>) -> Result<Page, Problem> {
        if self.whole_list {
            return Ok(Page { start: 0, results: usize::MAX });
        }
        let page = self.range.map(parse_range);
        if page == Some(None) && self.operation.refuses_bad_range() {
            return Err(Problem::invalid("RANGED-DATA", "must read start=0,results=25"));
        }
        let mut page = page.flatten().unwrap_or(Page { start: 0, results: DEFAULT_RESULTS });
        page.results = page.results.min(cap.unwrap_or(usize::MAX));
        if page.start > 0 {
            let shift = isize::try_from(self.shift).unwrap_or(0);
            page.start = page.start.saturating_add_signed(shift);
        }
        Ok(page)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Reads `start=0,results=25`, either part of which may be missing.
fn parse_range(header: &str) -> Option<Page> {
    let mut page = Page { start: 0, results: DEFAULT_RESULTS };
    for part in header.split(',') {
        let (key, value) = part.split_once('=')?;
        let value = value.trim().parse().ok()?;
        match key.trim() {
            "start" => page.start = value,
            "results" if value > 0 => page.results = value,
            _ => return None,
        }
    }
    Some(page)
}

/// The rows of a page; past the end there are none.
fn list<T, Row: Serialize>(
    page: Page,
    items: impl IntoIterator<Item = T>,
    row: impl FnMut(T) -> Row,
) -> Answer {
    let rows: Vec<Row> = items.into_iter().skip(page.start).take(page.results).map(row).collect();
    Answer::json(200, &rows)
}

/// An id as the API writes it; anything else is 422.
fn id(property: &str, text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text)
        .ok()
        .filter(|_| text.len() == 36)
        .ok_or_else(|| Problem::invalid(property, "is not a UUID"))
}

impl World {
    /// Answers a call at the world's time.
    pub(super) fn answer(&mut self, call: &Call<'_>) -> Answer {
        self.try_answer(call).unwrap_or_else(Answer::from)
    }

    fn try_answer(&mut self, call: &Call<'_>) -> Result<Answer, Problem> {
        let cap = self.options.page_cap;
        let page = || call.page(cap);
        Ok(match call.operation {
            Operation::Clouds => list(page()?, self.living_clouds(), |cloud| self.cloud_out(cloud)),
            Operation::Cloud => Answer::json(200, &self.cloud_out(self.cloud(call)?)),
            Operation::Nodes => {
                let cloud = self.cloud(call)?;
                list(page()?, self.nodes_of(cloud), |node| self.node_out(node))
            }
            Operation::Node => Answer::json(200, &self.node_out(self.node(call)?)),
            Operation::Images => list(page()?, &IMAGES, ImageOut::from),
            Operation::InstanceTypes => list(page()?, &SIZES, InstanceType::from),
            Operation::Vms => {
                let cloud = self.cloud(call)?;
                let status = call.parameter("status");
                let status = status.as_deref().and_then(VmStatus::parse);
                let wrong = || Problem::invalid("status", "is required and must be a VM status");
                list(page()?, self.vms_with(cloud, status.ok_or_else(wrong)?), |vm| self.vm_out(vm))
            }
            Operation::Vm => Answer::json(200, &self.vm_out(self.vm(call)?)),
            Operation::Capacity => Answer::json(200, &self.capacity_of(&self.living_clouds())),
            Operation::CloudCapacity => {
                list(page()?, self.living_clouds(), |cloud| self.cloud_capacity_out(cloud))
            }
            Operation::Monthly => {
                let (start, end) = (call.parameter("start"), call.parameter("end"));
                let span = monthly::period(start.as_deref(), end.as_deref(), self.now)?;
                Answer::json(200, &monthly::report(self, span))
            }
            Operation::CreateCloud => self.create_cloud(call.body)?,
            Operation::DeleteCloud => self.delete_cloud(self.cloud(call)?)?,
            Operation::CreateNode => {
                let node = self.order_node(self.cloud(call)?);
                Answer::json(201, &self.node_out(node))
            }
            Operation::DeleteNode => self.delete_node(self.node(call)?)?,
            Operation::CreateVm => self.post_vm(self.cloud(call)?, call.body)?,
            Operation::DeleteVm => self.delete_vm_by_request(self.vm(call)?)?,
            Operation::Command => self.command(self.vm(call)?, call.body)?,
        })
    }

    /// VMs of a cloud in a status, deleted ones until they are forgotten.
    fn vms_with(&self, cloud: usize, status: VmStatus) -> impl Iterator<Item = usize> {
        let cloud = &self.clouds[cloud];
        let vms = if status == VmStatus::Deleted { &cloud.gone } else { &cloud.living };
        vms.iter()
            .map(|(_, vm)| *vm)
            .filter(move |vm| self.vm_status(*vm) == status && !self.is_forgotten(*vm))
    }

    fn is_forgotten(&self, vm: usize) -> bool {
        let kept = self.options.forget_deleted.map(|kept| i64::try_from(kept.as_secs()).unwrap_or(i64::MAX));
        match (self.vms[vm].deleted, kept) {
            (Some(at), Some(kept)) => self.now >= at.saturating_add(kept),
            _ => false,
        }
    }

    fn cloud(&self, call: &Call<'_>) -> Result<usize, Problem> {
        let cloud = self.cloud_ids.get(&id("cloudUuid", call.ids.cloud)?).copied();
        cloud.filter(|cloud| self.clouds[*cloud].deleted.is_none()).ok_or_else(Problem::not_found)
    }

    fn node(&self, call: &Call<'_>) -> Result<usize, Problem> {
        let cloud = self.cloud(call)?;
        let node = self.node_ids.get(&id("nodeUuid", call.ids.child)?).copied();
        node.filter(|node| self.nodes[*node].cloud == cloud && self.node_status(*node) != NodeStatus::Deleted)
            .ok_or_else(Problem::not_found)
    }

    fn vm(&self, call: &Call<'_>) -> Result<usize, Problem> {
        let cloud = self.cloud(call)?;
        let vm = self.vm_ids.get(&id("vmUuid", call.ids.child)?).copied();
        vm.filter(|vm| self.vms[*vm].cloud == cloud && !self.is_forgotten(*vm)).ok_or_else(Problem::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_refused() {
        let page = |start, results| Some(Page { start, results });
        assert_eq!(parse_range("start=0,results=25"), page(0, 25));
        assert_eq!(parse_range("results=7, start=50"), page(50, 7));
        assert_eq!(parse_range("start=5"), page(5, 25));
        for wrong in ["", "0-25", "start=-1,results=2", "start=0,results=0", "start=a", "offset=1"] {
            assert_eq!(parse_range(wrong), None, "{wrong:?}");
        }
    }
}
