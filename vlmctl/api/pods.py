"""The part of a spec that says how the engine and its pods are made, where the plan does not decide."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from vlmctl.api.records import ApiRecord, Rule
from vlmctl.api.values import (
    Annotations,
    GivenWord,
    HostName,
    ImageName,
    LabelKey,
    Labels,
    LabelValue,
    ObjectName,
    Quantity,
    VariableName,
    VariableValue,
)


class AccessMode(StrEnum):
    """How many nodes may write to the cache at once."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class CachePvc(ApiRecord, frozen=True, kw_only=True):
    """A PersistentVolumeClaim that keeps weights and compiled kernels between pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
            "size may grow, but a volume does not shrink",
        ),
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName)"
            " && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "storageClassName cannot change: the claim's is immutable",
        ),
        Rule(
            "has(self.accessMode) == has(oldSelf.accessMode)"
            " && (!has(self.accessMode) || self.accessMode == oldSelf.accessMode)",
            "accessMode cannot change: the claim's is immutable",
        ),
    )

    size: Annotated[Quantity, Meta(description="Storage asked for, such as `100Gi`. It may grow, not shrink.")]
    storage_class_name: Annotated[
        ObjectName | None, Meta(description="StorageClass; immutable. Left out: the cluster's default.")
    ] = None
    access_mode: Annotated[
        AccessMode | None,
        Meta(
            description="ReadWriteMany lets replicas on several nodes share the cache; immutable. Left out: "
            "ReadWriteOnce where scaling.max and replicas are 1, else ReadWriteMany."
        ),
    ] = None
    retain: Annotated[bool, Meta(description="Keep the claim when the VLMDeployment is deleted.")] = True


class Cache(ApiRecord, frozen=True, kw_only=True):
    """Where weights are kept between pods. Left out: each pod downloads them anew."""

    pvc: CachePvc | None = None


class Variable(ApiRecord, frozen=True, kw_only=True):
    """An environment variable, by value."""

    name: Annotated[VariableName, Meta(description="Name of the variable.")]
    value: Annotated[
        VariableValue, Meta(description="Its value. Nothing secret: anyone who may read the object sees it.")
    ] = ""


class Need(StrEnum):
    """What requests use beside images and text, for which vLLM wants arguments of its own."""

    THINKING = "thinking"
    TOOLS = "tools"


class Engine(ApiRecord, frozen=True, kw_only=True):
    """What the user decides about vLLM itself."""

    image: Annotated[
        ImageName | None,
        Meta(description="Image of vLLM, from a registry of the cluster's policy. Left out: the planned version."),
    ] = None
    arguments: Annotated[
        tuple[GivenWord, ...],
        Meta(
            max_length=128,
            description="More words for `vllm serve`, of those that docs/security.md lists; a flag here replaces the "
            "planned one.",
        ),
    ] = ()
    env: Annotated[
        tuple[Variable, ...],
        Meta(
            max_length=64,
            description="Environment variables of the engine, of those that docs/security.md lists.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    trust_remote_code: Annotated[
        bool,
        Meta(
            description="Let Python code from the model's repository run in the engine, where it needs that and the "
            "chart's policy.remoteCode names the commit or digest in model.source."
        ),
    ] = False
    needs: Annotated[
        tuple[Need, ...], Meta(max_length=8, description="What requests use beside images: thinking, tools.")
    ] = ()
    allowed_media_domains: Annotated[
        tuple[HostName, ...],
        Meta(
            max_length=64,
            description="Hosts of the chart's policy.mediaDomains that URLs of images and videos may name. "
            "Empty: none, so that pictures come in requests themselves, as data URLs.",
        ),
    ] = ()


class TolerationOperator(StrEnum):
    """How a toleration matches a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiRecord, frozen=True, kw_only=True):
    """A taint that the pods tolerate, as in a PodSpec."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.operator == 'Equal' || !has(self.value)", "operator Exists takes no value"),
        Rule("self.operator == 'Exists' || has(self.key)", "operator Equal needs a key"),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds is for effect NoExecute",
        ),
    )

    key: Annotated[LabelKey | None, Meta(description="Key of the taint. Left out: every taint.")] = None
    operator: Annotated[
        TolerationOperator, Meta(description="Exists tolerates any value of the key, Equal the given one.")
    ] = TolerationOperator.EQUAL
    value: Annotated[LabelValue | None, Meta(description="Value of the taint.")] = None
    effect: Annotated[TaintEffect | None, Meta(description="Effect of the taint. Left out: every effect.")] = None
    toleration_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=2**31 - 1)] | None,
        Meta(description="How long a NoExecute taint is tolerated. Left out: for ever."),
    ] = None


class PodOverrides(ApiRecord, frozen=True, kw_only=True):
    """Fields of the pods that the plan does not decide, in Kubernetes' own form."""

    labels: Annotated[Labels, Meta(description="More labels of the pods.")] = {}
    annotations: Annotated[Annotations, Meta(description="More annotations of the pods.")] = {}
    node_selector: Annotated[Labels, Meta(description="Labels that a node must have, beside its GPU's.")] = {}
    tolerations: Annotated[
        tuple[Toleration, ...], Meta(max_length=32, description="Taints that the pods tolerate.")
    ] = ()
    image_pull_secrets: Annotated[
        tuple[ObjectName, ...], Meta(max_length=16, description="Secrets that images are pulled with.")
    ] = ()
    priority_class_name: Annotated[ObjectName | None, Meta(description="PriorityClass of the pods.")] = None
    runtime_class_name: Annotated[ObjectName | None, Meta(description="RuntimeClass, such as `nvidia`.")] = None
    scheduler_name: Annotated[ObjectName | None, Meta(description="Scheduler that places the pods.")] = None
    cpu: Annotated[Quantity | None, Meta(description="CPU of the engine's container. Left out: as planned.")] = None
    memory: Annotated[Quantity | None, Meta(description="Memory of the engine's container. Left out: as planned.")] = (
        None
    )
