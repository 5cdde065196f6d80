#!/usr/bin/env bash
# Print one command for each Python from 3.11 on that really runs here: those on the PATH first, newest first.
# A name on the PATH is not enough: version managers leave stubs for versions that are not switched on.
set -u
seen=" "
for python in python3.13 python3.12 python3.11 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python3; do
    version=$("$python" -c 'import sys; print(*sys.version_info[:2], sep="."); sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null) || continue
    case $seen in *" $version "*) continue ;; esac
    seen="$seen$version "
    echo "$python"
done
