//! The operations that read, but for the monthly report.

use serde::Serialize;

use super::answer::Answer;
use super::catalogue::{IMAGES, SIZES};
use super::timeline::VmStatus;
use super::wire::{ImageOut, InstanceType};
use super::world::World;

/// The part of a list that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub start: usize,
    pub results: usize,
}

/// The documented default.
const DEFAULT: Range = Range { start: 0, results: 25 };

impl Range {
    /// Reads `start=0,results=25`; what cannot be read is the default, since no error is documented.
    pub fn parse(header: Option<&str>, cap: Option<usize>) -> Self {
        let mut range = DEFAULT;
        for (key, value) in header.unwrap_or_default().split(',').filter_map(|part| part.split_once('=')) {
            let Ok(value) = value.trim().parse::<usize>() else { continue };
            match key.trim() {
                "start" => range.start = value,
                "results" if value > 0 => range.results = value,
                _ => {}
            }
        }
        range.results = range.results.min(cap.unwrap_or(usize::MAX));
        range
    }

    /// Everything.
    pub const ALL: Self = Self { start: 0, results: usize::MAX };
}

/// A page of a list: rows past its end are none, not an error.
fn page<I, T: Serialize>(rows: I, range: Range) -> Answer
where
    I: IntoIterator<Item = T>,
{
    let rows: Vec<T> = rows.into_iter().skip(range.start).take(range.results).collect();
    Answer::json(200, &rows)
}

impl World {
    pub(super) fn list_clouds(&self, range: Range) -> Answer {
        page(self.living_clouds().into_iter().map(|cloud| self.cloud_out(cloud)), range)
    }

    pub(super) fn list_nodes(&self, cloud: usize, range: Range) -> Answer {
        page(self.nodes_of(cloud).map(|node| self.node_out(node)), range)
    }

    pub(super) fn list_images(range: Range) -> Answer {
        page(IMAGES.iter().map(ImageOut::from), range)
    }

    pub(super) fn list_instance_types(range: Range) -> Answer {
        page(SIZES.iter().map(InstanceType::from), range)
    }

    /// One status a call; without one, or with a word that is none, 422.
    pub(super) fn list_vms(&self, cloud: usize, status: Option<&str>, range: Range) -> Answer {
        let Some(status) = status else {
            return Answer::unprocessable([("status", "This value is required.".to_owned())]);
        };
        let Some(status) = VmStatus::parse(status) else {
            let words: Vec<_> = VmStatus::ALL.iter().map(|status| status.word()).collect();
            return Answer::unprocessable([("status", format!("Must be one of: {}.", words.join(", ")))]);
        };
        let cloud = &self.clouds[cloud];
        let vms = if status == VmStatus::Deleted { &cloud.gone } else { &cloud.living };
        let matching = vms.iter().map(|(_, vm)| *vm).filter(|vm| self.vm_status(*vm) == status);
        page(matching.map(|vm| self.vm_out(vm)), range)
    }

    pub(super) fn list_capacity(&self, range: Range) -> Answer {
        page(self.living_clouds().into_iter().map(|cloud| self.cloud_capacity_out(cloud)), range)
    }

    pub(super) fn capacity(&self) -> Answer {
        Answer::json(200, &self.capacity_of(&self.living_clouds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_kindly_and_clamped() {
        let range = |header, cap| {
            let range = Range::parse(header, cap);
            (range.start, range.results)
        };
        assert_eq!(range(None, None), (0, 25));
        assert_eq!(range(Some("start=50,results=100"), None), (50, 100));
        assert_eq!(range(Some(" results = 100 , start = 3"), Some(40)), (3, 40));
        assert_eq!(range(Some("start=-1,results=0,x"), None), (0, 25));
    }
}
