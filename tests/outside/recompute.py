"""Recomputes a month's files from its by-vm.csv alone, in DuckDB, and prints every difference.

    recompute.py FOLDER PREFIX      PREFIX such as flexvm-usage_k1_2026-10_r01_

Shares no code with the exporter: it knows what docs/ and the README say of the columns. Ends with 1 if
anything differs, and says how many cells it compared.
"""

import csv
import json
import sys
from fractions import Fraction

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
    CREATE MACRO written(part) AS CASE WHEN part = '(no value)' THEN '\\(no value)'
        ELSE replace(replace(part, '\\', '\\\\'), '|', '\\|') END;
    CREATE MACRO joined(parts) AS array_to_string(parts, ' | ');
    CREATE MACRO key_of(tag) AS split_part(tag, ':', 1);
    CREATE MACRO value_of(tag) AS CASE
        WHEN position(':' IN tag) = 0 THEN '' ELSE substr(tag, position(':' IN tag) + 1) END;
""")
# Exact numbers of a file, in the order of its rows; None for an empty cell.
def numbers(end, *names):
    with open(path(end), newline="", encoding="utf-8-sig") as file:
        number = lambda cell: Fraction(cell) if cell else None
        return [[number(row[name]) for name in names] for row in csv.DictReader(file, strict=True)]


currency = (manifest["prices"] or {}).get("currency")
# ISO 4217: decimals of the minor unit.
MINOR = {"JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3}.get(currency, 2)
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
        "coalesce(sum(CAST(vm_seconds AS HUGEINT)) FILTER (vcpus IS NULL), 0) AS unsized_vm_seconds",
    ]
)
MEASURES = ["vms", "vms_created", "vms_released", "vms_at_end", "vm_hours", *SECONDS, *HOURS, "unsized_vm_seconds"]
money = """
    , sum(CAST(internal_cost AS DECIMAL(38, 10))) AS internal_cost
    , sum(CAST(stopped_cost AS DECIMAL(38, 10))) AS stopped_cost
    , coalesce(sum(CASE WHEN unit_price IS NULL THEN CAST(vm_hours AS HUGEINT) ELSE 0 END), 0) AS unpriced_vm_hours
"""
MONEY = ["internal_cost", "unpriced_vm_hours"]
STOPPED = "stopped_cost"

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
            nullif(guarded(value_of(one)), '') AS tag_value, {measures} {money}
        FROM (SELECT *, unnest(tag_list) AS one FROM life) GROUP BY one
        UNION ALL SELECT 'untagged', NULL, NULL, NULL, {measures} {money} FROM life WHERE len(tag_list) = 0
    """),
    rows("SELECT * FROM by_tag"),
    ["kind", "tag", "tag_key", "tag_value"],
    MEASURES + MONEY,
)

# By group: each VM in exactly one row.
keys = manifest["grouping"]["group_by"]
columns = manifest["grouping"]["columns"]
if not manifest["tag_rules"]:
    if keys:
        def values(key):
            key = key.replace("'", "''")
            return (
                "list_sort(list_distinct([{'raw': coalesce(nullif(value_of(t), ''), '(no value)'), 'has_value':"
                f" value_of(t) != ''}} FOR t IN tag_list IF key_of(t) = '{key}']))"
            )

        def group(key):
            text = "CASE WHEN v.has_value THEN written(v.raw) ELSE '(no value)' END"
            return f"joined([{text} FOR v IN {values(key)}])"

        def kind(key):
            return (
                f"CASE WHEN len({values(key)}) > 1 THEN '1 several' WHEN len({values(key)}) = 0 THEN '3 absent'"
                f" WHEN NOT ({values(key)})[1].has_value THEN '2 valueless' ELSE '4 value' END"
            )

        kinds = f"substr(least({', '.join(kind(key) for key in keys)}, '4 value'), 3)"
    else:
        group = lambda _: "joined([written(t) FOR t IN list_sort(tag_list)])"
        kinds = "CASE WHEN len(tag_list) = 0 THEN 'absent' ELSE 'value' END"
    parts = [f"nullif(guarded({group(key)}), '') AS cell{number}" for number, key in enumerate(keys or [None])]
    parts.append(f"{kinds} AS kind")
else:
    # The rules are not known here, but by-vm has the group of each VM.
    parts = [f'"{column}" AS cell{number}' for number, column in enumerate(columns)] + ["group_kind AS kind"]
cells = ", ".join(f"cell{number}" for number in range(len(columns))) + ", kind"
named = ", ".join(f'"{column}" AS cell{number}' for number, column in enumerate(columns)) + ", group_kind AS kind"
compare(
    "by-group",
    rows(f"SELECT {cells}, {measures} {money} FROM (SELECT *, {', '.join(parts)} FROM life) GROUP BY {cells}"),
    rows(f"SELECT {named}, * FROM by_group"),
    cells.split(", "),
    MEASURES + MONEY + [STOPPED],
)
# The group of each VM in by-vm is a row of by-group.
if keys:
    compare(
        "by-vm's groups",
        rows(f"SELECT {named}, count(*) AS vms FROM vm GROUP BY ALL"),
        rows(f"SELECT {named}, vms FROM by_group"),
        cells.split(", "),
        ["vms"],
    )


def largest_remainder(parts, total):
    """Rounds `parts` to whole numbers that sum to `total`; the first of equal remainders precedes."""
    floors = [part // 1 for part in parts]
    order = sorted(range(len(parts)), key=lambda index: floors[index] - parts[index])
    for index in order[: int(total - sum(floors))]:
        floors[index] += 1
    return floors


def stated(column, wanted):
    """Compares a column of by-group.csv with exact numbers."""
    global compared
    found = [row[0] for row in numbers("by-group.csv", column)]
    compared += len(found)
    if found != wanted:
        differences.append(f"by-group: {column} is {found}, recomputed {wanted}")


of_groups = numbers("by-group.csv", "vm_seconds", "internal_cost")
for column, weights in [("share_of_seconds", [row[0] for row in of_groups]), ("share_of_cost", [row[1] or 0 for row in of_groups])]:
    whole = sum(weights)
    if whole == 0:
        stated(column, [None] * len(weights))
    else:
        wanted = largest_remainder([weight * 10**6 / whole for weight in weights], 10**6)
        stated(column, [share / Fraction(10**6) for share in wanted])
unit = 10**MINOR
total = (sum(cost or 0 for _, cost in of_groups) * unit + Fraction(1, 2)) // 1
amounts = largest_remainder([(cost or 0) * unit for _, cost in of_groups], total)
stated("amount", [None if cost is None else amount / Fraction(unit) for amount, (_, cost) in zip(amounts, of_groups)])

# Control: opening + created - released = closing, and sums by cloud.
control = "count(*) FILTER (at_start) AS vms_at_start, " + measures
# A total of prices is 0, not empty, if no VM has a price.
known = "coalesce(sum(CAST(internal_cost AS DECIMAL(38, 10))), 0)" if currency else "NULL"
compare(
    "control",
    rows(f"""
        SELECT 'cloud' AS scope, guarded(cloud_id) AS cloud_id, {control},
            sum(CAST(internal_cost AS DECIMAL(38, 10))) AS internal_cost FROM life GROUP BY cloud_id
        UNION ALL SELECT 'total', NULL, {control}, {known} FROM life
    """),
    # A cloud without VMs has a row of zeros.
    rows("SELECT * FROM control WHERE scope = 'total' OR vms_at_start != '0' OR vms_created != '0' OR vm_hours != '0'"),
    ["scope", "cloud_id"],
    ["vms_at_start", "vms_created", "vms_released", "vms_at_end", "vm_hours", "vm_seconds", "internal_cost"],
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

for cost, stopped, seconds, part in numbers("by-vm.csv", "internal_cost", "stopped_seconds", "vm_seconds", "stopped_cost"):
    compared += 1
    scale = 100 * unit
    exact = None if cost is None else cost * stopped / seconds if seconds else Fraction(0)
    if part != (None if exact is None else (exact * scale + Fraction(1, 2)) // 1 / Fraction(scale)):
        differences.append(f"by-vm: stopped_cost is {part}, recomputed {exact}")

# The totals of the manifest.
total = rows(f"SELECT count(*) FILTER (at_start) AS vms_at_start, {measures} {money} FROM life")[0]
for name in ["vms_at_start", *MEASURES, *MONEY, STOPPED]:
    compared += 1
    given, ours = manifest["totals"][name], total[name]
    # Without prices, costs are not known; with prices, they are 0 if no VM has one.
    zero = lambda value: 0 if value is None and (currency or name not in ("internal_cost", STOPPED)) else value
    if (None if zero(given) is None else float(zero(given))) != (None if zero(ours) is None else float(zero(ours))):
        differences.append(f"manifest: totals.{name} is {given}, recomputed {ours}")

for difference in differences:
    print(difference)
print(f"{compared} cells compared, {len(differences)} differences")
sys.exit(1 if differences else 0)
