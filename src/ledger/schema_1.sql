-- One row a tenant, never removed.
CREATE TABLE tenant (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The month of the first start: months from here on are never missed.
    since TEXT
) STRICT;

-- One row a complete poll of the inventory. Times are seconds since 1970.
CREATE TABLE poll (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenant,
    at INTEGER NOT NULL,
    -- The poll before, if what was between counts as observed; judged when the poll was recorded.
    observed_from INTEGER,
    vms INTEGER NOT NULL,
    UNIQUE (tenant, at)
) STRICT;

-- Every VM that was ever seen, as the newest poll left it. Changed only when the VM changes.
CREATE TABLE vm (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenant,
    vm_id TEXT NOT NULL,
    cloud_id TEXT NOT NULL,
    status TEXT NOT NULL,
    -- Time of the first poll that saw this status.
    since INTEGER NOT NULL,
    -- Whether the newest poll learned nothing of it.
    lost INTEGER NOT NULL,
    -- Time of the first poll that found it gone.
    gone INTEGER,
    UNIQUE (tenant, vm_id)
) STRICT;

-- What changed, append only.
CREATE TABLE event (
    vm INTEGER NOT NULL REFERENCES vm,
    poll INTEGER NOT NULL REFERENCES poll,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (vm, poll)
) STRICT, WITHOUT ROWID;

-- One row a revision of a closed month.
CREATE TABLE revision (
    tenant INTEGER NOT NULL REFERENCES tenant,
    month TEXT NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'published')),
    -- SHA-256 of the file of checksums, which names every other file.
    digest TEXT NOT NULL,
    closed_at INTEGER NOT NULL,
    -- Everything that it was made from, compressed; none for reports older than the ledger.
    inputs BLOB,
    PRIMARY KEY (tenant, month, revision)
) STRICT;
