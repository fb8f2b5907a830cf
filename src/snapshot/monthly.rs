//! The provider's monthly report.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Text, VmStatus};
use crate::period::Period;

/// What the provider's monthly report says, before anything is computed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthlyReport {
    /// The period that the report is for, in the provider's words.
    pub period: Period,
    /// Nodes across all clouds, at the time of the request.
    pub total_nodes: u64,
    /// VMs not deleted, at the time of the request.
    pub total_active_vms: u64,
    /// One row a cloud.
    pub clouds: Vec<ReportCloud>,
    /// One row a tag; VMs with several tags are in several, untagged VMs in none.
    pub by_tag: Vec<ReportTag>,
    /// One row a VM that existed in the period.
    pub vms: Vec<ReportVm>,
}

/// A cloud's row of the provider's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportCloud {
    /// Cloud UUID.
    pub id: Text,
    /// Site code.
    pub site: Text,
    /// Bare-metal type.
    pub node_type: Text,
    /// Nodes now.
    pub nodes: u64,
    /// VMs not deleted now.
    pub active_vms: u64,
    /// What happened in the period.
    pub usage: ProviderTotals,
}

/// A tag's row of the provider's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTag {
    /// The raw tag.
    pub tag: Text,
    /// VMs not deleted now.
    pub active_vms: u64,
    /// What happened in the period.
    pub usage: ProviderTotals,
}

/// The provider's own totals for a cloud or a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderTotals {
    /// VMs created within the period.
    pub vms_created: u64,
    /// VMs released (deleted) within the period.
    pub vms_released: u64,
    /// Hours, rounded up in a way that the API does not say.
    pub vm_hours: u64,
}

/// A VM's row of the provider's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportVm {
    /// VM UUID.
    pub id: Text,
    /// Name.
    pub name: Text,
    /// Status when the report was made.
    pub status: VmStatus,
    /// Instance type (the API's `plan`).
    pub instance_type: Text,
    /// Image.
    pub image: Text,
    /// Cloud UUID.
    pub cloud_id: Text,
    /// Site code.
    pub site: Text,
    /// Tags, sorted, distinct, none empty.
    pub tags: Arc<[Text]>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was released; none while it lives.
    pub released_at: Option<Timestamp>,
    /// The provider's whole hours for this VM.
    pub vm_hours: u64,
}
