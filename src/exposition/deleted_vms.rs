//! How many deleted VMs each cloud still lists.

use super::writer::Writer;
use super::{TenantView, distinct};

pub fn write(tenant: &TenantView<'_>, writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_cloud_deleted_vms",
        "Deleted VMs that the API still lists for the cloud, as of the newest poll.",
    );
    let Some(section) = &tenant.snapshot.deleted_vms else { return };
    for (cloud_id, vms) in distinct(&section.data.clouds, |(cloud_id, _)| cloud_id) {
        family.sample(&[("tenant", tenant.name), ("cloud_id", cloud_id)], *vms);
    }
}
