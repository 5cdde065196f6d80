#!/usr/bin/env bash
# Install what a test cluster takes from Debian or Ubuntu, only what is missing. Needs root only then.
# Usage: install.sh
set -euo pipefail
export PATH="$PATH:/usr/sbin"

missing=()
need() { # PACKAGE FILE_OR_PROGRAM
    [ -e "$2" ] || command -v "$2" >/dev/null || missing+=("$1")
}
need curl curl
need openssl openssl
need iproute2 ip
need iptables iptables
need ipset ipset
need runc runc
need containernetworking-plugins /usr/lib/cni/bridge
need util-linux nsenter
need procps sysctl
need haproxy haproxy
need ca-certificates /etc/ssl/certs/ca-certificates.crt
if [ "$(id -u)" = 0 ]; then # for what root alone makes
    need mmdebstrap mmdebstrap
    need debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg
fi
[ ${#missing[@]} = 0 ] && exit

echo "Installing ${missing[*]} ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
