"""Recomputes a month's files from its by-vm.csv alone, in DuckDB, and prints every difference.

    recompute.py FOLDER PREFIX      PREFIX such as flexvm-usage_k1_2026-10_r01_

Shares no code with the exporter: it knows what docs/ and the README say of the columns. Ends with 1 if
anything differs, and says how many cells it compared.
"""

import json
import sys

import duckdb

folder, prefix = sys.argv[1:3]
path = lambda end: f"{folder}/{prefix}{end}"
db = duckdb.connect()


def load(table, end):
    # Everything as text: nothing is guessed, and no float comes in.
    db.execute(
        f"CREATE TABLE {table} AS SELECT * FROM read_csv(?, header=true, all_varchar=true, nullstr='',"
        " strict_mode=true, delim=',', quote='\"', escape='\"')",
        [path(end)],
    )


for table, end in [("vm", "by-vm.csv"), ("by_tag", "by-tag.csv"), ("by_group", "by-group.csv"), ("control", "control.csv")]:
    load(table, end)
with open(path("manifest.json"), encoding="utf-8") as file:
    manifest = json.load(file)

# What a spreadsheet would run begins with an apostrophe in the files.
db.execute("""
    CREATE MACRO guarded(cell) AS CASE
        WHEN regexp_matches(cell, '^[=+@\t\r\n''-]') THEN '''' || cell ELSE cell END;
    CREATE MACRO escaped(part) AS replace(replace(part, '\\', '\\\\'), ';', '\\;');
    CREATE MACRO joined(parts) AS array_to_string([escaped(part) FOR part IN parts], ';');
    CREATE MACRO key_of(tag) AS split_part(tag, ':', 1);
    CREATE MACRO value_of(tag) AS CASE
        WHEN position(':' IN tag) = 0 THEN '' ELSE substr(tag, position(':' IN tag) + 1) END;
""")
SECONDS = ["vm_seconds", "running_seconds", "stopped_seconds", "failed_seconds", "other_seconds", "unobserved_seconds"]
HOURS = ["vcpu_hours", "memory_gib_hours", "gpu_hours"]
db.execute("""
    CREATE TABLE life AS SELECT *,
        CAST(tags AS JSON)::VARCHAR[] AS tag_list,
        created_at < period_start AND (released_at IS NULL OR released_at >= period_start) AS at_start,
        created_at >= period_start AND created_at < period_end AS created,
        released_at >= period_start AND released_at < period_end AS released,
        created_at < period_end AND (released_at IS NULL OR released_at >= period_end) AS at_end
    FROM vm
""")
measures = ", ".join(
    [
        "count(*) AS vms",
        "count(*) FILTER (created) AS vms_created",
        "count(*) FILTER (released) AS vms_released",
        "count(*) FILTER (at_end) AS vms_at_end",
        "coalesce(sum(CAST(vm_hours AS HUGEINT)), 0) AS vm_hours",
        *[f"coalesce(sum(CAST({name} AS HUGEINT)), 0) AS {name}" for name in SECONDS],
        # Sizes that are not known leave cells empty, and sums of nothing are none.
        *[f"CASE WHEN count(*) = 0 THEN 0 ELSE sum(CAST({name} AS DECIMAL(38, 2))) END AS {name}" for name in HOURS],
    ]
)
MEASURES = ["vms", "vms_created", "vms_released", "vms_at_end", "vm_hours", *SECONDS, *HOURS]
money = """
    , sum(CAST(internal_cost AS DECIMAL(38, 10))) AS internal_cost
    , sum(CASE WHEN unit_price IS NULL THEN CAST(vm_hours AS HUGEINT) ELSE 0 END) AS unpriced_vm_hours
"""
MONEY = ["internal_cost", "unpriced_vm_hours"]

differences, compared = [], 0


def compare(name, ours, theirs, key, columns):
    """Both are lists of dicts; `key` names a row."""
    global compared
    by_key = lambda rows: {tuple(row[part] for part in key): row for row in rows}
    ours, theirs = by_key(ours), by_key(theirs)
    for missing in ours.keys() ^ theirs.keys():
        differences.append(f"{name}: {missing} is only in {'the recomputed rows' if missing in ours else 'the file'}")
    for row in ours.keys() & theirs.keys():
        for column in columns:
            compared += 1
            a, b = ours[row][column], theirs[row][column]
            same = a == b if a is None or b is None else db.execute(
                "SELECT CAST(? AS DECIMAL(38, 10)) = CAST(? AS DECIMAL(38, 10))", [str(a), str(b)]
            ).fetchone()[0]
            if not same:
                differences.append(f"{name}: {row}: {column} is {b}, recomputed {a}")


def rows(sql):
    result = db.execute(sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row)) for row in result.fetchall()]


# By tag: a VM is in a row for each of its tags, or in the last one.
compare(
    "by-tag",
    rows(f"""
        SELECT 'tag' AS kind, guarded(one) AS tag, guarded(key_of(one)) AS tag_key,
            nullif(guarded(value_of(one)), '') AS tag_value, {measures}
        FROM (SELECT *, unnest(tag_list) AS one FROM life) GROUP BY one
        UNION ALL SELECT 'untagged', NULL, NULL, NULL, {measures} FROM life WHERE len(tag_list) = 0
    """),
    rows("SELECT * FROM by_tag"),
    ["kind", "tag", "tag_key", "tag_value"],
    MEASURES,
)

# By group: each VM in exactly one row.
keys = manifest["grouping"]["group_by"]
columns = manifest["grouping"]["columns"]
if not manifest["tag_rules"]:
    if keys:
        def group(key):
            key = key.replace("'", "''")
            values = (
                "list_sort(list_distinct([coalesce(nullif(value_of(t), ''), '(no value)')"
                f" FOR t IN tag_list IF key_of(t) = '{key}']))"
            )
            return f"CASE WHEN len({values}) = 1 THEN ({values})[1] ELSE joined({values}) END"
    else:
        group = lambda _: "joined(list_sort(tag_list))"
    parts = [f"nullif(guarded({group(key)}), '') AS cell{number}" for number, key in enumerate(keys or [None])]
    cells = ", ".join(f"cell{number}" for number in range(len(columns)))
    named = ", ".join(f'"{column}" AS cell{number}' for number, column in enumerate(columns))
    compare(
        "by-group",
        rows(f"SELECT {cells}, {measures} {money} FROM (SELECT *, {', '.join(parts)} FROM life) GROUP BY {cells}"),
        rows(f"SELECT {named}, * FROM by_group"),
        cells.split(", "),
        MEASURES + MONEY,
    )
share = db.execute("SELECT coalesce(sum(CAST(share_of_seconds AS DECIMAL(38, 6))), 1) FROM by_group").fetchone()[0]
groups = db.execute("SELECT count(*) FROM by_group").fetchone()[0]
if abs(float(share) - 1) > groups * 1e-6:
    differences.append(f"by-group: the shares sum to {share}")

# Control: opening + created - released = closing, and sums by cloud.
control = "count(*) FILTER (at_start) AS vms_at_start, " + measures
compare(
    "control",
    rows(f"""
        SELECT 'cloud' AS scope, guarded(cloud_id) AS cloud_id, {control} FROM life GROUP BY cloud_id
        UNION ALL SELECT 'total', NULL, {control} FROM life
    """),
    # A cloud without VMs has a row of zeros.
    rows("SELECT * FROM control WHERE scope = 'total' OR vms_at_start != '0' OR vms_created != '0' OR vm_hours != '0'"),
    ["scope", "cloud_id"],
    ["vms_at_start", "vms_created", "vms_released", "vms_at_end", "vm_hours", "vm_seconds"],
) if db.execute("SELECT count(*) FROM vm").fetchone()[0] else None
unbalanced = rows("""
    SELECT * FROM control WHERE CAST(vms_at_start AS INT) + CAST(vms_created AS INT) - CAST(vms_released AS INT)
        != CAST(vms_at_end AS INT)
""")
differences += [f"control: {row['scope']} {row['cloud_id']} does not balance" for row in unbalanced]

# Each VM: the seconds are a partition, and follow from its times; the cost is price times hours.
bad = rows(f"""
    SELECT vm_id FROM life WHERE
        CAST(vm_seconds AS HUGEINT) != {' + '.join(f'CAST({name} AS HUGEINT)' for name in SECONDS[1:])}
        OR CAST(vm_seconds AS HUGEINT) != greatest(0, date_diff('second',
            greatest(CAST(created_at AS TIMESTAMPTZ), CAST(period_start AS TIMESTAMPTZ)),
            least(coalesce(CAST(released_at AS TIMESTAMPTZ), CAST(period_end AS TIMESTAMPTZ)), CAST(period_end AS TIMESTAMPTZ))))
        OR CAST(internal_cost AS DECIMAL(38, 10)) != CAST(unit_price AS DECIMAL(18, 8)) * CAST(vm_hours AS DECIMAL(18, 0))
        OR CAST(replace(vcpu_hours, '.', '') AS HUGEINT)
            != (CAST(vcpus AS HUGEINT) * CAST(vm_seconds AS HUGEINT) * 100 + 1800) // 3600
""")
differences += [f"by-vm: {row['vm_id']} does not add up" for row in bad]
compared += 4 * db.execute("SELECT count(*) FROM vm").fetchone()[0]

# The totals of the manifest.
total = rows(f"SELECT count(*) FILTER (at_start) AS vms_at_start, {measures} {money} FROM life")[0]
for name in ["vms_at_start", *MEASURES, *MONEY]:
    compared += 1
    stated, ours = manifest["totals"][name], total[name]
    zero = lambda value: 0 if value is None and name != "internal_cost" else value
    if (None if zero(stated) is None else float(zero(stated))) != (None if zero(ours) is None else float(zero(ours))):
        differences.append(f"manifest: totals.{name} is {stated}, recomputed {ours}")

for difference in differences:
    print(difference)
print(f"{compared} cells compared, {len(differences)} differences")
sys.exit(1 if differences else 0)
