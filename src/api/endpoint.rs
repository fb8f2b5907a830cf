//! What is asked of the API, as a closed set, and who wants to know of each request.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::Reason;

/// A read operation of the API: the value of every label `endpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `/v3/flexVM/clouds`
    Clouds,
    /// `/v3/flexVM/clouds/{cloud}`
    Cloud,
    /// `/v3/flexVM/clouds/{cloud}/nodes`
    Nodes,
    /// `/v3/flexVM/clouds/{cloud}/nodes/{node}`
    Node,
    /// `/v3/flexVM/instanceTypes`
    InstanceTypes,
    /// `/v3/flexVM/images`
    Images,
    /// `/v3/flexVM/clouds/{cloud}/vms?status=`
    Vms,
    /// `/v3/flexVM/clouds/{cloud}/vms/{vm}`
    Vm,
    /// `/v3/flexVM/capacity`
    CloudCapacity,
    /// `/v3/flexVM/reports/capacity`
    Capacity,
    /// `/v3/flexVM/reports/monthly`
    Monthly,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 11] = [
        Self::Clouds,
        Self::Cloud,
        Self::Nodes,
        Self::Node,
        Self::InstanceTypes,
        Self::Images,
        Self::Vms,
        Self::Vm,
        Self::CloudCapacity,
        Self::Capacity,
        Self::Monthly,
    ];

    /// Whether each row has the id of a cloud, node or VM.
    pub(super) fn has_ids(self) -> bool {
        match self {
            Self::Clouds
            | Self::Cloud
            | Self::Nodes
            | Self::Node
            | Self::Vms
            | Self::Vm
            | Self::CloudCapacity => true,
            Self::InstanceTypes | Self::Images | Self::Capacity | Self::Monthly => false,
        }
    }

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clouds => "clouds",
            Self::Cloud => "cloud",
            Self::Nodes => "nodes",
            Self::Node => "node",
            Self::InstanceTypes => "instance_types",
            Self::Images => "images",
            Self::Vms => "vms",
            Self::Vm => "vm",
            Self::CloudCapacity => "cloud_capacity",
            Self::Capacity => "capacity",
            Self::Monthly => "monthly",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request ended: the value of the label `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The HTTP status, once headers have arrived; also when the body then fails.
    Status(u16),
    /// Why there is no status.
    Reason(Reason),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Reason(reason) => f.write_str(reason.as_str()),
        }
    }
}

/// Is told of every request and every retry, as they happen. Must not block.
pub trait Observer: Send + Sync {
    /// A request has ended, after `elapsed` from its sending to the end of its body.
    fn request(&self, endpoint: Endpoint, code: Code, elapsed: Duration);
    /// A failed request is going to be sent again.
    fn retry(&self, endpoint: Endpoint);
    /// The server's certificate, on the connection of the latest request, is valid until `expiry`.
    fn certificate(&self, _expiry: Timestamp) {}
}

/// An [`Observer`] for callers that do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn request(&self, _: Endpoint, _: Code, _: Duration) {}
    fn retry(&self, _: Endpoint) {}
}
