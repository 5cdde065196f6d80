#!/usr/bin/env bash
# Ask the installed vlmctl its main question, showing each command before its answer.
# Usage: scripts/demo.sh VLMCTL
set -euo pipefail
vlmctl=$1

ask() {
    printf '\n$ vlmctl %s\n\n' "$*"
    "$vlmctl" "$@"
}

echo "Which open model should read our Japanese invoices, on which GPU, for how many dollars, and why not the others?"
ask recommend --task document-ocr --language ja --image 1680x2240 --rps 2 --ttft 2s --license commercial
