"""The download Job: what it brings from a hub, what it leaves there, and where it runs."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.download import done, job_name, job_spec
from vlm_operator.names import JOB_NAME_LENGTH

from tests.vlm_operator.children import CACHED, NAME, PLANNED, revision
from vlmctl.api import v1alpha1 as api
from vlmctl.serving import kubernetes

REPOSITORY = PLANNED.repository
COMMIT = "a" * 40
TOKEN = "hf_secret"
SAFE = ("config.json", "model.safetensors", "tokenizer.json", "chat/template.jinja")
LABELS = names.labels(NAME, names.Component.CACHE)
OTHERS = ("pytorch_model.bin", "original/consolidated.00.pth", "model.gguf", "onnx/model.onnx")


@contextmanager
def hub(*files: str, token: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """The part of the Hugging Face hub's API that a download uses; gives its address and the files it was asked for."""
    served: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
                self.send(401, b"", {"X-Error-Code": "GatedRepo"})
            elif path.startswith(f"/api/models/{REPOSITORY}/revision/"):
                listed = [{"rfilename": name} for name in files]
                about = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": listed}
                self.send(200, json.dumps(about).encode())
            elif path.startswith(f"/api/models/{REPOSITORY}/tree/"):
                tree = [{"type": "file", "path": name, "size": len(name), "oid": "0"} for name in files]
                self.send(200, json.dumps(tree).encode())
            elif path.startswith("/api/"):
                self.send(404, b"")
            else:
                name = re.sub(rf"^/{REPOSITORY}/resolve/[^/]+/", "", path)
                if self.command == "GET":
                    served.append(name)
                etag = hashlib.sha256(name.encode()).hexdigest()
                self.send(200, name.encode(), {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'})

        def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", served
        finally:
            server.shutdown()
            thread.join()


def run(folder: Path, address: str, token: str | None = None, **planned: Any) -> subprocess.CompletedProcess[str]:
    """Run the container's command with its own variables, but for the folder of the cache."""
    pytest.importorskip("huggingface_hub", reason="the engine's image has it; here: pip install 'vlmctl[catalog]'")
    spec = job_spec(revision(CACHED, replace(PLANNED, **planned)), LABELS, shares_node=False)
    (container,) = spec["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    secret = {} if token is None else {"HF_TOKEN": token}
    return subprocess.run(
        [sys.executable, *container["command"][1:]],
        env={
            **variables,
            "PATH": "",
            "HF_HOME": str(folder),
            "HF_ENDPOINT": address,
            "HF_HUB_DISABLE_XET": "1",
            **secret,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def brought(folder: Path) -> set[str]:
    """The files of the snapshot that the engine will look for."""
    snapshot = next(folder.glob("hub/models--*/snapshots/*"))
    assert snapshot.name == COMMIT
    return {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}


def test_what_the_engine_reads_is_brought(tmp_path: Path) -> None:
    """Of several formats the one that vLLM takes, and everything else that a model needs."""
    with hub(*SAFE, *OTHERS) as (address, served):
        ran = run(tmp_path, address)
    assert ran.returncode == 0, ran.stderr
    assert brought(tmp_path) == set(SAFE)
    assert not set(OTHERS) & set(served)


def test_without_safetensors_the_rest_is_brought(tmp_path: Path) -> None:
    """An older repository holds its weights in another format alone."""
    with hub("config.json", *OTHERS) as (address, _):
        ran = run(tmp_path, address)
    assert ran.returncode == 0, ran.stderr
    assert brought(tmp_path) == {"config.json", "pytorch_model.bin", "model.gguf", "onnx/model.onnx"}


def test_a_second_download_brings_nothing(tmp_path: Path) -> None:
    """A revision that changes the plan alone finds its weights in the cache."""
    with hub(*SAFE) as (address, served):
        run(tmp_path, address, revision=COMMIT)
        served.clear()
        assert run(tmp_path, address, revision=COMMIT).returncode == 0
    assert served == []


def test_a_gated_repository_is_said_to_be_one(tmp_path: Path) -> None:
    """The log says what the diagnosis looks for; with the token it works, at the next try."""
    with hub(*SAFE, token=TOKEN) as (address, _):
        ran = run(tmp_path, address)
        assert ran.returncode != 0
        assert "GatedRepoError" in ran.stderr
        assert run(tmp_path, address, TOKEN).returncode == 0
    assert brought(tmp_path) == set(SAFE)


def test_it_runs_where_the_engine_will_and_takes_no_gpu() -> None:
    """A volume made on first use stays near its first pod; the same people may run it, by the same rules."""
    asked = api.PodOverrides(
        node_selector={"zone": "a"},
        image_pull_secrets=("pull",),
        labels={"team": "documents"},
        annotations={"prometheus.io/scrape": "true"},  # which nobody in a pod that downloads would answer
    )
    made = revision(replace(CACHED, pod=asked))
    engine = made.template["spec"]
    template = job_spec(made, LABELS, shares_node=False)["template"]
    assert template["metadata"] == {"labels": {"team": "documents", **LABELS}}
    pod = template["spec"]
    for field in ("affinity", "nodeSelector", "tolerations", "securityContext", "imagePullSecrets"):
        assert pod[field] == engine[field]
    (container,) = pod["containers"]
    assert container["image"] == engine["containers"][0]["image"]
    assert container["securityContext"] == engine["containers"][0]["securityContext"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert [volume["name"] for volume in pod["volumes"]] == [kubernetes.CACHE]


def test_it_goes_where_a_claim_that_one_node_holds_is() -> None:
    """Beside the pods that serve from it, by a label that it has itself, as otherwise the first one would fit nowhere;
    and still only on nodes that the engine may run on.
    """
    made = revision(CACHED)
    pod = job_spec(made, LABELS, shares_node=True)["template"]
    affinity = pod["spec"]["affinity"]
    assert affinity["nodeAffinity"] == made.template["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    told = term["labelSelector"]["matchLabels"].items()
    assert told <= made.template["metadata"]["labels"].items()
    assert told <= pod["metadata"]["labels"].items()
    assert "podAffinity" not in job_spec(made, LABELS, shares_node=False)["template"]["spec"]["affinity"]


TOKEN_OF = api.HuggingFaceSource(token_secret=api.SecretKey(name="mine", key="token"))


@pytest.mark.parametrize(
    ("spec", "planned", "same"),
    [
        (replace(CACHED, engine=api.Engine(arguments=("--max-num-seqs=4",))), PLANNED, True),
        (replace(CACHED, pod=api.PodOverrides(cpu="2", memory="64Gi", labels={"a": "b"})), PLANNED, True),
        (CACHED, replace(PLANNED, arguments=()), True),
        (CACHED, replace(PLANNED, revision="a" * 40), False),
        (CACHED, replace(PLANNED, repository="acme/other"), False),
        (replace(CACHED, model=replace(CACHED.model, source=api.ModelSource(hugging_face=TOKEN_OF))), PLANNED, False),
        (replace(CACHED, pod=api.PodOverrides(node_selector={"zone": "a"})), PLANNED, False),
    ],
)
def test_a_job_is_done_again_only_where_it_would_differ(spec: api.VLMDeploymentSpec, planned: Any, same: bool) -> None:
    """Other arguments of the engine find the weights where they are; another token has its own try."""
    before, after = revision(CACHED), revision(spec, planned)
    assert (job_name(NAME, before) == job_name(NAME, after)) is same


def test_it_has_the_users_variables_and_not_the_engines_key() -> None:
    """A proxy that the user named is needed here as well."""
    spec = replace(CACHED, engine=api.Engine(env=(api.Variable(name="HTTPS_PROXY", value="http://proxy:3128"),)))
    (container,) = job_spec(revision(spec), LABELS, shares_node=False)["template"]["spec"]["containers"]
    names_of_variables = {each["name"] for each in container["env"]}
    assert {"HTTPS_PROXY", "HF_HOME"} <= names_of_variables
    assert not {"VLLM_API_KEY", "HF_HUB_OFFLINE"} & names_of_variables


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], False),
        ([{"type": "Complete", "status": "False"}], False),
        ([{"type": "Failed", "status": "True"}], False),
        ([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}], True),
    ],
)
def test_done_is_what_the_job_says(conditions: list[dict[str, str]], expected: bool) -> None:
    """Only a Job that is complete has brought everything."""
    made = revision(CACHED)
    jobs = {job_name(NAME, made): {"status": {"conditions": conditions}}}
    assert done(made, jobs, NAME) is expected
    assert done(revision(), {}, NAME)


def test_long_names_stay_short_and_apart() -> None:
    """A Job's name is a label of its pods; two long names that begin alike are two Jobs."""
    one, other = "a" * 51 + "b", "a" * 51 + "c"
    assert len(names.download(one, "0123456789")) <= JOB_NAME_LENGTH
    assert names.download(one, "0123456789") != names.download(other, "0123456789")
    assert names.download(NAME, "0123456789") == f"{NAME}-download-0123456789"
