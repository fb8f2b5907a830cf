-- The latest comparison of each closed month with the provider's current report. Times are seconds since 1970.
CREATE TABLE comparison (
    tenant INTEGER NOT NULL REFERENCES tenant,
    month TEXT NOT NULL,
    -- The revision that was compared.
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- The difference that was found; 0 if there was none or if it is waived.
    vm_seconds INTEGER NOT NULL,
    cloud_seconds INTEGER NOT NULL,
    tag_seconds INTEGER NOT NULL,
    PRIMARY KEY (tenant, month)
) STRICT;

-- One row per difference that a comparison found; rows are never removed.
CREATE TABLE difference (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenant,
    month TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- SHA-256 of everything that counts in the provider's response.
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('read', 'open', 'restated', 'waived', 'vanished', 'replaced')),
    first_read INTEGER NOT NULL,
    last_read INTEGER NOT NULL,
    opened INTEGER,
    ended INTEGER,
    vms INTEGER NOT NULL,
    vm_seconds INTEGER NOT NULL,
    cloud_seconds INTEGER NOT NULL,
    tag_seconds INTEGER NOT NULL,
    -- Why an operator waived it.
    reason TEXT
) STRICT;

CREATE INDEX difference_of_month ON difference (tenant, month, state);
