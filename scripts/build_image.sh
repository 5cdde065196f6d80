#!/usr/bin/env bash
# Build the operator's image out of Debian's Python and the locked wheels, without a registry of images.
# Usage: build_image.sh PYTHON UV      an environment's Python that has the build backend, and a `uv`
# Prints the archive, which docker, podman and ctr load. It is kept under the hash of what it is made of, and so is its
# base; the same inputs give the same image, but for what Debian updates. Needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1 uv=$2

NAME=ghcr.io/vlmctl/vlm-operator
SUITE=trixie # of Debian, and its Python
PYTHON_VERSION=3.13
UNUSED=( # by a program that only runs Python modules: what installs packages, what people read, character sets
    'boot dev/* etc/apt etc/cron* etc/debconf.conf etc/dpkg etc/logrotate.d tmp/* var/cache/* var/lib/*'
    'usr/games usr/include usr/sbin/* usr/src usr/share/[!d]* usr/share/d[!o]*'
    'usr/lib/python3 usr/lib/systemd usr/lib/valgrind usr/lib/*/gconv usr/lib/*/perl-base'
    "usr/lib/python$PYTHON_VERSION/"{ensurepip,idlelib,pydoc_data,test,turtledemo}
)
export SOURCE_DATE_EPOCH=0
umask 022

cache=${XDG_CACHE_HOME:-$HOME/.cache}/vlmctl/images
mkdir -p "$cache"
work=$(mktemp -d "$cache/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT

hash_of() { # FILE...
    cat "$@" | sha256sum | cut -c 1-12
}

install_tools() {
    local missing=()
    for tool in buildah mmdebstrap; do command -v $tool >/dev/null || missing+=($tool); done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
    [ ${#missing[@]} = 0 ] && return
    echo "Installing ${missing[*]} ..." >&2
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Which files each package brought, before most of them are taken away: a list for each, named as the SBOM has it.
LIST_FILES='for package in "$1"/var/cache/apt/archives/*.deb; do
    name=$(dpkg-deb --show --showformat "\${Package} \${Version} \${Architecture}" "$package")
    dpkg-deb --fsys-tarfile "$package" | tar --list >"$LISTS/$name"
done'

debian_packages() { # ROOT: those of which more than a document is left there
    for list in "$LISTS"/*; do
        while read -r file; do
            case $file in */ | ./usr/share/doc/*) continue ;; esac
            [ -e "$1/$file" ] || [ -L "$1/$file" ] || continue
            basename "$list"
            break
        done <"$list"
    done
}

build_base() { # ARCHIVE: a root folder with Python, the dependencies and a user, all compiled
    local root=$work/root libraries=$work/root/opt/vlm-operator
    export LISTS=$work/lists
    mkdir "$LISTS"
    mmdebstrap --quiet --variant=extract --include=base-files,libstdc++6,python3 --extract-hook="$LIST_FILES" \
        $SUITE "$root" >&2
    (cd "$root" && rm -rf ${UNUSED[*]} && find usr/share/doc -type f ! -name copyright -delete)
    find "$root/usr/bin" -mindepth 1 ! -name 'python3*' -delete
    "$uv" pip install --quiet --no-deps --require-hashes --only-binary :all: --link-mode copy --target "$libraries" \
        --python-version $PYTHON_VERSION -r requirements/operator.txt
    find "$libraries" -type d -name tests -prune -exec rm -r {} +
    echo "root:x:0:0:root:/:/usr/sbin/nologin
nonroot:x:65532:65532:nonroot:/tmp:/usr/sbin/nologin" >"$root/etc/passwd"
    echo "root:x:0:
nonroot:x:65532:" >"$root/etc/group"
    chroot "$root" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash \
        /usr/lib/python$PYTHON_VERSION /opt
    debian_packages "$root" >"$1.packages"
    tar --create --file "$1" --directory "$root" --sort name --mtime @0 --numeric-owner .
}

build() { # ARGUMENTS... of buildah, whose storage is of this run alone
    buildah --storage-driver overlay --root "$work/storage" --runroot "$work/run" "$@"
}

if [ "$(id -u)" != 0 ]; then
    echo "Building the image needs root: sudo make image" >&2
    exit 1
fi
install_tools
mkdir "$work/context"
base=$cache/base-$(hash_of scripts/build_image.sh requirements/operator.txt).tar
if [ ! -e "$base" ]; then
    echo "building the base of the image ..." >&2
    build_base "$work/base.tar"
    mv "$work/base.tar.packages" "$base.packages"
    mv "$work/base.tar" "$base"
fi
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w "$work" .
wheel=$(echo "$work"/*.whl)
version=$("$python" -c 'from vlmctl.version import __version__; print(__version__)')
image=$cache/vlm-operator-$(hash_of "$base" "$wheel" operator/Containerfile scripts/sbom.py).tar
if [ ! -e "$image" ]; then
    echo "building the image ..." >&2
    ln "$base" "$work/context/base.tar"
    "$python" -m zipfile --extract "$wheel" "$work/context/product" # a wheel of Python alone needs no more
    "$python" scripts/sbom.py "$NAME" "$version" "$base.packages" "$base" "$wheel" >"$work/context/product/sbom.cdx.json"
    build bud --quiet --isolation chroot --layers --timestamp 0 --tag "$NAME:$version" \
        --file operator/Containerfile "$work/context" >/dev/null
    build push --quiet "$NAME:$version" "docker-archive:$work/image.tar:$NAME:$version"
    mv "$work/image.tar" "$image"
fi
find "$cache" -maxdepth 1 -name 'vlm-operator-*.tar' -mtime +0 ! -path "$image" -delete # of yesterday's code
echo "$image"
