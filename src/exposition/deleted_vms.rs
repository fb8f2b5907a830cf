//! How many deleted VMs each cloud still lists.

use super::TenantView;
use super::writer::Writer;

pub fn write(tenants: &[TenantView<'_>], writer: &mut Writer) {
    let mut family = writer.family(
        "flexvm_cloud_deleted_vms",
        "Deleted VMs that the API still lists for the cloud, as of the newest poll.",
    );
    for tenant in tenants {
        for (cloud_id, vms) in tenant.snapshot.deleted_vms.iter().flat_map(|section| &section.data.clouds) {
            family.sample(&[("tenant", tenant.name), ("cloud_id", cloud_id)], *vms);
        }
    }
}
