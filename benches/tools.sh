#!/usr/bin/env bash
# What serving.py compares with and measures with: nginx and wrk, from Debian.
#   tools.sh DIR
# leaves DIR/nginx and DIR/wrk. The packages are unpacked, not installed, so that no nginx of the
# system is started; apt installs the libraries that they need, if they are missing.
set -euo pipefail
dir=${1:?usage: tools.sh DIR}
[ -x "$dir/nginx" ] && [ -x "$dir/wrk" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
$sudo apt-get install -qy --no-install-recommends libpcre2-8-0 libcrypt1 libssl3 zlib1g libluajit-5.1-2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dir" && dir=$(realpath "$dir")
cd "$work"
apt-get download -q nginx wrk
for package in ./*.deb; do dpkg-deb -x "$package" root; done
mv root/usr/sbin/nginx root/usr/bin/wrk "$dir/"
