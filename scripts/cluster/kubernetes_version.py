"""Move the test cluster to another version of Kubernetes: writes binary/go.mod, which `go mod tidy` then completes.

Usage: python scripts/cluster/kubernetes_version.py 1.37.1 && (cd scripts/cluster/binary && go mod tidy)

As a library, k8s.io/kubernetes asks for its staging modules at v0.0.0; each is replaced by its published version.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = Path(__file__).parent / "binary" / "go.mod"
STAGING = re.compile(r"^\s*(k8s\.io/[\w-]+) v0\.0\.0$", re.MULTILINE)
GO = re.compile(r"^go (\d+\.\d+)\S*$", re.MULTILINE)


def upstream(version: str) -> str:
    """Give the go.mod that Kubernetes itself was released with."""
    command = ("go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}")
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tempfile.gettempdir())
    return Path(json.loads(answer.stdout)["GoMod"]).read_text()


def go_mod(version: str, released: str) -> str:
    """Write ours from theirs: the same Go, and every staging module at the version of the same release."""
    go = GO.search(released)
    if go is None:
        raise SystemExit(f"no line `go ...` in the go.mod of Kubernetes {version}")
    staging = "v0." + version.partition(".")[2]
    replaced = "".join(f"\t{name} => {name} {staging}\n" for name in sorted(set(STAGING.findall(released))))
    return (
        f"module vlmctl.dev/test-cluster\n\n{go[0]}\n\ngodebug default=go{go[1]}\n\n"
        f"require k8s.io/kubernetes v{version}\n\nreplace (\n{replaced})\n"
    )


if __name__ == "__main__":
    MODULE.write_text(go_mod(sys.argv[1], upstream(sys.argv[1])))
