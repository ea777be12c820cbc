#!/usr/bin/env bash
# Install the Debian packages that some test needs; with --missing only list the absent ones.
# A test that needs one skips with a reason where it is absent; everything else comes as wheels.
set -euo pipefail

packages=(
    saods9 xpa-tools xvfb # a real ds9 for the display: tests/display/test_display_ds9.py
    chromium # opens the contact sheet: tests/process/test_contact_sheet.py
    astrometry.net # the program solve-field (8 MB): tests/calib, tests/process
    source-extractor # what control texts mean: tests/calib/test_solve_extraction.py
    astrometry-data-tycho2-09 # quads of 44 to 60 arcmin (40 MB)
    astrometry-data-tycho2-10-19 # quads of 1 to 30 degrees (37 MB)
)

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
