//! The number of deleted VMs that each cloud still lists.

use super::absences::{Absences, Absent};
use super::clouds::{self, Contents};
use crate::api::{Error, Run};
use crate::snapshot::{Cloud, DeletedVmsData, VmStatus};

/// State that the collector keeps between polls.
#[derive(Debug, Default)]
pub struct Memory {
    /// The clouds of the latest complete poll.
    clouds: Vec<Cloud>,
    absences: Absences,
}

/// Reads the number of deleted VMs of each cloud. The known clouds are those of `inventory`. Without an
/// inventory, they are the clouds of the latest poll.
///
/// # Errors
/// The list of clouds, or the list of deleted VMs of a cloud, cannot be read.
pub async fn fetch(
    run: &Run,
    inventory: Option<&[Cloud]>,
    memory: &mut Memory,
    now: std::time::Duration,
) -> Result<DeletedVmsData, Error> {
    let known = inventory.unwrap_or(&memory.clouds).to_vec();
    let (mut clouds, mut data) = (Vec::new(), DeletedVmsData::default());
    for candidate in clouds::candidates(run, known).await? {
        let id = candidate.cloud.id.clone();
        if candidate.is_listed {
            memory.absences.forget(&Absent::Cloud(id.clone()));
        }
        match clouds::read(run, candidate, run.vms(&id, &VmStatus::Deleted)).await? {
            Contents::Read(candidate, vms) => {
                data.clouds.push((id, vms.len() as u64));
                clouds.push(candidate.cloud);
            }
            Contents::Deleted => {}
            Contents::NotFound(_, error) => {
                if !memory.absences.is_confirmed(Absent::Cloud(id), now) {
                    return Err(error);
                }
            }
        }
    }
    data.clouds.sort();
    memory.clouds = clouds;
    Ok(data)
}
