#!/usr/bin/env python3
"""Writes the dashboards' JSON files, or with --check fails if they are not what would be written."""

import json
import pathlib
import sys

from generator import capacity, exporter, fleet_overview, usage_and_cost, vms

HERE = pathlib.Path(__file__).resolve().parent


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: generate.py [--check]")
    stale = []
    for module in (fleet_overview, capacity, vms, usage_and_cost, exporter):
        made = module.dashboard()
        path = HERE / (made["uid"].removeprefix("flexvm-") + ".json")
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"differs from what generate.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
