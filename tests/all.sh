#!/usr/bin/env bash
# Everything that CI does, installing what it needs: formatting, lints, docs, all tests.
set -euo pipefail
cd "$(dirname "$0")/.."

install_tools() {
    command -v promtool >/dev/null && command -v prometheus >/dev/null && command -v python3 >/dev/null && return
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -q
    # Debian's package of prometheus brings promtool along.
    $sudo apt-get install -qy --no-install-recommends prometheus python3
}

step() { printf '\n== %s\n' "$*"; }

step "tools"
install_tools
tests/tools/prometheus3.sh target/tools/prometheus3 ||
    echo "SKIPPED: Prometheus 3.x cannot be installed here; 2.x alone judges"
command -v cc >/dev/null || { echo "a C compiler is needed: apt-get install gcc libc6-dev" >&2; exit 1; }
# Tests that need one of these tools fail instead of being skipped.
export FLEXVM_REQUIRE_TOOLS=1

step "formatting"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
step "tests"
cargo test --locked
