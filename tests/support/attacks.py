"""What somebody tries who may write VLMDeployments and nothing else, field by field.

Every field of the schema is here: with values that are to reach what is not its writer's, or among those of which no
value can, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from vlm_operator import names

from vlmctl.api.crds import vlmdeployment_crd

Body = dict[str, Any]
MODEL = "qwen2.5-vl-3b-instruct"
CODED = "internvl3-8b"  # a model that comes with code
LOGIN = "registry-login"  # of somebody else, in the same namespace
EVIL_CONFIG = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "auto_map": {"AutoModel": "evil--a.B"}}
FACTS = {"config": json.dumps(EVIL_CONFIG)}
NESTED = '{"a":' + 20 * "[" + 20 * "]" + "}"


class Attack(NamedTuple):
    """A value of `field`, inside `spec`, and what it is for."""

    field: str
    wants: str
    spec: Body


def _engine(field: str, wants: str, *values: Body) -> Iterator[Attack]:
    return (Attack(f"spec.engine.{field}", wants, {"engine": value}) for value in values)


def _pod(field: str, wants: str, *values: Body) -> Iterator[Attack]:
    return (Attack(f"spec.pod.{field}", wants, {"pod": value}) for value in values)


def _source(field: str, wants: str, *values: Body) -> Iterator[Attack]:
    return (
        Attack(f"spec.model.source.{field}", wants, {"model": {"name": MODEL, "source": value}}) for value in values
    )


def _arguments(wants: str, *words: str) -> Iterator[Attack]:
    return _engine("arguments[]", wants, *({"arguments": word.split()} for word in words))


def _variables(wants: str, **values: str) -> Iterator[Attack]:
    for name, value in values.items():
        yield from _engine("env[].name", wants, {"env": [{"name": name, "value": value}]})


ATTACKS: tuple[Attack, ...] = (
    Attack("spec.model.name", "a path, an argument", {"model": {"name": "../../etc"}}),
    Attack("spec.model.name", "an argument", {"model": {"name": "--trust-remote-code"}}),
    *_source("huggingFace.repository", "a path", {"huggingFace": {"repository": "../etc"}}),
    *_source("huggingFace.repository", "a host", {"huggingFace": {"repository": "https://evil.example/a"}}),
    *_source("huggingFace.repository", "an argument", {"huggingFace": {"repository": "--config=/cache/a"}}),
    *_source("huggingFace.revision", "an argument", {"huggingFace": {"revision": "--config"}}),
    *_source(
        "huggingFace.tokenSecret.name",
        "a Secret",
        *(
            {"huggingFace": {"tokenSecret": {"name": each, "key": "password"}}}
            for each in ("database", "default-token")
        ),
    ),
    *_source(
        "huggingFace.tokenSecret.key", "a path", {"huggingFace": {"tokenSecret": {"name": "vlm-a", "key": "../a"}}}
    ),
    *_source(
        "huggingFace.tokenSecret.name",
        "the keys of another VLMDeployment",
        {"huggingFace": {"tokenSecret": {"name": "vlm-a-api-key", "key": "api-key"}}},
    ),
    *(
        Attack(
            "spec.model.source.huggingFace.repository", "code", {"model": model, "engine": {"trustRemoteCode": True}}
        )
        for model in (
            {"name": CODED, "source": {"huggingFace": {"repository": "evil/evil", "revision": 40 * "0"}}},
            {"name": CODED, "source": {"huggingFace": {"revision": 40 * "0"}}},  # of a pull request of his
            {"name": CODED, "source": {"huggingFace": {"revision": "refs/pr/1"}}},
            {"name": CODED, "source": {"pvc": {"claimName": "other-cache", "path": "/huggingface/hub/evil"}}},
            {"name": CODED, "source": {"image": {"reference": "registry.corp/a:1"}}},
            {"name": CODED, "source": {"image": {"reference": f"registry.corp/a@sha256:{64 * '0'}"}}},
        )
    ),
    *_source("pvc.claimName", "another namespace", {"pvc": {"claimName": "other/weights"}}),
    *_source("pvc.path", "the node", {"pvc": {"claimName": "a", "path": "/../../etc"}}),
    *_source("image.reference", "the node", {"image": {"reference": "/etc/passwd"}}),
    *_source(
        "image.reference",
        "any address, from the node",
        *(
            {"image": {"reference": each}}
            for each in ("127.0.0.1:10255/a:1", "10.0.0.1:8443/a:1", "localhost/a", "registry.corp:8443/a", "evil/a:1")
        ),
    ),
    *_source("image.path", "the node", {"image": {"reference": "ghcr.io/a/b:1", "path": "/a/../../.."}}),
    Attack(
        "spec.model.facts.config",
        "code",
        {"model": {"source": {"huggingFace": {"repository": "evil/evil"}}, "facts": FACTS}},
    ),
    *(
        Attack(
            f"spec.model.facts.{field}",
            "the operator's memory",
            {"model": {"source": {"huggingFace": {"repository": "evil/evil"}}, "facts": {**FACTS, field: text}}},
        )
        for field, text in (
            ("config", NESTED),
            ("processor", NESTED),
            ("config", f'{{"a": [{",".join(500_000 * ["[]"])}]}}'),
            ("processor", f'{{"a": [{",".join(500_000 * ["[]"])}]}}'),
        )
    ),
    *_engine(
        "image", "code", *({"image": each} for each in ("evil.example/vllm:1", "docker.io/vllm/vllm-openai:v0.1"))
    ),
    *_arguments(
        "code",
        "--trust-remote-code",
        "--trust_remote_code",
        "--trust-remote",
        "--worker-cls evil.Worker",
        "--worker-extension-cls evil.Extension",
        "--middleware evil.middleware",
        "--logits-processors evil:Processor",
        "--tool-parser-plugin /models/evil.py",
        "--reasoning-parser-plugin /models/evil.py",
        "--scheduler-cls evil.Scheduler",
        "--distributed-executor-backend evil.Executor",
        "--model-class-overrides.A evil:B",
        "--io-processor-plugin evil",
        "--compilation-config.backend evil.backend",
        '--hf-overrides {"auto_map":{"AutoConfig":"evil.C"}}',
        "--quantization /tmp/evil.py",
        "--enforce-eager=--middleware evil.middleware",
        "--enforce-eager=--worker-cls evil.Worker",
        '--seed=--hf-overrides {"auto_map":{"AutoConfig":"evil\\u002fevil--c.C"}}',
        "--seed=--config evil.yaml",
        "--seed=--api-key mine",
        '--mm-processor-kwargs {"code_revision":"refs\\u002fpr\\u002f1"}',
        "--mm-processor-kwargs.cache_dir=models",
    ),
    *_arguments("a token", "--seed x$(HF_TOKEN)", "--chat-template=$(HF_TOKEN){", "--media-io-kwargs.$(HF_TOKEN)=1"),
    *_variables("a token", VLLM_LOGGING_LEVEL="x$(HF_TOKEN)", TZ="$(HF_TOKEN)"),
    *_arguments(
        "a path",
        "--chat-template /proc/self/environ",
        "--config /cache/evil.yaml",
        "--download-dir /etc",
        "--allowed-local-media-path /",
        "--model /cache/other",
        "--tokenizer /proc/self",
        "--generation-config /proc/self",
        "--lora-modules a=/cache/other",
        "--hf-config-path /etc",
        "--ssl-keyfile /etc/shadow",
        "--uds /run/vlmctl/open",
        "--log-config-file /cache/evil.json",
        "--mm-encoder-fp8-scale-save-path /cache/a",
    ),
    *_arguments(
        "a host",
        "--host 0.0.0.0",
        "--port 8000",
        "--api-key mine",
        "--master-addr evil.example",
        "--data-parallel-address evil.example",
        "--otlp-traces-endpoint http://evil.example",
        "--tool-server evil.example:80",
        '--kv-transfer-config {"kv_ip":"evil.example"}',
        '--kv-events-config {"endpoint":"tcp://evil.example:1"}',
        "--allowed-media-domains evil.example",
        "--load-format runai_streamer",
        '--model-loader-extra-config {"tensorizer_uri":"http://evil.example/a"}',
        "--root-path /a",
        "--speculative-config.model evil/evil",
    ),
    *_variables(
        "code",
        LD_PRELOAD="/models/evil.so",
        LD_LIBRARY_PATH="/models",
        PYTHONPATH="/models",
        PYTHONSTARTUP="/models/evil.py",
        VLLM_PLUGINS="evil",
        VLLM_NCCL_SO_PATH="/models/evil.so",
        NCCL_NET_PLUGIN="evil",
        VLLM_ALLOW_INSECURE_SERIALIZATION="1",
        VLLM_SERVER_DEV_MODE="1",
        VLLM_ALLOW_RUNTIME_LORA_UPDATING="1",
        BASH_ENV="/models/evil.sh",
        PATH="/models",
        HF_HUB_ENABLE_X="1",
    ),
    *_variables(
        "a host, credentials",
        HF_ENDPOINT="http://evil.example",
        HF_TOKEN="mine",
        HF_TOKEN_PATH="/run/a",
        HTTPS_PROXY="http://evil.example",
        all_proxy="http://evil.example",
        SSL_CERT_FILE="/models/evil.pem",
        VLLM_API_KEY="mine",
        VLLM_USE_MODELSCOPE="1",
        VLLM_USAGE_STATS_SERVER="http://evil.example",
        VLLM_MEDIA_URL_ALLOW_REDIRECTS="1",
        VLLM_HOST_IP="10.0.0.1",
        VLLM_PORT="8000",
        S3_ENDPOINT_URL="http://evil.example",
        AWS_CONTAINER_CREDENTIALS_FULL_URI="http://169.254.170.2",
    ),
    *_engine("env[].value", "a path", {"env": [{"name": "NCCL_DEBUG", "value": "/etc/passwd"}]}),
    *_engine("trustRemoteCode", "code", {"trustRemoteCode": True}),
    *_engine("arguments[]", "the memory of all who watch pods", {"arguments": 64 * ["--seed=" + 2000 * "1"]}),
    *_engine("needs[]", "code", {"needs": ["evil"]}),
    *_engine(
        "allowedMediaDomains[]",
        "a host of his, a host of the cluster, credentials of the node",
        {"allowedMediaDomains": ["images.example.com", "evil.example"]},
        *(
            {"allowedMediaDomains": [each]}
            for each in (
                "evil.example",
                "evil.images.example.com",
                "example.com",
                "169.254.169.254",
                "2852039166",
                "0xa9fea9fe",
                "10.0.0.1",
                "127.1",
                "localhost",
                "metadata.google.internal",
                "kubernetes.default.svc",
                "postgres.other.svc.cluster.local",
                "kubernetes.default",
                "postgres.other",
                "a --host=0.0.0.0",
            )
        ),
    ),
    *_pod(
        "labels{}",
        "another's traffic, another's rules, a controller",
        *(
            {"labels": {each: "a"}}
            for each in (
                "app",
                "role",
                names.INSTANCE,
                names.DEPLOYMENT,
                names.COMPONENT,
                "azure.workload.identity/use",
                "aadpodidbinding",
                "namespace",
                "job",
                "sidecar.istio.io/inject",
                "io.kubernetes.cri-o.Devices",
                "org.systemd.property.SuccessAction",
                "devices.nri.io",
            )
        ),
    ),
    *_pod(
        "annotations{}",
        "a controller",
        *(
            {"annotations": {each: "a"}}
            for each in (
                names.BENCHMARK,
                "seccomp.security.alpha.kubernetes.io/pod",
                "container.apparmor.security.beta.kubernetes.io/engine",
                "k8s.v1.cni.cncf.io/networks",
                "vault.hashicorp.com/agent-inject",
                "iam.amazonaws.com/role",
                "sidecar.istio.io/inject",
            )
        ),
    ),
    *_pod(
        "annotations{}",
        "the node, by its container runtime",
        *(
            {"annotations": {key: value}}
            for key, value in (
                ("io.kubernetes.cri-o.userns-mode", "auto"),
                ("io.kubernetes.cri-o.Devices", "/dev/fuse"),
                ("org.systemd.property.SuccessAction", "'poweroff-force'"),
                ("devices.nri.io", "- path: /dev/fuse"),
                ("mounts.nri.io", "- source: /"),
                ("io.katacontainers.config.hypervisor.virtio_fs_extra_args", '["--sandbox=none"]'),
            )
        ),
    ),
    *_pod(
        "annotations{}",
        "the memory of all who watch pods",
        *({"annotations": {f"a{number}": size * "a" for number in range(16)}} for size in (2000, 16_000)),
    ),
    *_pod("nodeSelector{}", "the node", {"nodeSelector": {"kubernetes.io/hostname": "../a"}}),
    *_pod(
        "tolerations[].key",
        "nodes of the cluster itself",
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": [{"key": "", "operator": "Exists"}]},
        {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
        {"tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}]},
    ),
    *_pod("priorityClassName", "the place of others", {"priorityClassName": "system-node-critical"}),
    *_pod("imagePullSecrets[]", "a Secret of another namespace", {"imagePullSecrets": ["other/a"]}),
    *_pod("imagePullSecrets[]", "a login, in a file or a variable", {"imagePullSecrets": [LOGIN]}),
    *(
        Attack(
            "spec.pod.imagePullSecrets[]", "a login, at his registry", {"pod": {"imagePullSecrets": [LOGIN]}, **each}
        )
        for each in (
            {"engine": {"image": "evil.example/vllm:1"}},
            {"model": {"name": MODEL, "source": {"image": {"reference": "evil.example/weights:1"}}}},
        )
    ),
    Attack("spec.apiKey.name", "a Secret", {"apiKey": {"name": "database", "key": "password"}}),
    Attack("spec.apiKey.key", "a path", {"apiKey": {"name": "vlm-a", "key": "../../a"}}),
    Attack("spec.cache.pvc.storageClassName", "the node", {"cache": {"pvc": {"size": "1Gi", "storageClassName": "/"}}}),
)
OTHERS = {"apiVersion": "v1", "kind": "Service", "name": "payments", "uid": "3f1c0d5e-0000-4000-8000-00000000000f"}
# Metadata of a VLMDeployment: no child has anything of it, so whatever it says is said of the VLMDeployment alone.
METADATA: tuple[Body, ...] = (
    {"ownerReferences": [{**OTHERS, "controller": True, "blockOwnerDeletion": True}]},
    {"finalizers": ["evil.example/held"]},
    {"labels": {"app": "payments", names.DEPLOYMENT: "another", names.COMPONENT: names.Component.ENGINE.value}},
    {"labels": {"sidecar.istio.io/inject": "true", "azure.workload.identity/use": "true"}},
    {"annotations": {names.BENCHMARK: "{}", names.MEASURED: "1", names.VERDICT: "Good"}},
    {"annotations": {"iam.amazonaws.com/role": "admin", "vault.hashicorp.com/agent-inject": "true"}},
)
NUMBER = "a number, a duration, a quantity, a switch or a word of a closed list"
NAME = "the name of something that an administrator has made for this: it is only asked for"
HARMLESS = {
    "spec.model.facts.license": "told to the planner, which refuses where the policy says so",
    "spec.hardware.gpu": "compared with what the cluster has",
    "spec.pod.runtimeClassName": NAME,
    "spec.pod.schedulerName": NAME,
    "spec.pod.tolerations[].value": "compared with a taint's",
    **dict.fromkeys(
        """
        spec.quantization spec.hardware.count spec.workload.images[].size spec.workload.images[].count
        spec.workload.videos[].length spec.workload.videos[].size spec.workload.videos[].framesPerSecond
        spec.workload.promptTokens spec.workload.outputTokens spec.objectives.ttft spec.objectives.tpot spec.replicas
        spec.scaling.min spec.scaling.max spec.scaling.engine spec.scaling.targetUtilization spec.scaling.idle
        spec.scaling.behavior.scaleUp.stabilizationWindowSeconds spec.scaling.behavior.scaleUp.selectPolicy
        spec.scaling.behavior.scaleUp.policies[].type spec.scaling.behavior.scaleUp.policies[].value
        spec.scaling.behavior.scaleUp.policies[].periodSeconds spec.scaling.behavior.scaleUp.tolerance
        spec.scaling.behavior.scaleDown.stabilizationWindowSeconds spec.scaling.behavior.scaleDown.selectPolicy
        spec.scaling.behavior.scaleDown.policies[].type spec.scaling.behavior.scaleDown.policies[].value
        spec.scaling.behavior.scaleDown.policies[].periodSeconds spec.scaling.behavior.scaleDown.tolerance
        spec.benchmark.policy spec.benchmark.minimumOfMeasured spec.benchmark.budget spec.cache.pvc.size
        spec.cache.pvc.accessMode spec.cache.pvc.retain spec.licensePolicy spec.budget.maxUSDPer1k
        spec.budget.maxUSDPerMonth spec.pod.tolerations[].operator spec.pod.tolerations[].effect
        spec.pod.tolerations[].tolerationSeconds spec.pod.cpu spec.pod.memory spec.paused
        """.split(),  # noqa: SIM905 - a list would take a line for each
        NUMBER,
    ),
}


def fields() -> set[str]:
    """The path of every field of a spec that holds a value."""
    schema = vlmdeployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(_fields(schema["properties"]["spec"], "spec"))


def _fields(schema: Body, path: str) -> Iterator[str]:
    if "properties" in schema:
        for name, part in schema["properties"].items():
            yield from _fields(part, f"{path}.{name}")
    elif "items" in schema:
        yield from _fields(schema["items"], f"{path}[]")
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from _fields(schema["additionalProperties"], f"{path}{{}}")
    else:
        yield path
