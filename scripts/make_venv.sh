#!/usr/bin/env bash
# Make a virtual environment, or say in one line why not.
# Usage: scripts/make_venv.sh FOLDER PYTHON
set -euo pipefail
folder=$1 python=${2:-}
if [ -z "$python" ]; then
    echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2
    exit 1
fi
version=$("$python" -c 'import sys; print(*sys.version_info[:3], sep=".")' 2>/dev/null) || {
    echo "$python does not run. Name another: make PYTHON=/path/to/python3 ..." >&2
    exit 1
}
case $version in
    [4-9].* | 3.1[1-9].* | 3.[2-9][0-9].*) ;;
    *)
        echo "$python is Python $version, and vlmctl needs 3.11 or newer. Name another: make PYTHON=/path/to/python3 ..." >&2
        exit 1
        ;;
esac
"$python" -m venv "$folder" || {
    echo "$python has no venv module: on Debian or Ubuntu, apt-get install python3-venv." >&2
    exit 1
}
