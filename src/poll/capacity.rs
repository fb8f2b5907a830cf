//! Capacity of the organisation and of each cloud. If the list no longer contains the row of a cloud,
//! the cloud is requested by id.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clouds;
use crate::api::{Endpoint, Error, Run};
use crate::snapshot::{CapacityData, CloudCapacity, InventoryData, Text};

/// The rows that are kept although the list lacks them: the id of the cloud, and the monotonic time of
/// the first poll that lacked its row.
pub type Kept = BTreeMap<Text, Duration>;

/// Reads the capacity. While the list lacks the row of an existing cloud, the row of `before` is kept,
/// at most for `longest`, because its figures become outdated. The API may omit clouds without nodes;
/// `inventory` shows whether a cloud has nodes.
///
/// # Errors
/// The capacity of the organisation or the list of clouds cannot be read.
pub async fn fetch(
    run: &Run,
    before: Option<&CapacityData>,
    inventory: Option<&InventoryData>,
    kept: &mut Kept,
    now: Duration,
    longest: Duration,
) -> Result<CapacityData, Error> {
    let (total, mut clouds) = tokio::try_join!(run.capacity(), run.cloud_capacity())?;
    clouds.sort_by(|a, b| a.cloud.id.cmp(&b.cloud.id));
    let is_listed = |id: &Text| clouds.binary_search_by(|row| row.cloud.id.cmp(id)).is_ok();
    let absent = before.iter().flat_map(|before| &before.clouds).filter(|row| !is_listed(&row.cloud.id));
    let mut found = Vec::new();
    for row in absent {
        let since = kept.get(&row.cloud.id).copied().unwrap_or(now);
        if now.saturating_sub(since) <= longest && exists(run, row, inventory).await {
            found.push((row.clone(), since));
        }
    }
    *kept = found.iter().map(|(row, since)| (row.cloud.id.clone(), *since)).collect();
    clouds.extend(found.into_iter().map(|(row, _)| row));
    clouds.sort_by(|a, b| a.cloud.id.cmp(&b.cloud.id));
    Ok(CapacityData { total, clouds })
}

/// Whether a cloud without a row may have capacity: the cloud has nodes, or it is unknown whether the
/// cloud exists.
async fn exists(run: &Run, row: &CloudCapacity, inventory: Option<&InventoryData>) -> bool {
    let id = &row.cloud.id;
    if inventory.is_some_and(|inventory| inventory.nodes.iter().all(|node| node.cloud_id != *id)) {
        return false;
    }
    match run.cloud(id).await {
        Ok(_) => {
            run.defect(Endpoint::CloudCapacity, "id", id);
            true
        }
        Err(error) => !clouds::is_deleted(&error),
    }
}
