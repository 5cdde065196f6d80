#!/usr/bin/env bash
# A Kubernetes control plane: etcd, API server, controllers and scheduler, and nothing that runs pods.
# It needs no root, and takes ports that are free, so that several stand side by side.
#
# Usage: control_plane.sh up DIR [--owner PID] [--address IP] [--services CIDR] [--apiserver FLAGS] [--controllers FLAGS]
#        control_plane.sh stop|start DIR PART      PART: etcd, apiserver, controllers or scheduler
#        control_plane.sh down DIR
#
# up      takes down what an earlier `up` left in DIR, writes DIR/admin.kubeconfig, returns when the controllers work
# down    ends all parts and removes DIR; nothing to take down is no mistake
# --owner take it down when the process PID has ended, however it ended
# --apiserver, --controllers  more flags of these, in one word
# --address, --services  where nodes reach the API server, and the range of services (node.sh gives them)
# Every write to the API server, and what service accounts read of it, is a line of JSON in DIR/audit.log. The programs come from build.sh, or from the folder
# that VLMCTL_CLUSTER_BIN names.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/processes.sh"
. "$here/certificates.sh"

PARTS=(scheduler controllers apiserver etcd) # as they are stopped
NOWHERE=203.0.113.1                          # a documentation address: with no pod, nobody calls it
OF_APISERVER=() OF_CONTROLLERS=()            # more flags

free_ports() { # COUNT: below those that outgoing connections are given
    python3 -c 'import random, socket, sys
sockets = []
while len(sockets) < int(sys.argv[1]):
    try:
        sockets.append(socket.create_server(("127.0.0.1", random.randrange(20000, 32000))))
    except OSError:
        pass
print(*(each.getsockname()[1] for each in sockets))' "$1"
}

ask() { # PATH: of the API server, as the administrator
    curl --noproxy '*' -sf -m 2 --cacert "$D/ca.crt" --cert "$D/admin.crt" --key "$D/admin.key" "$SERVER$1"
}

launch_apiserver() { # ADDRESS PORT SERVICES ETCD
    local advertised=$1
    [ "$1" = 127.0.0.1 ] && advertised=$NOWHERE
    make_certificate apiserver /CN=kube-apiserver "IP:$1,IP:${3%.*}.1,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    make_certificate kubelet-client /O=system:masters/CN=kubelet-client
    make_certificate front-proxy /CN=front-proxy # to servers of more of the API, whom it tells who asks
    cat >"$D/audit.yaml" <<'Y'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None}
Y
    launch apiserver "$BIN/cluster" kube-apiserver --etcd-servers "$4" --bind-address "$1" --secure-port "$2" \
        --advertise-address "$advertised" --tls-cert-file "$D/apiserver.crt" --tls-private-key-file "$D/apiserver.key" \
        --client-ca-file "$D/ca.crt" --kubelet-client-certificate "$D/kubelet-client.crt" \
        --kubelet-client-key "$D/kubelet-client.key" --kubelet-preferred-address-types InternalIP \
        --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file "$D/accounts.key" \
        --service-account-key-file "$D/accounts.pub" --service-cluster-ip-range "$3" --authorization-mode Node,RBAC \
        --requestheader-client-ca-file "$D/ca.crt" --requestheader-allowed-names front-proxy \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
        --requestheader-extra-headers-prefix X-Remote-Extra- --proxy-client-cert-file "$D/front-proxy.crt" \
        --proxy-client-key-file "$D/front-proxy.key" --enable-admission-plugins NodeRestriction --allow-privileged \
        --audit-policy-file "$D/audit.yaml" --audit-log-path "$D/audit.log" --audit-log-maxsize 1000 "${OF_APISERVER[@]}"
}

launch_parts() { # ADDRESS PORT SERVICES ETCD PEER
    launch etcd "$BIN/cluster" etcd --data-dir "$D/etcd" --listen-client-urls "$4" --advertise-client-urls "$4" \
        --listen-peer-urls "$5" --initial-advertise-peer-urls "$5" --initial-cluster "default=$5" \
        --unsafe-no-fsync --log-level error
    launch_apiserver "$1" "$2" "$3" "$4"
    wait_until 60 "the API server is ready" ask /readyz
    # The default rates of its client are for clusters that live long: collecting 1,000 objects' children took minutes.
    launch controllers "$BIN/cluster" kube-controller-manager --kubeconfig "$D/controllers.kubeconfig" --secure-port 0 \
        --service-account-private-key-file "$D/accounts.key" --root-ca-file "$D/ca.crt" --leader-elect=false \
        --use-service-account-credentials --horizontal-pod-autoscaler-sync-period 5s \
        --kube-api-qps 500 --kube-api-burst 1000 "${OF_CONTROLLERS[@]}"
    launch scheduler "$BIN/cluster" kube-scheduler --kubeconfig "$D/scheduler.kubeconfig" --secure-port 0 \
        --leader-elect=false --kube-api-qps 500 --kube-api-burst 1000
    wait_until 60 "the controllers work" ask /api/v1/namespaces/default/serviceaccounts/default
}

up() { # OPTIONS...
    local owner='' address=127.0.0.1 services=198.19.240.0/20 port client peer
    while [ $# -gt 0 ]; do
        case $1 in
            --owner) owner=$2 ;;
            --apiserver) read -ra OF_APISERVER <<<"$2" ;;
            --controllers) read -ra OF_CONTROLLERS <<<"$2" ;;
            --address) address=$2 ;;
            --services) services=$2 ;;
            *) usage ;;
        esac
        shift 2
    done
    BIN=${VLMCTL_CLUSTER_BIN:-$("$here/build.sh" --where)}
    if [ ! -x "$BIN/cluster" ]; then
        echo "There is no test cluster here: make cluster-tools builds it, or VLMCTL_CLUSTER_BIN names it." >&2
        exit 1
    fi
    down
    mkdir -p "$D"
    touch "$D/.cluster"
    trap '[ $? = 0 ] || halt' EXIT # and leave the logs
    [ -z "$owner" ] || down_with "$owner" "$here/control_plane.sh"
    read -r port client peer < <(free_ports 3)
    SERVER=https://$address:$port
    make_authority
    make_kubeconfig admin /O=system:masters/CN=admin "$SERVER"
    make_kubeconfig controllers /CN=system:kube-controller-manager "$SERVER"
    make_kubeconfig scheduler /CN=system:kube-scheduler "$SERVER"
    launch_parts "$address" "$port" "$services" "http://127.0.0.1:$client" "http://127.0.0.1:$peer"
}

halt() {
    for part in owner "${PARTS[@]}"; do stop "$part"; done
}

down() {
    [ -e "$D/.cluster" ] || return 0
    halt
    rm -rf "$D"
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$here/control_plane.sh" >&2
    exit 2
}

[ $# -ge 2 ] || usage
action=$1 D=$(realpath -m "$2")
shift 2
case $action in
    up | down) "$action" "$@" ;;
    start | stop) "$action" "$1" ;;
    *) usage ;;
esac
