"""The node that other tests stand on: pods run as they would elsewhere, and vLLM answers a request with an image."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.cluster.clusters import NODE, Cluster
from tests.cluster.control_plane.operators import eventually
from tests.cluster.node.conftest import VLLM_IMAGE, claim_of

ENGINE_SECONDS = 600.0  # 40 on an idle machine
GONE_SECONDS = 60.0
ARGUMENTS = (
    "--served-model-name=tiny",
    "--dtype=bfloat16",
    "--max-model-len=2048",
    "--enforce-eager",
    "--kv-cache-memory-bytes=16777216",
    "--max-num-seqs=4",
)


def cgroups(name: str) -> list[str]:
    """Folders of control groups of that name; others may go while it looks."""
    return [folder for folder, below, _ in os.walk("/sys/fs/cgroup") if name in below]


def pod(name: str, image: str, command: list[str], **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": command, **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"pod": name}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def finish(cluster: Cluster, manifest: dict[str, Any]) -> str:
    """Run a pod to its end and give what it printed."""
    name = manifest["metadata"]["name"]
    cluster.apply(manifest)
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    printed = cluster.kubectl("logs", name)
    cluster.kubectl("delete", "pod", name)
    return printed


def until_ready(cluster: Cluster, name: str) -> None:
    """Return once a pod is ready, or fail with the end of its log."""
    until = time.monotonic() + ENGINE_SECONDS
    while time.monotonic() < until:
        status = cluster.get("pod", name)["status"]
        if any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ())):
            return
        if status["phase"] == "Failed":
            break
        time.sleep(1)
    pytest.fail(cluster.kubectl("logs", name, "--tail=60"))


def test_gpus(node: Cluster) -> None:
    """The node offers eight GPUs, and a ninth is not to be had."""
    allocatable = node.get("node", "node1")["status"]["allocatable"]
    assert allocatable["nvidia.com/gpu"] == "8"
    node.apply(
        pod("greedy", "localhost/shell:1", ["true"], container={"resources": {"limits": {"nvidia.com/gpu": "9"}}})
    )
    node.kubectl("wait", "--for=condition=PodScheduled=False", "pod/greedy", "--timeout=30s")
    assert "Insufficient nvidia.com/gpu" in node.get("pod", "greedy")["status"]["conditions"][0]["message"]
    node.kubectl("delete", "pod", "greedy")


def test_shell_image(node: Cluster) -> None:
    """A pod of the shell image runs this machine's programs on a root of its own."""
    assert finish(node, pod("shell", "localhost/shell:1", ["sh", "-c", "id -u; ls /"])).split()[0] == "0"


def test_vllm_image_user(node: Cluster) -> None:
    """A pod of vLLM's image runs as that image's user, who has a name and a home, and no way to write /usr."""
    script = "id -un; touch ~/mine && echo home; touch /usr/mine 2>/dev/null || echo guarded; python3 -c 'print(1 + 1)'"
    assert finish(node, pod("user", VLLM_IMAGE, ["sh", "-c", script])).split() == ["vllm", "home", "guarded", "2"]


def test_operator_image(node: Cluster, operator_image: str) -> None:
    """The operator's image runs as a user without rights on a root that nobody writes, and has all that it imports."""
    script = "import os, shutil, vlm_operator, vlmctl, kopf, numpy, PIL.Image; print(os.getuid(), shutil.which('sh'))"
    guarded = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    command = ["/usr/bin/python3", "-c", script]
    manifest = pod("operator", operator_image, command, container={"securityContext": guarded})
    manifest["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert finish(node, manifest).split() == ["65532", "None"]


def test_names_of_services(node: Cluster) -> None:
    """A pod finds a service by its name."""
    answer = finish(node, pod("names", "localhost/shell:1", ["getent", "hosts", "kubernetes.default"]))
    assert node.get("service", "kubernetes")["spec"]["clusterIP"] in answer


def test_ends_with_its_owner(cluster_bin: Path, node: Cluster, tmp_path: Path) -> None:
    """A node goes with the process it was started for, even one that was killed, with its pods, links and groups."""
    folder = tmp_path / "orphan"
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as owner:
        try:
            orphan = Cluster(folder, NODE, cluster_bin)
            orphan.up("--owner", str(owner.pid))
            slot = (folder / "slot").read_text().strip()
            link = Path("/sys/class/net", f"vlmctl{slot}")
            assert link.exists()
            (slot_of_node,) = (node.folder / "slot").read_text().split()
            assert slot != slot_of_node
            group = f"vlmctl-{folder.stat().st_dev}-{folder.stat().st_ino}"
            assert cgroups(group)
        finally:
            owner.kill()
    until = time.monotonic() + GONE_SECONDS
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert not folder.exists()
    assert not link.exists()
    assert cgroups(group) == []


def test_account_of_pod(node: Cluster) -> None:
    """A pod reaches the API server through its service, as its service account."""
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = (
        f'curl -s --cacert {token}/ca.crt -H "Authorization: Bearer $(cat {token}/token)" '
        "https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/default/pods"
    )
    assert "system:serviceaccount:default:default" in finish(
        node, pod("account", "localhost/shell:1", ["sh", "-c", script])
    )


def test_vllm_answers_about_an_image(node: Cluster, tiny_model: Path) -> None:
    """vLLM in a pod, with a GPU of the node and the model from a volume, answers through a Service."""
    name = "engine"
    port = {"containerPort": 8000, "name": "http"}
    engine = pod(
        name,
        VLLM_IMAGE,
        ["vllm", "serve", "/model", *ARGUMENTS],
        container={
            "ports": [port],
            "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}],
            "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}},
            "volumeMounts": [
                {"name": "model", "mountPath": "/model", "readOnly": True},
                {"name": "shared-memory", "mountPath": "/dev/shm"},
            ],
            "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        },
        volumes=[
            {"name": "model", "persistentVolumeClaim": {"claimName": "tiny", "readOnly": True}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
        securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    )
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"pod": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    node.apply(*claim_of(tiny_model, "tiny", "default"), engine, service)
    until_ready(node, name)
    address = node.get("service", name)["spec"]["clusterIP"]
    url = f"http://{address}/v1/chat/completions"
    # Rules for a Service come in kube-proxy's own time.
    answer = eventually(lambda: httpx.post(url, json=question(), timeout=60, trust_env=False))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["choices"][0]["message"]["content"]
    assert told["usage"]["completion_tokens"] == 8
    node.kubectl("delete", "pod,service", name)


def question() -> dict[str, Any]:
    """A request for eight tokens about a small picture."""
    file = io.BytesIO()
    Image.new("RGB", (56, 56), "red").save(file, "PNG")
    picture = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "What is this?"}]
    return {"model": "tiny", "messages": [{"role": "user", "content": parts}], "max_tokens": 8, "ignore_eos": True}
