//! Nodes that the list of their cloud no longer contains.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::{LOOKUPS_AT_ONCE, bounded};
use crate::api::{Endpoint, Error, Reason, Run};
use crate::poll::absences::{Absences, Absent};
use crate::poll::clouds::is_deleted;
use crate::snapshot::{InventoryData, Node, Text};

/// The status of a node that no longer exists.
const DELETED: &str = "deleted";

/// Requests each node of `before` by id that no list of `data` contains. A node is kept unless its
/// deletion is confirmed. Sorts the nodes by id. The clouds of `data` must be complete.
pub(super) async fn confirm(
    run: &Run,
    before: Option<&InventoryData>,
    data: &mut InventoryData,
    absences: &mut Absences,
    now: Duration,
) {
    let missing = missing(before, data);
    let (requested, later) = bounded(run.tenant(), missing, "nodes");
    let requests = requested.into_iter().map(|node| async move {
        let response = run.node(&node.cloud_id, &node.id).await;
        (node, response)
    });
    let responses: Vec<_> = stream::iter(requests).buffer_unordered(LOOKUPS_AT_ONCE).collect().await;
    let mut unresolved: HashSet<(Text, Text)> = HashSet::new();
    for (node, response) in responses {
        match response {
            Ok(found) if &*found.status == DELETED => {}
            Ok(found) => {
                run.defect(Endpoint::Nodes, "id", &node.id);
                data.nodes.push(Arc::new(found));
            }
            Err(error) if is_confirmed(&error, &node, absences, now) => {}
            Err(error) => {
                run.defect(Endpoint::Node, "id", &format_args!("{}: {error}", node.id));
                unresolved.insert((node.cloud_id.clone(), node.id.clone()));
                data.nodes.push(node);
            }
        }
    }
    unresolved.extend(later.iter().map(|node| (node.cloud_id.clone(), node.id.clone())));
    data.nodes.extend(later);
    absences.retain(|object| match object {
        Absent::Node(cloud_id, id) => unresolved.contains(&(cloud_id.clone(), id.clone())),
        _ => true,
    });
    data.nodes.sort_by(|a, b| (&a.cloud_id, &a.id).cmp(&(&b.cloud_id, &b.id)));
}

/// The nodes of `before` whose cloud exists and does not list them.
fn missing(before: Option<&InventoryData>, data: &InventoryData) -> Vec<Arc<Node>> {
    let Some(before) = before else { return Vec::new() };
    let listed: HashSet<(&Text, &Text)> = data.nodes.iter().map(|node| (&node.cloud_id, &node.id)).collect();
    let exists = |id: &Text| data.clouds.binary_search_by(|cloud| cloud.id.cmp(id)).is_ok();
    let nodes = before.nodes.iter().filter(|node| &*node.status != DELETED && exists(&node.cloud_id));
    nodes.filter(|node| !listed.contains(&(&node.cloud_id, &node.id))).cloned().collect()
}

/// Whether the deletion is confirmed, either by this error of the request by id or by the time since
/// the first such error.
fn is_confirmed(error: &Error, node: &Node, absences: &mut Absences, now: Duration) -> bool {
    let absent = || Absent::Node(node.cloud_id.clone(), node.id.clone());
    is_deleted(error) || error.reason() == Reason::NotFound && absences.is_confirmed(absent(), now)
}
