#!/usr/bin/env bash
# Install the Debian packages that some test needs; with --missing only list the absent ones.
# astrometry.net is the program solve-field (8 MB); its Tycho-2 indexes with quads of 44 to 60
# arcmin take 40 MB, those from 1 to 30 degrees 37 MB. A test that needs a package skips with a
# reason where it is absent.
set -euo pipefail

packages=(astrometry.net astrometry-data-tycho2-09 astrometry-data-tycho2-10-19)

missing=()
for package in "${packages[@]}"; do
    if ! dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed; then
        missing+=("$package")
    fi
done

if [ "${1:-}" = "--missing" ]; then
    [ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}"
    exit 0
fi
if [ ${#missing[@]} -eq 0 ]; then
    echo "nothing to install"
    exit 0
fi

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
