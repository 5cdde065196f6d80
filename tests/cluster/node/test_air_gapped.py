"""docs/air-gapped.md on a cluster that has no way out: with the page's values, and a registry of one's own."""

from __future__ import annotations

import base64
import ctypes
import errno
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from vlm_operator import config, proxy
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.reasons import BenchmarkReason, ReadyReason

from docs.generate import air_gapped
from tests.cluster.clusters import NODE, Cluster, cluster_up
from tests.cluster.control_plane.operators import RESTRICTED, Space, eventually
from tests.cluster.node.conftest import VLLM_IMAGE, claim_of
from tests.cluster.node.operators import CHART, INSTALL_SECONDS, NAMESPACE, RELEASE, condition
from tests.cluster.node.registry import PASSWORD, USER, Registry, registry
from tests.cluster.node.test_node import question
from tests.cluster.node.test_proxy import CHAT, CLAIM, ENGINE_SECONDS, NAME, manifest

SPACE = "cut-off"
OWN_REGISTRY = "registry.example"  # of the page
ELSEWHERE = ("203.0.113.1", 443)  # an address for documentation, which nobody has
CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMESPACE_OF_THREAD = Path("/proc/thread-self/ns/net")
AT_ONCE_SECONDS = 1.0
GONE_SECONDS = 20.0
# In the engine's container, whose packets find no way out of the node.
LEAVE = f"import socket; socket.create_connection({ELSEWHERE}, timeout=3)"

Body = dict[str, Any]


class CutOff(NamedTuple):
    """The cluster, and the registry beside it."""

    space: Space
    registry: Registry

    @property
    def cluster(self) -> Cluster:
        return self.space.cluster


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """This thread, and all that it starts, in a network namespace with a loopback device; it ends with them."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root: sudo make test-cluster")
    outside = os.open(NAMESPACE_OF_THREAD, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    inside = NAMESPACE_OF_THREAD.stat().st_ino
    try:
        subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
        yield
    finally:
        assert libc.setns(outside, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(outside)
    until = time.monotonic() + GONE_SECONDS
    while (left := processes_in(inside)) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []


def processes_in(namespace: int) -> list[str]:
    """Commands of the processes in a network namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino == namespace:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return found


@pytest.fixture(scope="module")
def cut_off(
    no_network: None,
    cluster_bin: Path,
    node_options: list[str],
    images: dict[str, Path],
    operator_archive: tuple[str, Path],
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CutOff]:
    """The chart, packaged and installed as the page says, and one VLMDeployment with its weights on a volume."""
    folder = tmp_path_factory.mktemp("cut-off")
    archives = {repository(name): images[name] for name in (VLLM_IMAGE, proxy.IMAGE)}
    archives[repository(config.IMAGE)] = operator_archive[1]
    with (
        cluster_up(NODE, cluster_bin, folder / "node", node_options) as cluster,
        registry(cluster.host, archives) as mirror,
    ):
        trust(cluster, mirror)
        install(cluster, mirror, folder)
        with closing(Space(cluster, SPACE)) as space:
            create_pull_secret(cluster, SPACE)
            cluster.apply(*claim_of(tiny_model, CLAIM, SPACE))
            space.make(NAME, {**manifest(tiny_model), "benchmark": {"budget": "45s"}})
            yield CutOff(space, mirror)


def repository(image: str) -> str:
    """An image's name without its registry and tag, as the page's values keep it."""
    return image.partition("/")[2].rpartition(":")[0]


def trust(cluster: Cluster, mirror: Registry) -> None:
    """Tell the node's containerd where that registry is."""
    folder = cluster.folder / "registries" / OWN_REGISTRY
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "{mirror.url}"\n')


def install(cluster: Cluster, mirror: Registry, folder: Path) -> None:
    """As a package, with the page's values."""
    values = folder / "values.yaml"
    values.write_text(pinned(air_gapped.VALUES, mirror.digests))
    cluster.helm("package", str(CHART), "--destination", str(folder))
    (package,) = map(str, folder.glob("*.tgz"))
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("label", "namespace", NAMESPACE, RESTRICTED)
    create_pull_secret(cluster, NAMESPACE)
    options = ("--namespace", NAMESPACE, "--wait", f"--timeout={INSTALL_SECONDS}s")
    cluster.helm("install", RELEASE, package, *options, "--values", str(values))


def create_pull_secret(cluster: Cluster, namespace: str) -> None:
    options = (f"--docker-server={OWN_REGISTRY}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    cluster.kubectl("create", "secret", "docker-registry", "registry", *options, "--namespace", namespace)


def pinned(values: str, digests: dict[str, str]) -> str:
    """The page's values with the digests that the registry tells."""
    lines = []
    for line in values.splitlines():
        here = [digest for name, digest in digests.items() if f"{OWN_REGISTRY}/{name}" in line]
        lines.append(line.replace("sha256:...", here[0]) if here else line)
    assert "..." not in "".join(lines)
    return "\n".join(lines)


def test_there_is_no_way_out(cut_off: CutOff) -> None:
    """Whoever connects to elsewhere is told at once that there is no route; there is no device but the node's link."""
    with pytest.raises(OSError, match=r"\[Errno \d+\]") as refused:
        socket.create_connection(ELSEWHERE, timeout=AT_ONCE_SECONDS).close()
    assert refused.value.errno == errno.ENETUNREACH
    for version in ("-4", "-6"):
        assert subprocess.check_output(("ip", version, "route", "show", "default")) == b""
    devices = json.loads(subprocess.check_output(("ip", "-json", "link", "show", "up")))
    slot = (cut_off.cluster.folder / "slot").read_text().strip()
    assert {each["ifname"] for each in devices} == {"lo", f"vlmctl{slot}"}


def test_it_serves_and_measures_itself(cut_off: CutOff) -> None:
    """The VLMDeployment comes ready, has measured its own rate, and answers a question about a picture."""

    def ready() -> Body:
        body = cut_off.space.find(VLMDEPLOYMENT, NAME)
        reasons = {kind: condition(body, kind).get("reason") for kind in ("Ready", "Benchmarked")}
        assert reasons == {"Ready": ReadyReason.READY, "Benchmarked": BenchmarkReason.MEASURED}, body.get("status")
        return body

    body = eventually(ready, seconds=ENGINE_SECONDS)
    assert float(body["status"]["benchmark"]["requestsPerSecond"]) > 0
    secret = cut_off.cluster.get("secret", f"{NAME}-api-key", "-n", SPACE)
    key = base64.b64decode(secret["data"]["api-key"]).decode()
    address = cut_off.cluster.get("service", NAME, "-n", SPACE)["spec"]["clusterIP"]
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://{address}{CHAT}"
    # Rules for a Service come in kube-proxy's own time.
    answer = eventually(lambda: httpx.post(url, json=question(), headers=headers, timeout=60, trust_env=False))
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == question()["max_tokens"]


def test_every_image_is_of_the_own_registry(cut_off: CutOff) -> None:
    """All that runs was pulled by its digest, with the Secret of the page; nothing else is on the node."""
    pods = [*cut_off.space.all("Pod").values(), *cut_off.cluster.get("pods", "-n", NAMESPACE)["items"]]
    spec = [pod["spec"] for pod in pods]
    run = {each["image"] for pod in spec for each in (*pod.get("initContainers", ()), *pod["containers"])}
    mirror = cut_off.registry
    assert run == {f"{OWN_REGISTRY}/{name}@{digest}" for name, digest in mirror.digests.items()}
    assert {f"/v2/{name}/manifests/{digest}" for name, digest in mirror.digests.items()} <= mirror.taken
    on_node = [name for each in cut_off.cluster.get("node", "node1")["status"]["images"] for name in each["names"]]
    assert {name for name in on_node if not name.startswith("localhost/pause")} <= run


def test_pods_find_no_way_out(cut_off: CutOff) -> None:
    """An engine's packets get no answer from elsewhere, and the cluster's DNS knows no other names."""
    pod = cut_off.cluster.get("pods", "-l", f"vlmctl.dev/deployment={NAME}", "-n", SPACE)["items"][0]
    engine = ("exec", pod["metadata"]["name"], "-n", SPACE, "-c", "engine", "--", "python3", "-c")
    with pytest.raises(AssertionError, match=r"TimeoutError|unreachable"):
        cut_off.cluster.kubectl(*engine, LEAVE)
    with pytest.raises(AssertionError, match="gaierror"):
        cut_off.cluster.kubectl(*engine, "import socket; socket.getaddrinfo('huggingface.co', 443)")


def test_helm_test_passes(cut_off: CutOff) -> None:
    """The chart's own test needs no image but the operator's."""
    assert "Succeeded" in cut_off.cluster.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout=60s")
