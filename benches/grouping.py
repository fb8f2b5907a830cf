"""Groups a month's by-vm.csv by tag and by tag set, as closing it does, in DuckDB; prints the seconds.

    grouping.py BY_VM_CSV OUT_FOLDER THREADS
"""

import sys
import time

import duckdb

by_vm, out, threads = sys.argv[1:4]
db = duckdb.connect()
db.execute(f"SET threads = {int(threads)}")
started = time.perf_counter()
# Everything as text, as the tests read it: nothing is guessed, and no float comes in.
db.execute(
    "CREATE TABLE vm AS SELECT * FROM read_csv(?, header=true, all_varchar=true, nullstr='',"
    " strict_mode=true, delim=',', quote='\"', escape='\"')",
    [by_vm],
)
db.execute("""
    CREATE TABLE life AS SELECT *,
        CAST(tags AS JSON)::VARCHAR[] AS tag_list,
        created_at >= period_start AND created_at < period_end AS created,
        released_at >= period_start AND released_at < period_end AS released,
        created_at < period_end AND (released_at IS NULL OR released_at >= period_end) AS at_end
    FROM vm
""")
seconds = ["vm_seconds", "running_seconds", "stopped_seconds", "failed_seconds", "other_seconds", "unobserved_seconds"]
hours = ["vcpu_hours", "memory_gib_hours", "gpu_hours"]
measures = ", ".join(
    [
        "count(*) AS vms",
        "count(*) FILTER (created) AS vms_created",
        "count(*) FILTER (released) AS vms_released",
        "count(*) FILTER (at_end) AS vms_at_end",
        "sum(CAST(vm_hours AS HUGEINT)) AS vm_hours",
        *[f"sum(CAST({name} AS HUGEINT)) AS {name}" for name in seconds],
        *[f"sum(CAST({name} AS DECIMAL(38, 2))) AS {name}" for name in hours],
    ]
)
db.execute(f"""
    COPY (
        SELECT 'tag' AS kind, one AS tag, {measures}
        FROM (SELECT *, unnest(tag_list) AS one FROM life) GROUP BY one
        UNION ALL SELECT 'untagged', NULL, {measures} FROM life WHERE len(tag_list) = 0
        ORDER BY kind, tag
    ) TO '{out}/by-tag.csv' (HEADER)
""")
db.execute(f"""
    COPY (
        SELECT array_to_string(list_sort(tag_list), ';') AS tags, {measures},
            sum(CAST(internal_cost AS DECIMAL(38, 10))) AS internal_cost
        FROM life GROUP BY 1 ORDER BY 1
    ) TO '{out}/by-group.csv' (HEADER)
""")
print(time.perf_counter() - started)
