#!/usr/bin/env bash
# Resolve pyproject.toml and requirements/*.in into requirements/*.txt, with hashes and for every platform.
# Versions already locked are kept where they still satisfy; UPGRADE=1 takes the newest instead.
# Usage: scripts/lock.sh PYTHON, a Python from 3.11 on with uv installed
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1

compile() { # OUTPUT INPUT...
    local output=$1
    shift
    "$python" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make lock" ${UPGRADE:+--upgrade} --output-file "$output" "$@"
    echo "locked $output"
}

backend=$(mktemp)
trap 'rm -f "$backend"' EXIT
"$python" - >"$backend" <<'END'
import tomllib

print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
print("editables")  # what hatchling asks for when it installs in place
END

compile requirements/lean.txt pyproject.toml
compile requirements/build.txt --no-annotate --constraints requirements/lean.txt "$backend"
compile requirements/dev.txt --extra dev --extra catalog --extra bench --extra operator --extra cluster \
    --constraints requirements/lean.txt --constraints requirements/build.txt pyproject.toml
compile requirements/operator.txt --extra operator --constraints requirements/lean.txt pyproject.toml
compile requirements/fit.txt --extra fit --constraints requirements/lean.txt pyproject.toml
compile requirements/engine.txt --overrides requirements/engine-overrides.in \
    --excludes requirements/engine-excludes.in pyproject.toml requirements/engine.in
