#!/usr/bin/env bash
# A cluster with a node: the control plane, and kubelet, containerd and kube-proxy that run real pods. Needs root.
# The node lives in namespaces of its own for processes, mounts and network, so that all of it ends with one process.
#
# Usage: node.sh up DIR [--owner PID] [--mount FOLDER]...
#        node.sh import DIR IMAGE.tar...
#        node.sh stop|start DIR PART      PART: kubelet, containerd, proxy, dns, or one of control_plane.sh
#        node.sh down DIR
#
# up      takes down what an earlier `up` left in DIR, writes DIR/admin.kubeconfig, returns when the node is ready; it
#         claims eight GPUs (nvidia.com/gpu) of the product NVIDIA-L4. DIR may not lie under /run, /var/lib or /var/log
# import  give images to the node, which reaches no registry
# --owner take it down when the process PID has ended, however it ended
# --mount let containers see FOLDER, read-only, under /host, as they see /host/usr (see shell_images.py)
# Pods and services can be reached from this machine; pods reach this machine at the address in DIR/host, nothing else.
# DIR/services has the range of the services' addresses.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/processes.sh"
. "$here/certificates.sh"

NODE=node1
GPUS=8
PARTS=(proxy dns kubelet containerd)
RANGE=198.18.0.0/15 # the addresses for benchmarks of networks; each node takes its own of them
SLOTS=64            # nodes side by side at most
HOST_PATHS=(/usr /etc/ssl /etc/ld.so.cache)

programs() {
    BIN=${VLMCTL_CLUSTER_BIN:-$("$here/build.sh" --where)}
    export PATH="$BIN:$PATH"
    export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 # of cgroup v1
    for program in cluster containerd kubectl runc iptables; do
        command -v "$program" >/dev/null && continue
        echo "There is no $program here: make cluster-tools installs and builds what a node needs." >&2
        exit 1
    done
}

addresses() { # SLOT
    LINK=vlmctl$1 HOST=198.18.$1.1 ADDRESS=198.18.$1.2 PODS=198.18.$1.128/25 SERVICES=198.19.$1.0/24
}

take_slot() { # the first whose link does not exist yet; leaves it in $D/slot
    local said
    for slot in $(seq 0 $((SLOTS - 1))); do
        addresses "$slot"
        if said=$(ip link add "$LINK" type veth peer name "$LINK-node" 2>&1); then
            echo "$slot" >"$D/slot"
            echo "$HOST" >"$D/host"
            echo "$SERVICES" >"$D/services"
            return
        fi
    done
    echo "No network device could be made for the node: $said" >&2
    return 1
}

group_of_node() { # of its own by the folder, as links of the same name are in other namespaces
    echo "vlmctl-$(stat --format %d-%i "$D")"
}

control_groups() { # those of the node: one, or in version 1 one for each controller
    local group
    group=$(group_of_node)
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo "/sys/fs/cgroup/$group"
    else
        for controller in /sys/fs/cgroup/*/; do echo "$controller$group"; done
    fi
}

init_of_node() { # the first process of its namespaces
    local pid init
    pid=$(process_of node) || return
    read -r init _ <"/proc/$pid/task/$pid/children" || true # a line without an end
    [ -n "$init" ] && echo "$init"
}

inside() { # COMMAND...: in the node's namespaces
    nsenter --target "$INIT" --mount --net --pid "$@"
}

launch_inside() { # NAME COMMAND...: ends with the one that started it, which is the one we know
    local name=$1
    shift
    launch "$name" nsenter --target "$INIT" --mount --net --pid setpriv --pdeathsig KILL "$@"
}

make_namespaces() {
    launch node unshare --mount --net --pid --fork --kill-child --mount-proc "$BIN/pause"
    wait_until 10 "the node's namespaces are there" init_of_node
    INIT=$(init_of_node)
    wait_until 10 "the node has its own processes" inside test -e /proc/1/ns/pid
    inside mount --make-rshared /
    for folder in /run /var/lib /var/log; do inside mount -t tmpfs -o mode=755 tmpfs "$folder"; done
}

connect() { # the node to this machine, and nothing to anything else
    ip link set "$LINK-node" netns "$INIT"
    ip address add "$HOST/30" dev "$LINK"
    ip link set "$LINK" up
    inside ip link set lo up
    inside ip link set "$LINK-node" name eth0
    inside ip address add "$ADDRESS/30" dev eth0
    inside ip link set eth0 up
    inside ip route add default via "$HOST"
    inside sysctl -qw net.ipv4.ip_forward=1
    for range in "$PODS" "$SERVICES"; do ip route add "$range" via "$ADDRESS"; done
    ip route replace unreachable "$RANGE" metric 9999 # what is asked of a pod that is gone never leaves this machine
}

configure_containerd() {
    mkdir -p "$D/cni"
    cat >"$D/cni/10-bridge.conflist" <<J
{"cniVersion": "1.0.0", "name": "test", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {"type": "host-local",
   "dataDir": "$D/cni/addresses", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
    ctr oci spec | python3 -c 'import json, sys
spec = json.load(sys.stdin)
spec["process"].pop("rlimits", None) # 1,024 open files, where a node allows more
bind = {"type": "bind", "options": ["rbind", "ro"]}
spec["mounts"] += [{"destination": f"/host{path}", "source": path, **bind} for path in sys.argv[1:]]
json.dump(spec, sys.stdout)' "${HOST_PATHS[@]}" >"$D/container.json"
    cat >"$D/containerd.toml" <<T
version = 3
root = "$D/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "$D/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "$D/registries" # a folder for each registry, which may come later
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE runc may not lower it, and dies
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$D/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "$D/container.json"
T
}

configure_kubelet() {
    make_kubeconfig node "/O=system:nodes/CN=system:node:$NODE" "$SERVER"
    make_kubeconfig proxy /CN=system:kube-proxy "$SERVER"
    echo "nameserver 127.0.0.1" >"$D/resolv.conf"
    cat >"$D/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $D/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$D/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(group_of_node)
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
clusterDNS: [$ADDRESS]
clusterDomain: cluster.local
resolvConf: $D/resolv.conf
podLogsDir: $D/pods
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
syncFrequency: 15s # a changed Secret reaches its volume that much later, instead of a minute
crashLoopBackOff: {maxContainerRestartPeriod: 10s} # who is killed once a minute for an hour would wait for five
Y
}

launch_parts() {
    configure_containerd
    launch_inside containerd "$BIN/containerd" -c "$D/containerd.toml"
    wait_until 30 "containerd answers" ctr -a "$D/containerd.sock" version
    python3 "$here/shell_images.py" pause "$BIN/pause" >"$D/pause.tar"
    import "$D/pause.tar"
    configure_kubelet
    for group in $(control_groups); do mkdir -p "$group"; done
    launch_inside kubelet "$BIN/cluster" kubelet --config "$D/kubelet.yaml" --kubeconfig "$D/node.kubeconfig" \
        --root-dir "$D/kubelet" --cert-dir "$D/kubelet-certificates" --hostname-override $NODE --node-ip "$ADDRESS" \
        --node-labels nvidia.com/gpu.product=NVIDIA-L4
    launch_inside proxy "$BIN/cluster" kube-proxy --kubeconfig "$D/proxy.kubeconfig" --proxy-mode iptables \
        --cluster-cidr "$PODS" --hostname-override $NODE --conntrack-max-per-core 0
    make_kubeconfig dns /O=system:masters/CN=dns "$SERVER"
    echo ". {
        kubernetes cluster.local {
            kubeconfig $D/dns.kubeconfig
        }
    }" >"$D/Corefile"
    launch_inside dns "$BIN/dns" -conf "$D/Corefile"
    wait_until 60 "the node is there" admin get node $NODE
    # A GPU is an extended resource like any other, which the kubelet keeps as it finds it.
    local gpus="{\"nvidia.com/gpu\": \"$GPUS\"}"
    admin patch node $NODE --subresource status --type merge \
        --patch "{\"status\": {\"capacity\": $gpus, \"allocatable\": $gpus}}" >/dev/null
    admin wait --for condition=Ready "node/$NODE" --timeout 60s >/dev/null
}

admin() {
    kubectl --kubeconfig "$D/admin.kubeconfig" "$@"
}

import() { # IMAGE.tar...
    programs
    for image in "$@"; do ctr -a "$D/containerd.sock" -n k8s.io images import "$image" >/dev/null; done
}

up() { # OPTIONS...
    local owner=''
    programs
    while [ $# -gt 0 ]; do
        case $1 in
            --owner) owner=$2 ;;
            --mount) HOST_PATHS+=("$2") ;;
            *) usage ;;
        esac
        shift 2
    done
    down
    mkdir -p "$D"
    touch "$D/.node"
    trap '[ $? = 0 ] || halt' EXIT # and leave the logs
    [ -z "$owner" ] || down_with "$owner" "$here/node.sh"
    take_slot
    make_namespaces
    connect
    "$here/control_plane.sh" up "$D" --address "$HOST" --services "$SERVICES"
    SERVER=$(sed -n 's/.*server: "\([^"]*\)".*/\1/p' "$D/admin.kubeconfig")
    launch_parts
}

halt() {
    stop owner
    "$here/control_plane.sh" stop "$D" apiserver # so that nothing is started again
    local pid init
    if pid=$(process_of node) && init=$(init_of_node); then
        kill -KILL "$init" # and all in its namespaces with it
        while process_of node >/dev/null; do sleep 0.02; done
    fi
    for part in "${PARTS[@]}" node; do stop "$part"; done
    if [ -s "$D/slot" ]; then
        addresses "$(cat "$D/slot")"
        ip link delete "$LINK" 2>/dev/null || true # already gone where its other end was
        ip -brief link show type veth | grep -q ^vlmctl || # the last one
            ip route delete unreachable "$RANGE" metric 9999 2>/dev/null || true
        for group in $(control_groups); do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
    fi
}

down() {
    [ -e "$D/.node" ] || return 0
    halt
    "$here/control_plane.sh" down "$D"
    rm -rf "$D"
}

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$here/node.sh" >&2
    exit 2
}

[ $# -ge 2 ] || usage
action=$1 D=$(realpath -m "$2")
shift 2
PATH="$PATH:/usr/sbin"
case $action in
    up | down | import) "$action" "$@" ;;
    start | stop)
        case " ${PARTS[*]} " in
            *" $1 "*) "$action" "$1" ;;
            *) "$here/control_plane.sh" "$action" "$D" "$1" ;;
        esac
        ;;
    *) usage ;;
esac
