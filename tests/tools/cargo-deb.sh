#!/usr/bin/env bash
# Builds cargo-deb into DIR, if it is not there: cargo-deb.sh DIR
# Without optimisation it takes a third of the time, and one small package is all that it makes.
set -euo pipefail
dir=${1:?usage: cargo-deb.sh DIR}
[ -x "$dir/bin/cargo-deb" ] && exit 0
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cargo install --quiet --locked --debug --config profile.dev.debug=0 --no-default-features \
    --root "$dir" --target-dir "$build" cargo-deb@3.8.0
