//! From a method and a path to one of the eighteen operations.

/// The operations of the API, one for each method and path that its documentation lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `GET /clouds`
    Clouds,
    /// `POST /clouds`
    CreateCloud,
    /// `GET /clouds/{cloud}`
    Cloud,
    /// `DELETE /clouds/{cloud}`
    DeleteCloud,
    /// `GET /clouds/{cloud}/nodes`
    Nodes,
    /// `POST /clouds/{cloud}/nodes`
    CreateNode,
    /// `GET /clouds/{cloud}/nodes/{node}`
    Node,
    /// `DELETE /clouds/{cloud}/nodes/{node}`
    DeleteNode,
    /// `GET /images`
    Images,
    /// `GET /instanceTypes`
    InstanceTypes,
    /// `GET /clouds/{cloud}/vms`
    Vms,
    /// `POST /clouds/{cloud}/vms`
    CreateVm,
    /// `GET /clouds/{cloud}/vms/{vm}`
    Vm,
    /// `DELETE /clouds/{cloud}/vms/{vm}`
    DeleteVm,
    /// `POST /clouds/{cloud}/vms/{vm}/commands`
    Command,
    /// `GET /reports/monthly`
    Monthly,
    /// `GET /reports/capacity`
    Capacity,
    /// `GET /capacity`
    CloudCapacity,
}

impl Operation {
    /// Whether a RANGED-DATA header that makes no sense is refused. Where the documentation lists
    /// no 422 it counts as absent instead.
    pub(super) fn refuses_bad_range(self) -> bool {
        !matches!(self, Self::Clouds | Self::CloudCapacity)
    }
}

/// What a request line leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// An operation with the ids in its path.
    Found(Operation, Ids<'a>),
    /// The path is known, the method is not; these are.
    WrongMethod(&'static str),
    Unknown,
}

/// The ids of a path as they were written; "" where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids<'a> {
    pub cloud: &'a str,
    /// Of a node or a VM.
    pub child: &'a str,
}

/// Finds the operation for a method and a path without its query.
pub(super) fn route<'a>(method: &str, path: &'a str) -> Route<'a> {
    use Operation as O;
    let Some(rest) = path.strip_prefix("/v3/flexVM/") else { return Route::Unknown };
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.contains(&"") {
        return Route::Unknown;
    }
    let (known, ids): (&[(&str, Operation)], Ids<'_>) = match parts[..] {
        ["clouds"] => (&[("GET", O::Clouds), ("POST", O::CreateCloud)], Ids::default()),
        ["clouds", cloud] => (&[("GET", O::Cloud), ("DELETE", O::DeleteCloud)], Ids { cloud, child: "" }),
        ["clouds", cloud, "nodes"] => {
            (&[("GET", O::Nodes), ("POST", O::CreateNode)], Ids { cloud, child: "" })
        }
        ["clouds", cloud, "nodes", child] => {
            (&[("GET", O::Node), ("DELETE", O::DeleteNode)], Ids { cloud, child })
        }
        ["clouds", cloud, "vms"] => (&[("GET", O::Vms), ("POST", O::CreateVm)], Ids { cloud, child: "" }),
        ["clouds", cloud, "vms", child] => (&[("GET", O::Vm), ("DELETE", O::DeleteVm)], Ids { cloud, child }),
        ["clouds", cloud, "vms", child, "commands"] => (&[("POST", O::Command)], Ids { cloud, child }),
        ["images"] => (&[("GET", O::Images)], Ids::default()),
        ["instanceTypes"] => (&[("GET", O::InstanceTypes)], Ids::default()),
        ["capacity"] => (&[("GET", O::CloudCapacity)], Ids::default()),
        ["reports", "monthly"] => (&[("GET", O::Monthly)], Ids::default()),
        ["reports", "capacity"] => (&[("GET", O::Capacity)], Ids::default()),
        _ => return Route::Unknown,
    };
    match known.iter().find(|(known, _)| *known == method) {
        Some((_, operation)) => Route::Found(*operation, ids),
        None => Route::WrongMethod(match known {
            [("GET", _), ("POST", _)] => "GET, POST",
            [("GET", _), ("DELETE", _)] => "GET, DELETE",
            [("POST", _)] => "POST",
            _ => "GET",
        }),
    }
}
