"""The part of a spec that says which model is served, where its weights come from, and on what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from vlmctl.api.records import ApiRecord, Rule
from vlmctl.api.values import (
    Folder,
    GitRevision,
    GpuName,
    Gpus,
    ImageName,
    JsonText,
    ModelName,
    ObjectName,
    Repository,
    SecretKeyName,
)

AUTO = "Auto"


class SecretKey(ApiRecord, frozen=True, kw_only=True):
    """A key of a Secret in the same namespace."""

    name: Annotated[ObjectName, Meta(description="Name of the Secret.")]
    key: Annotated[SecretKeyName, Meta(description="Key in it whose value is used.")]


class HuggingFaceSource(ApiRecord, frozen=True, kw_only=True):
    """A repository on the Hugging Face hub."""

    repository: Annotated[
        Repository | None,
        Meta(description="Such as `Qwen/Qwen3-VL-8B-Instruct`. Left out: the one the catalog names for this model."),
    ] = None
    revision: Annotated[
        GitRevision | None, Meta(description="Commit, tag or branch. Left out: the repository's main branch.")
    ] = None
    token_secret: Annotated[
        SecretKey | None,
        Meta(
            description="Secret with an access token, for gated and private repositories. Left out: key `token` of the "
            "Secret `hugging-face`, if that is there."
        ),
    ] = None


class PvcSource(ApiRecord, frozen=True, kw_only=True):
    """A folder on a PersistentVolumeClaim of the same namespace, mounted read-only."""

    claim_name: Annotated[ObjectName, Meta(description="Name of the claim.")]
    path: Annotated[Folder, Meta(description="Folder on the volume that holds config.json and the weights.")] = "/"


class ImageSource(ApiRecord, frozen=True, kw_only=True):
    """An OCI image that holds the checkpoint, mounted as an image volume."""

    reference: Annotated[ImageName, Meta(description="Image with tag or digest.")]
    path: Annotated[Folder, Meta(description="Folder in the image that holds config.json and the weights.")] = "/"


class ModelSource(ApiRecord, frozen=True, kw_only=True):
    """Where the checkpoint lies, if not in the catalog's repository: exactly one of huggingFace, pvc and image."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.huggingFace), has(self.pvc), has(self.image)].filter(given, given).size() == 1",
            "give exactly one of huggingFace, pvc and image",
        ),
    )

    hugging_face: HuggingFaceSource | None = None
    pvc: PvcSource | None = None
    image: ImageSource | None = None


class ModelFacts(ApiRecord, frozen=True, kw_only=True):
    """What the planner must know of a model that the catalog does not hold."""

    config: Annotated[JsonText, Meta(description="The checkpoint's config.json, as text.")]
    processor: Annotated[
        JsonText | None,
        Meta(description="Its preprocessor_config.json, as text, from which image tokens are counted."),
    ] = None
    license: Annotated[
        Annotated[str, Meta(max_length=128)] | None,
        Meta(description="SPDX identifier of its licence. Left out: unknown, which only licensePolicy Any accepts."),
    ] = None


class ModelReference(ApiRecord, frozen=True, kw_only=True):
    """Which model is served: a name of the catalog, or a source whose model the catalog knows or `facts` describe."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.name) || has(self.source)", "give name (of the catalog) or source"),
        Rule(
            "has(self.name) || !has(self.source) || !has(self.source.huggingFace)"
            " || has(self.source.huggingFace.repository)",
            "source.huggingFace needs a repository where no name is given",
        ),
        Rule(
            "has(self.name) || has(self.facts) || !has(self.source) || has(self.source.huggingFace)",
            "a checkpoint on a volume or in an image needs name or facts, to plan with",
        ),
        Rule("!has(self.facts) || has(self.source)", "facts describe the model of a source: give source too"),
    )

    name: Annotated[
        ModelName | None, Meta(description="Id in the catalog (`vlmctl models list`), such as `qwen3-vl-8b-instruct`.")
    ] = None
    source: ModelSource | None = None
    facts: ModelFacts | None = None


class Quantization(StrEnum):
    """Precision of the language model's weights, as the catalog's checkpoints have it, or Auto."""

    AUTO = "Auto"
    FP32 = "FP32"
    BF16 = "BF16"
    FP8 = "FP8"
    INT8 = "INT8"
    AWQ = "AWQ"
    GPTQ = "GPTQ"
    W4A16 = "W4A16"
    NVFP4 = "NVFP4"
    MXFP4 = "MXFP4"
    GGUF = "GGUF"


class LicensePolicy(StrEnum):
    """Which licences are acceptable; defined in docs/licences.md."""

    PERMISSIVE = "Permissive"
    COMMERCIAL = "Commercial"
    RESEARCH = "Research"
    ANY = "Any"


class Hardware(ApiRecord, frozen=True, kw_only=True):
    """GPUs of one replica. Auto: the cheapest of the cluster that fits and meets the objectives."""

    gpu: Annotated[
        GpuName, Meta(description="Auto, or a GPU by its id in the catalog (`vlmctl gpus`) or its node label's value.")
    ] = AUTO
    count: Annotated[Gpus | Literal["Auto"], Meta(description="Auto, or how many GPUs each replica takes.")] = "Auto"
