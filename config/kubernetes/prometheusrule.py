#!/usr/bin/env python3
"""Makes prometheusrule.yaml out of config/rules; a test holds it. Needs nothing but Python."""

from pathlib import Path

here = Path(__file__).resolve().parent
lines = [
    "# Made by prometheusrule.py out of config/rules: change those.",
    "apiVersion: monitoring.coreos.com/v1",
    "kind: PrometheusRule",
    "metadata:",
    "  name: flexvm-exporter",
    "spec:",
    "  groups:",
]
for file in sorted((here.parent / "rules").glob("*.yml")):
    before, groups = file.read_text(encoding="utf-8").split("groups:\n", 1)
    lines += ["  " + line if line else "" for line in groups.rstrip("\n").split("\n")]
print("\n".join(lines))
