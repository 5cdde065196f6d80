#!/usr/bin/env bash
# Install what tests look at pages and draw scripts with: Debian's Chromium and fonts. Where that cannot be done, say what
# is left out; the tests then skip.
set -euo pipefail
packages=(chromium fonts-dejavu-core fonts-noto-cjk fonts-noto-core)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

left_out="skipped: tests of pages in a browser and of scripts whose fonts are missing. Install: ${missing[*]}"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$left_out"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
install() {
    apt-get -qq update && apt-get -qq install --no-install-recommends "${missing[@]}"
}
said=$(install 2>&1) || printf '%s\n%s\n' "$said" "$left_out"
