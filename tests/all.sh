#!/usr/bin/env bash
# Everything that CI does, installing what it needs: formatting, lints, docs, all tests.
set -euo pipefail
cd "$(dirname "$0")/.."

# Installs packages of Debian, unless every program that they bring is there.
install() {
    local programs=$1
    shift
    local program missing=""
    for program in $programs; do command -v "$program" >/dev/null || missing=$program; done
    [ -n "$missing" ] || return 0
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -q
    $sudo apt-get install -qy --no-install-recommends "$@"
}

step() { printf '\n== %s\n' "$*"; }

step "tools"
# Debian's package of prometheus brings promtool along.
install "prometheus promtool python3" prometheus python3
python3 -c 'import ensurepip' 2>/dev/null || install "no-such-program" python3-venv
install victoria-metrics victoria-metrics
install chromium chromium fonts-dejavu-core
install systemd-analyze systemd
install strace strace
install docker-compose docker-compose
install kubectl kubernetes-client
install soffice libreoffice-calc || echo "SKIPPED: LibreOffice cannot be installed here; nobody looks for formulas"
tests/tools/python.sh target/tools/python
tests/tools/cargo-deb.sh target/tools/cargo-deb
tests/tools/prometheus3.sh target/tools/prometheus3 ||
    echo "SKIPPED: Prometheus 3.x cannot be installed here; 2.x alone judges"
install make make
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
# All tests run even if one fails, so that one run shows every failure.
cargo test --locked --no-fail-fast
