"""The pods of a revision: what they may do, what starts, when they are ready, and what a user may change."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator import names, proxy
from vlm_operator.agent.config import agent_config
from vlm_operator.records import KubernetesObject, Planned
from vlm_operator.template import MEDIA_DOMAINS, MODELS_FOLDER, RUN_FOLDER, template

from tests.support.plans import L4, MODEL, PLAN
from tests.vlm_operator.children import AGENT, CACHED, NAME, PLANNED, SPEC
from vlmctl.api import v1alpha1 as api
from vlmctl.serving import host, kubernetes
from vlmctl.serving.engine_args import ServeArgument, command, engine_arguments
from vlmctl.units import GIB

DIGEST = "0123456789"
HUB = api.ModelSource(hugging_face=api.HuggingFaceSource(repository="Tiny/Own"))


def made(
    spec: api.VLMDeploymentSpec = SPEC, planned: Planned = PLANNED, hub_endpoint: str | None = None
) -> KubernetesObject:
    return template(NAME, DIGEST, spec, planned, agent_image=AGENT, hub_endpoint=hub_endpoint)


def container(pods: KubernetesObject, name: str = names.ENGINE) -> dict[str, Any]:
    everyone = [*pods["spec"]["initContainers"], *pods["spec"]["containers"]]
    found: dict[str, Any] = next(each for each in everyone if each["name"] == name)
    return found


def environment(pods: KubernetesObject) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(pods)["env"]}


def volume(pods: KubernetesObject, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in pods["spec"]["volumes"] if each["name"] == name)
    return found


def of_source(**source: Any) -> api.VLMDeploymentSpec:
    return replace(SPEC, model=api.ModelReference(name=MODEL.id, source=api.ModelSource(**source)))


def with_pod(**overrides: Any) -> api.VLMDeploymentSpec:
    return replace(SPEC, pod=api.PodOverrides(**overrides))


@contextmanager
def health(status: int) -> Iterator[int]:
    """A server that answers every request with `status`; gives its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def run(words: list[str], folder: Path, port: int = 1) -> subprocess.CompletedProcess[str]:
    """Run a command of the pod, with its folder and port being these."""
    here = [word.replace(RUN_FOLDER, str(folder)).replace(str(proxy.ENGINE_PORT), str(port)) for word in words]
    return subprocess.run(here, capture_output=True, text=True, timeout=30)


def test_pods_meet_the_restricted_standard() -> None:
    """Every container gives up what the restricted pod security standard asks for; no volume is the node's."""
    pods = made(CACHED)["spec"]
    assert pods["securityContext"]["runAsNonRoot"] is True
    assert pods["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in (*pods["initContainers"], *pods["containers"]):
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert each["securityContext"].get("runAsUser", pods["securityContext"]["runAsUser"]) > 0
    for name in (names.AGENT, proxy.NAME):
        assert container(made(), name)["securityContext"]["readOnlyRootFilesystem"] is True
    assert not {"hostPath"} & {key for each in pods["volumes"] for key in each}


def test_no_token_of_the_cluster_and_no_service_variables() -> None:
    """A model's code finds no credentials of the cluster, and no Service sets the engine's port."""
    pods = made()["spec"]
    assert pods["serviceAccountName"] == NAME
    assert pods["automountServiceAccountToken"] is False
    assert pods["enableServiceLinks"] is False


def test_the_pod_is_the_one_that_plan_writes() -> None:
    """Nodes, resources, stop and probe of the start are those of `vlmctl plan --format kubernetes`."""
    words = command(MODEL.repository, engine_arguments(PLAN, MODEL, L4))
    plain = kubernetes.deployment(PLAN, MODEL, L4, words)["spec"]["template"]["spec"]
    pods = made()["spec"]
    for field in ("affinity", "tolerations", "terminationGracePeriodSeconds", "securityContext"):
        assert pods[field] == plain[field]
    for field in ("lifecycle", "resources", "securityContext"):
        assert container(made())[field] == plain["containers"][0][field]
    start, plain_start = container(made())["startupProbe"], plain["containers"][0]["startupProbe"]
    assert start == {**plain_start, "httpGet": {"path": "/health", "port": proxy.METRICS_PORT}}
    assert container(made())["args"][: len(words)] == words
    assert volume(made(), "shared-memory") in plain["volumes"]


def test_a_start_clears_the_latch_and_then_is_the_engine(tmp_path: Path) -> None:
    """What the container before left does not count, and no argument is read by a shell."""
    words = ["$HOME; exit 1", '{"image": {"count": 2}}', "it's"]
    for name in ("open", "stuck"):
        (tmp_path / name).touch()
    started = run([*container(made())["command"], "printf", "%s\n", *words], tmp_path)
    assert started.stdout.splitlines() == words
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("latch", "status", "is_ready"), [(True, 200, True), (False, 200, False), (True, 503, False)])
def test_ready_takes_the_latch_and_a_healthy_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, latch: bool, status: int, is_ready: bool
) -> None:
    """Both are needed; a proxy that the user set is not asked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    probe = container(made())["readinessProbe"]
    if latch:
        (tmp_path / "open").touch()
    with health(status) as port:
        assert (run(probe["exec"]["command"], tmp_path, port).returncode == 0) is is_ready
    assert run(probe["exec"]["command"], tmp_path, port).returncode != 0


def test_alive_until_the_agent_says_stuck(tmp_path: Path) -> None:
    """Liveness asks the agent's file alone: an engine that hangs answers /health, and one under load may not."""
    probe = container(made())["livenessProbe"]
    assert run(probe["exec"]["command"], tmp_path).returncode == 0
    (tmp_path / "stuck").touch()
    assert run(probe["exec"]["command"], tmp_path).returncode == 1
    assert probe["terminationGracePeriodSeconds"] < made()["spec"]["terminationGracePeriodSeconds"]


def test_open_streams_may_finish() -> None:
    """A stop lasts longer than the pause before it and the time that the engine gives running requests."""
    engine = container(made())
    pause = int(engine["lifecycle"]["preStop"]["exec"]["command"][1])
    timeout = next(int(word.split("=")[1]) for word in engine["args"] if word.startswith("--shutdown-timeout"))
    assert made()["spec"]["terminationGracePeriodSeconds"] > pause + timeout


def test_engine_and_agent_share_a_folder() -> None:
    """The latch lies where both write, and the proxy does not come near it."""
    for name in (names.ENGINE, names.AGENT):
        assert {"name": "run", "mountPath": RUN_FOLDER} in container(made(), name)["volumeMounts"]
    assert all(mount["readOnly"] for mount in container(made(), proxy.NAME)["volumeMounts"])


@pytest.mark.parametrize(
    ("own", "name", "key"),
    [(None, f"{NAME}-api-key", "api-key"), (api.SecretKey(name="mine", key="k"), "mine", "k")],
)
def test_the_key_is_the_proxys_alone(own: api.SecretKey | None, name: str, key: str) -> None:
    """As a file that follows the Secret; a Secret that is missing is told of by the variable."""
    pods = made(replace(SPEC, api_key=own))
    held = {"secretName": name, "items": [{"key": key, "path": proxy.KEY_NAME}], "optional": True}
    assert volume(pods, proxy.KEY_VOLUME)["secret"] == held
    (missed,) = container(pods, proxy.NAME)["env"]
    assert missed["valueFrom"]["secretKeyRef"] == {"name": name, "key": key}
    for each in pods["spec"]["containers"]:
        assert proxy.KEY_VOLUME not in {mount["name"] for mount in each["volumeMounts"]}
        assert name not in json.dumps(each)


def test_the_engine_is_reached_through_the_proxy_alone() -> None:
    """It listens on localhost, where agent and proxy ask it, and declares no port."""
    engine = container(made())
    assert engine["args"][-2:] == [f"--host={proxy.ENGINE_HOST}", f"--port={proxy.ENGINE_PORT}"]
    assert "ports" not in engine
    assert agent_config(PLANNED).engine_url == f"http://{proxy.ENGINE_HOST}:{proxy.ENGINE_PORT}"
    assert f"server engine {proxy.ENGINE_HOST}:{proxy.ENGINE_PORT}" in proxy.configuration()


def test_the_proxy_outlives_the_engine() -> None:
    """A native sidecar: it starts before the engine and ends after it, and leaves the Service when the engine does."""
    (sidecar,) = made()["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == (proxy.NAME, "Always")
    leave = sidecar["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert leave == f"sleep {host.BEFORE_STOP_SECONDS}; kill -USR1 1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), ["none.invalid"]), ((ServeArgument(flag=MEDIA_DOMAINS, values=("a", "b"), reason=""),), ["a", "b"])],
)
def test_pictures_come_from_nowhere_that_is_not_named(
    arguments: tuple[ServeArgument, ...], expected: list[str]
) -> None:
    """vLLM takes no domains for any; no host sends it elsewhere."""
    pods = made(planned=replace(PLANNED, arguments=(*PLANNED.arguments, *arguments)))
    words = container(pods)["args"]
    told = [word for word in words if word.startswith(MEDIA_DOMAINS)]
    assert told == ([f"{MEDIA_DOMAINS}={expected[0]}"] if len(expected) == 1 else [MEDIA_DOMAINS])
    assert environment(pods)["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert "--allowed-local-media-path" not in " ".join(words)


def test_the_agent_reads_its_plan_and_its_task() -> None:
    """The plan is the revision's ConfigMap, the task an annotation of the pod."""
    assert volume(made(), "config")["configMap"] == {"name": f"{NAME}-{DIGEST}"}
    (item,) = volume(made(), "pod")["downwardAPI"]["items"]
    assert item["path"] == "benchmark"
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations['vlmctl.dev/benchmark']"


@pytest.mark.parametrize(
    ("spec", "gated", "token"),
    [
        (SPEC, False, None),
        (SPEC, None, {"name": "hugging-face", "key": "token", "optional": True}),
        (SPEC, True, {"name": "hugging-face", "key": "token", "optional": True}),
        (
            of_source(
                hugging_face=api.HuggingFaceSource(repository="a/b", token_secret=api.SecretKey(name="s", key="k"))
            ),
            False,
            {"name": "s", "key": "k", "optional": False},
        ),
        (of_source(pvc=api.PvcSource(claim_name="weights")), True, None),
    ],
)
def test_tokens_go_to_the_hub_alone(
    spec: api.VLMDeploymentSpec, gated: bool | None, token: dict[str, Any] | None
) -> None:
    """The user's token is needed where given, the usual one is taken where it may be needed, others get none."""
    found = environment(made(spec, replace(PLANNED, gated=gated))).get("HF_TOKEN")
    assert found == (None if token is None else {"secretKeyRef": token})


def test_weights_that_the_job_brought_are_not_asked_for_again() -> None:
    """With a claim the engine stays off the hub; without one each pod downloads for itself."""
    assert environment(made(CACHED))["HF_HUB_OFFLINE"] == "1"
    assert volume(made(CACHED), "cache")["persistentVolumeClaim"] == {"claimName": f"{NAME}-cache"}
    assert made(CACHED)["spec"]["securityContext"]["fsGroup"] == made()["spec"]["securityContext"]["runAsUser"]
    assert "HF_HUB_OFFLINE" not in environment(made())
    assert "emptyDir" in volume(made(), "cache")


def test_a_pod_takes_no_more_of_its_node_than_its_checkpoint_explains() -> None:
    """A repository of terabytes would push neighbours out. Nothing is asked for: where a pool is at zero nodes, its
    autoscaler does not know what storage a new one has.
    """
    kept = volume(made(SPEC, replace(PLANNED, download_bytes=10 * GIB)), "cache")
    assert kept["emptyDir"] == {"sizeLimit": "40Gi"}
    assert volume(made(), "run")["emptyDir"] == {"sizeLimit": "64Mi"}
    own = [each["emptyDir"] for each in made()["spec"]["volumes"] if "emptyDir" in each]
    assert all("sizeLimit" in each for each in own)
    assert "ephemeral-storage" not in container(made())["resources"]["requests"]


def test_nothing_is_put_in_the_place_of_a_dollar() -> None:
    """The kubelet would write the hub's token for `$(HF_TOKEN)`, into the engine's log; `$$` is a dollar to it."""
    template = ServeArgument(flag="--chat-template", values=("{{ '$(HF_TOKEN) $5' }}",), reason="")
    spec = replace(SPEC, engine=api.Engine(env=(api.Variable(name="TZ", value="x$(HF_TOKEN)"),)))
    pods = made(spec, replace(PLANNED, arguments=(template,)))
    assert "--chat-template={{ '$$(HF_TOKEN) $$5' }}" in container(pods)["args"]
    assert environment(pods)["TZ"] == "x$$(HF_TOKEN)"


def test_hosts_of_pictures_are_whole_names() -> None:
    """`postgres.other` would be found as a Service by the search list, whatever `ndots` is; a download needs no such
    thing.
    """
    spec = replace(SPEC, engine=api.Engine(allowed_media_domains=("images.example.com",)))
    assert environment(made(spec))["LOCALDOMAIN"] == "."
    assert "LOCALDOMAIN" not in environment(made())


def test_a_mirror_of_the_hub() -> None:
    """The operator's configuration names it once for all engines that need the hub."""
    assert environment(made(hub_endpoint="https://hub.example"))["HF_ENDPOINT"] == "https://hub.example"
    source = of_source(image=api.ImageSource(reference="ghcr.io/a/weights:1"))
    assert "HF_ENDPOINT" not in environment(made(source, hub_endpoint="https://hub.example"))


@pytest.mark.parametrize(
    ("source", "held", "mount"),
    [
        (
            {"pvc": api.PvcSource(claim_name="weights", path="/a/b/")},
            {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
            {"subPath": "a/b"},
        ),
        (
            {"image": api.ImageSource(reference="ghcr.io/a/weights:1")},
            {"image": {"reference": "ghcr.io/a/weights:1", "pullPolicy": "IfNotPresent"}},
            {},
        ),
    ],
)
def test_checkpoints_on_volumes_and_in_images(
    source: dict[str, Any], held: dict[str, Any], mount: dict[str, str]
) -> None:
    """They are mounted where the plan loads them from, and nobody may write there."""
    pods = made(of_source(**source), replace(PLANNED, checkpoint=MODELS_FOLDER))
    assert volume(pods, "model") == {"name": "model", **held}
    found = next(each for each in container(pods)["volumeMounts"] if each["name"] == "model")
    assert found == {"name": "model", "mountPath": MODELS_FOLDER, "readOnly": True, **mount}
    assert container(pods)["args"][:3] == ["vllm", "serve", MODELS_FOLDER]


def test_users_add_and_never_replace() -> None:
    """More labels, annotations, variables, tolerations and nodes; ours stay as they are."""
    spec = replace(
        with_pod(
            labels={"team": "vision", names.REVISION: "x", names.COMPONENT: "x"},
            annotations={"a": "b"},
            node_selector={"zone": "a"},
            tolerations=(api.Toleration(key="spot", operator=api.TolerationOperator.EXISTS),),
            image_pull_secrets=("pull",),
            priority_class_name="high",
            scheduler_name="own",
        ),
        engine=api.Engine(env=(api.Variable(name="VLLM_LOGGING_LEVEL", value="DEBUG"), api.Variable(name="HF_HOME"))),
    )
    pods, plain = made(spec), made()
    assert pods["metadata"]["labels"] == {"team": "vision", **plain["metadata"]["labels"]}
    assert pods["metadata"]["annotations"] == {"a": "b"}
    assert pods["spec"]["nodeSelector"] == {"zone": "a"}
    assert pods["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert (pods["spec"]["priorityClassName"], pods["spec"]["schedulerName"]) == ("high", "own")
    assert pods["spec"]["tolerations"] == [*plain["spec"]["tolerations"], {"key": "spot", "operator": "Exists"}]
    assert environment(pods) == {**environment(plain), "VLLM_LOGGING_LEVEL": "DEBUG"}
    assert "runtimeClassName" not in pods["spec"]


def test_the_users_sizes_are_the_engines() -> None:
    """CPU and memory replace the planned ones in requests and limits, GPUs stay."""
    resources = container(made(with_pod(cpu=3, memory="20Gi")))["resources"]
    planned = container(made())["resources"]
    assert resources["requests"] == {**planned["requests"], "cpu": "3", "memory": "20Gi"}
    assert resources["limits"] == {**planned["limits"], "memory": "20Gi"}


def test_a_template_is_json_and_the_same_each_time() -> None:
    """It is kept in a ControllerRevision and compared with what the API server holds."""
    assert json.loads(json.dumps(made(CACHED))) == made(CACHED)
