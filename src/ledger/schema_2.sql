-- Whether the ledger was begun although reports of earlier months existed.
ALTER TABLE tenant ADD COLUMN beside_reports INTEGER NOT NULL DEFAULT 0;

-- Instance types of the catalogue with their validity, one row per change. Times are seconds since 1970.
CREATE TABLE instance_type (
    tenant INTEGER NOT NULL REFERENCES tenant,
    name TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    -- Time of the first catalogue that lacked the type or described it differently.
    valid_until INTEGER,
    vcpus INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL,
    disk_gib INTEGER NOT NULL,
    -- JSON array of [class, specification].
    pci_devices TEXT NOT NULL,
    PRIMARY KEY (tenant, name, valid_from)
) STRICT;

-- Clouds with their validity, one row per change.
CREATE TABLE cloud (
    tenant INTEGER NOT NULL REFERENCES tenant,
    cloud_id TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    -- Time of the first poll that no longer found the cloud, or found it with other properties.
    valid_until INTEGER,
    name TEXT NOT NULL,
    site TEXT NOT NULL,
    node_type TEXT NOT NULL,
    created_at INTEGER,
    PRIMARY KEY (tenant, cloud_id, valid_from)
) STRICT;

-- Every size that a row of a list of VMs has stated.
CREATE TABLE size (
    id INTEGER PRIMARY KEY,
    instance_type TEXT NOT NULL,
    vcpus INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL,
    gpus INTEGER NOT NULL,
    UNIQUE (instance_type, vcpus, memory_mib, gpus)
) STRICT;

-- The size of each VM by its own row, from the poll that first saw it on; one row per change.
CREATE TABLE vm_size (
    vm INTEGER NOT NULL REFERENCES vm,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL REFERENCES size,
    PRIMARY KEY (vm, at)
) STRICT, WITHOUT ROWID;

