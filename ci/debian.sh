#!/usr/bin/env bash
# Install the Debian packages that some test needs; with --missing only list the absent ones.
# A test that needs one skips with a reason where it is absent; everything else comes as wheels.
set -euo pipefail

packages=(
    saods9 xpa-tools xvfb # a real ds9 for the display: tests/display/test_display_ds9.py
    chromium # opens the contact sheet: tests/process/test_contact_sheet.py
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
