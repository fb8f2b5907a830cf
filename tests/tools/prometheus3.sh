#!/usr/bin/env bash
# Unpacks Prometheus 3.x and its promtool from Debian's "forky" into DIR, beside the system's own 2.x:
#   prometheus3.sh DIR
# leaves DIR/prometheus and DIR/promtool. Nothing of the system changes: apt gets a configuration,
# lists and a cache of its own. Exits 1 where that release cannot be reached.
set -euo pipefail
dir=${1:?usage: prometheus3.sh DIR}
[ -x "$dir/promtool" ] && [ -x "$dir/prometheus" ] && exit 0
. /etc/os-release
# The mirror that this system uses for its own release, whatever it is.
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v r="$VERSION_CODENAME" '$1 == r {print $2; exit}')
[ -n "$mirror" ] || { echo "no mirror of Debian $VERSION_CODENAME is configured" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dir" && dir=$(realpath "$dir")
mkdir -p "$work"/{lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d}
: > "$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror forky main" > "$work/etc/sources.list"
cat > "$work/apt.conf" <<CONF
Dir::State "$work";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc "$work/etc";
# A mirror may lag behind the few days that a list is valid for; its signature is checked all the same.
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
APT::Sandbox::User "root";
CONF
export APT_CONFIG="$work/apt.conf"
apt-get update -qq
cd "$work"
apt-get download -qq prometheus promtool
for package in ./*.deb; do dpkg-deb -x "$package" "$work/root"; done
mv "$work/root/usr/bin/prometheus" "$work/root/usr/bin/promtool" "$dir/"
"$dir/promtool" --version
