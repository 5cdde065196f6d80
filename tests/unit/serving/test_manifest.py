from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml

from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidValue
from vlmctl.serving.engine_args import ServeOptions, command, engine_arguments
from vlmctl.serving.forms import Form
from vlmctl.serving.manifest import render
from vlmctl.serving.summary import read_plan_summary, summary
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import EngineArgument, KnownBad, ModelSpec

AWKWARD = EngineArgument(
    flag="--hf-overrides", value='{"architectures": ["It\'s: a # test"]}', reason="names # and: quotes", source="card"
)


@pytest.fixture
def pod(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> dict[str, Any]:
    deployment, _ = yaml.safe_load_all(render(plan, model, gpu, Form.KUBERNETES))
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("form", list(Form))
def test_a_plan_reads_back_from_every_form(plan: Plan, model: ModelSpec, gpu: GpuSpec, form: Form) -> None:
    """What a file says of its plan is the plan's own summary, to the last digit."""
    assert read_plan_summary(render(plan, model, gpu, form)) == summary(plan)


@pytest.mark.parametrize("form", list(Form))
def test_every_argument_stands_beside_its_reason(plan: Plan, model: ModelSpec, gpu: GpuSpec, form: Form) -> None:
    """A reader finds why each flag is there without leaving the file."""
    text = render(plan, model, gpu, form)
    for argument in engine_arguments(plan, model, gpu):
        assert argument.flag in text
        assert argument.reason in text


@pytest.mark.parametrize("form", list(Form))
def test_troubles_and_warnings_are_said_on_top(
    plan: Plan, served: Callable[..., ModelSpec], gpu: GpuSpec, form: Form
) -> None:
    """Before any setting, a reader sees what is known to go wrong."""
    model = served(known_bad=(KnownBad(condition="float16", effect="gibberish", source="issue 1"),))
    text = render(plan, model, gpu, form)
    assert "# Known trouble: float16: gibberish (issue 1)." in text
    assert "# Warning: prices are from 2026-01-01" in text


def test_the_shell_command_is_the_planned_one(plan: Plan, served: Callable[..., ModelSpec], gpu: GpuSpec) -> None:
    """A POSIX shell runs the text as exactly the planned words, awkward characters included."""
    model = served(arguments=(AWKWARD,))
    script = "vllm() { printf '%s\\n' vllm \"$@\"; }\n" + render(plan, model, gpu, Form.VLLM)
    ran = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == command(plan.placement.repository, engine_arguments(plan, model, gpu))


@pytest.mark.parametrize("form", [Form.COMPOSE, Form.KUBERNETES])
def test_yaml_holds_the_planned_words(plan: Plan, served: Callable[..., ModelSpec], gpu: GpuSpec, form: Form) -> None:
    """YAML quoting and comments change no word of the command."""
    model = served(arguments=(AWKWARD,))
    document = next(yaml.safe_load_all(render(plan, model, gpu, form)))
    if form is Form.COMPOSE:
        service = document["services"]["vllm"]
        words = service["entrypoint"] + service["command"]
    else:
        container = document["spec"]["template"]["spec"]["containers"][0]
        words = container["command"] + container["args"]
    assert words == command(plan.placement.repository, engine_arguments(plan, model, gpu))


def test_the_vlmdeployment_is_the_typed_object(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """The manifest is a VLMDeployment that the records read strictly, fixed to what was planned."""
    read = msgspec.convert(yaml.safe_load(render(plan, model, gpu)), api.VLMDeployment)
    assert (read.api_version, read.kind) == ("vlmctl.dev/v1alpha1", "VLMDeployment")
    assert read.spec.model.name == model.id
    assert read.spec.hardware == api.Hardware(gpu="L4", count=1)
    assert read.spec.quantization == "BF16"
    assert read.spec.workload.images == (api.Images(size="1680x2240", count=2),)
    assert read.spec.objectives == api.Objectives(ttft="2s", tpot="50ms")
    assert read.spec.replicas == 3
    assert read.spec.engine is None


def test_the_workload_is_written_whole(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """A saved plan states its tokens, so that another version's defaults do not change it."""
    workload = yaml.safe_load(render(plan, model, gpu))["spec"]["workload"]
    assert (workload["promptTokens"], workload["outputTokens"]) == (64, 256)


def test_permission_to_run_code_is_written_down(plan: Plan, served: Callable[..., ModelSpec], gpu: GpuSpec) -> None:
    """The operator needs the user's word too; it is not given for a model that needs none."""
    options = ServeOptions(allow_remote_code=True, needs=("tools",), media_domains=("a.example",))
    read = msgspec.convert(
        yaml.safe_load(render(plan, served(requires_remote_code=True), gpu, options=options)), api.VLMDeployment
    )
    assert read.spec.engine == api.Engine(
        trust_remote_code=True, needs=("tools",), allowed_media_domains=("a.example",)
    )
    plain = msgspec.convert(yaml.safe_load(render(plan, served(), gpu, options=options)), api.VLMDeployment)
    assert plain.spec.engine == api.Engine(needs=("tools",), allowed_media_domains=("a.example",))


def test_names_are_valid_in_kubernetes(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """A dot in a model's id does not reach an object's name."""
    for document in yaml.safe_load_all(render(plan, model, gpu, Form.KUBERNETES)):
        assert document["metadata"]["name"] == "tinyvl-2-5-7b"


def test_deployment_and_service_find_their_pods(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """Selectors match the pod's labels, and the Service's port name exists in the container."""
    deployment, service = yaml.safe_load_all(render(plan, model, gpu, Form.KUBERNETES))
    template = deployment["spec"]["template"]
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {each["name"] for each in template["spec"]["containers"][0]["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports
    assert deployment["spec"]["replicas"] == 3


def test_pods_land_on_the_planned_gpu_only(pod: dict[str, Any]) -> None:
    """Nodes are chosen by product label, and the GPUs are asked for in requests and limits alike."""
    affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (expression,) = affinity["nodeSelectorTerms"][0]["matchExpressions"]
    assert expression == {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}
    resources = pod["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"


def test_amd_gpus_have_their_own_names(plan: Plan, model: ModelSpec, mi300x: GpuSpec) -> None:
    """Label key, resource and image are the vendor's."""
    deployment = next(yaml.safe_load_all(render(plan, model, mi300x, Form.KUBERNETES)))
    pod = deployment["spec"]["template"]["spec"]
    term = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    assert term["matchExpressions"][0]["key"] == "amd.com/gpu.product-name"
    assert pod["containers"][0]["resources"]["limits"]["amd.com/gpu"] == "1"
    assert pod["containers"][0]["image"].startswith("vllm/vllm-openai-rocm:")
    compose = yaml.safe_load(render(plan, model, mi300x, Form.COMPOSE))
    assert "/dev/kfd" in compose["services"]["vllm"]["devices"]


def test_pods_meet_the_restricted_standard(pod: dict[str, Any]) -> None:
    """The four things that the restricted pod security standard asks of every container."""
    container = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostPath"} & {key for volume in pod["volumes"] for key in volume}


def test_a_service_named_vllm_cannot_set_the_engines_port(pod: dict[str, Any]) -> None:
    """Kubernetes' service variables would be read as vLLM's own."""
    assert pod["enableServiceLinks"] is False


def test_a_stop_is_longer_than_what_it_waits_for(pod: dict[str, Any]) -> None:
    """The grace period covers the pause before the stop and the engine's own time to finish."""
    container = pod["containers"][0]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    timeout = next(int(word.split("=")[1]) for word in container["args"] if word.startswith("--shutdown-timeout"))
    assert pod["terminationGracePeriodSeconds"] > pause + timeout


def test_starting_may_take_as_long_as_a_download(pod: dict[str, Any]) -> None:
    """The start-up probe holds the others back for at least half an hour."""
    probe = pod["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 1800


@pytest.mark.parametrize(("gated", "expected"), [(False, None), (None, True), (True, False)])
def test_a_gated_model_gets_its_token(
    plan: Plan, model: ModelSpec, gpu: GpuSpec, gated: bool | None, expected: bool | None
) -> None:
    """A model known to be gated needs the Secret; where it is unknown the Secret may be missing."""
    licensed = msgspec.structs.replace(model, license=msgspec.structs.replace(model.license, gated=gated))
    deployment = next(yaml.safe_load_all(render(plan, licensed, gpu, Form.KUBERNETES)))
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    token = [each["valueFrom"]["secretKeyRef"]["optional"] for each in environment if each["name"] == "HF_TOKEN"]
    assert token == ([] if expected is None else [expected])


def test_compose_reserves_the_gpus_and_shares_memory(
    placed: Callable[..., Plan], model: ModelSpec, gpu: GpuSpec
) -> None:
    """Tensor parallelism needs every GPU, and /dev/shm has the planned size."""
    service = yaml.safe_load(render(placed(gpu_count=4), model, gpu, Form.COMPOSE))["services"]["vllm"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 4, "capabilities": ["gpu"]}
    assert service["shm_size"] == "2gb"
    assert service["ipc"] == "private"


def test_compose_publishes_to_this_machine_alone(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """The engine checks no key, so the port is not open to the network."""
    service = yaml.safe_load(render(plan, model, gpu, Form.COMPOSE))["services"]["vllm"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]


def test_a_local_checkpoint_is_mounted_or_refused(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """Compose sees this machine's folders; a cluster does not."""
    options = ServeOptions(checkpoint="/models/tiny")
    service = yaml.safe_load(render(plan, model, gpu, Form.COMPOSE, options))["services"]["vllm"]
    assert "/models/tiny:/models/tiny:ro" in service["volumes"]
    assert service["command"][0] == "/models/tiny"
    with pytest.raises(InvalidValue, match="does not see the folder"):
        render(plan, model, gpu, Form.KUBERNETES, options)


def test_the_same_plan_gives_the_same_text(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """No clock, no set order: a file under version control changes only with its plan."""
    for form in Form:
        assert render(plan, model, gpu, form) == render(plan, model, gpu, form)
