#!/usr/bin/env bash
# Ask the installed vlmctl its main question, showing each command before its answer.
# Usage: scripts/demo.sh VLMCTL
set -euo pipefail
vlmctl=$1

ask() {
    printf '\n$ '
    printf 'vlmctl %s\n' "$*" | fold -s -w 92 | sed -e '2,$s/^/      /' -e '$!s/ *$/ \\/'
    echo
    "$vlmctl" "$@"
}

cat <<'END'
We read Japanese invoices, scans of 1680x2240 pixels, two a second, and sell that as a service.
The first token should come within 2 seconds. Which open model, on which GPU, for how many dollars
per 1,000 requests, and why not the others?
END
ask recommend --task document-ocr --language ja --image 1680x2240 --rps 2 --ttft 2s --license commercial
