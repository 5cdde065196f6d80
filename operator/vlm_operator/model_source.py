"""Which model a spec means, and where its weights lie: the catalog's, a copy of one of the catalog's, or described."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlm_operator.template import MODELS_FOLDER
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.described import MALFORMED, described_model
from vlmctl.catalog.hf_architectures import ARCHITECTURES, REGISTRY, architecture_name
from vlmctl.catalog.hub import license_named
from vlmctl.catalog.names import resolve_model
from vlmctl.errors import InvalidValue, UnknownName, UnsupportedModel
from vlmctl.serving.engine_args import ENGINE_VERSION
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.measurements import DescribedModel
from vlmctl.specs.model import ImageLimits, ModelSpec, Precision, QuantizedCheckpoint, Serving, VideoSupport
from vlmctl.specs.record import Record

FACTS = "spec.model.facts"
IMPORT = "vlmctl models import"
_COMMIT = re.compile(r"[0-9a-f]{40}")  # as the hub has them


class Source(Record, frozen=True, kw_only=True):
    """A model with the checkpoints that may be used of it.

    `quantizations`: as requirements have them; none: the model's own precision, and others of published quality.
    `folder`: of the pod, where the checkpoint is not loaded from the hub. `described`: what the spec itself says of the
    model. `gated`: whether the hub asks for a token, None where that is not known.
    """

    model: ModelSpec
    quantizations: tuple[str, ...] = ()
    folder: str | None = None
    revision: str | None = None
    gated: bool | None = None
    described: DescribedModel | None = None
    notes: tuple[str, ...] = ()


def model_source(spec: api.VLMDeploymentSpec, catalog: Catalog) -> Source:
    """The model that the spec names or describes; raises Refused."""
    reference, source = spec.model, spec.model.source or api.ModelSource()
    hub = source.hugging_face or api.HuggingFaceSource()
    named = _named(reference, catalog)
    listed, quantized = _listed(hub.repository, catalog)
    if named is not None and listed is not None and named.id != listed.id:
        raise Refused(
            PlanReason.INVALID_SPEC,
            f"spec.model.name is {named.id}, and {hub.repository} holds {listed.id}: leave one of them out.",
        )
    model = named or listed
    if model is None:
        return _described(spec, catalog)
    if reference.facts is not None:
        raise Refused(
            PlanReason.INVALID_SPEC,
            f"{FACTS}: the catalog has those of {model.id}. Leave them out, or give the model a name of its own.",
        )
    place = _place(source)
    if place is None:
        return _of_catalog(spec, model, hub.revision)
    if listed is not None:
        return _listed_checkpoint(spec, model, quantized, hub.revision)
    return _copy(spec, model, place)


@contextmanager
def blames_facts(spec: api.VLMDeploymentSpec) -> Iterator[None]:
    """Refuse facts where planning with them breaks off: nobody has checked their figures. Without facts it is a bug."""
    try:
        yield
    except MALFORMED as error:
        if spec.model.facts is None:
            raise
        raise Refused(
            PlanReason.FACTS_MISSING,
            f"{FACTS}: its figures cannot be those of a model, planning with them ended in {type(error).__name__}. "
            f"Give the files as they are beside the weights: `{IMPORT} REPOSITORY --spec` writes them.",
        ) from error


def is_commit(revision: str | None) -> bool:
    """Whether a revision always names the same files; a branch does not, and a tag may be moved."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _named(reference: api.ModelReference, catalog: Catalog) -> ModelSpec | None:
    """The catalog's model of that name; None without a name, or where the spec brings the facts along itself."""
    if reference.name is None:
        return None
    try:
        return resolve_model(catalog, reference.name)
    except UnknownName as error:
        if reference.facts is not None:
            return None
        remedy = (
            "A model outside the catalog needs spec.model.source and spec.model.facts, as "
            f"`{IMPORT} REPOSITORY --spec` writes them."
        )
        raise Refused(PlanReason.UNKNOWN_MODEL, f"{error} {remedy}") from error


def _listed(repository: str | None, catalog: Catalog) -> tuple[ModelSpec | None, QuantizedCheckpoint | None]:
    """The catalog's model of a repository of the hub, and its quantized checkpoint where it is one."""
    if repository is None:
        return None, None
    wanted = repository.lower()
    for model in catalog.models:
        if model.repository.lower() == wanted:
            return model, None
    for model in catalog.models:
        for each in model.quantizations:
            if each.repository.lower() == wanted:
                return model, each
    return None, None


def _place(source: api.ModelSource) -> str | None:
    """What tells this checkpoint from others; None where the catalog says where it lies."""
    if source.pvc is not None:
        return f"pvc://{source.pvc.claim_name}{posixpath.normpath(source.pvc.path)}".rstrip("/")
    if source.image is not None:
        return f"oci://{source.image.reference}{posixpath.normpath(source.image.path)}".rstrip("/")
    return source.hugging_face.repository if source.hugging_face is not None else None


def _folder(spec: api.VLMDeploymentSpec) -> str | None:
    source = spec.model.source
    return None if source is None or source.hugging_face is not None else MODELS_FOLDER


def _asked(spec: api.VLMDeploymentSpec) -> Precision | None:
    return None if spec.quantization is api.Quantization.AUTO else Precision(spec.quantization.value.lower())


def _of_catalog(spec: api.VLMDeploymentSpec, model: ModelSpec, revision: str | None) -> Source:
    asked = _asked(spec)
    if revision is not None and asked is None:  # a revision is one of a certain repository
        model = replace(model, quantizations=())
    return Source(
        model=model,
        quantizations=() if asked is None else (asked.value,),
        revision=revision,
        gated=model.license.gated,
    )


def _listed_checkpoint(
    spec: api.VLMDeploymentSpec, model: ModelSpec, quantized: QuantizedCheckpoint | None, revision: str | None
) -> Source:
    """One repository of the catalog's, whose precision is known."""
    held = quantized.precision if quantized is not None else model.precision
    asked = _asked(spec)
    if asked not in (None, held):
        repository = quantized.repository if quantized is not None else model.repository
        raise Refused(
            PlanReason.INVALID_SPEC,
            f"spec.quantization is {spec.quantization.value}, and {repository} is {held.value}: leave one of them out.",
        )
    if quantized is None:
        return Source(
            model=replace(model, quantizations=()),
            quantizations=(held.value,),
            revision=revision,
            gated=model.license.gated,
        )
    return Source(model=_only(model, quantized), quantizations=(held.value,), revision=revision)


def _copy(spec: api.VLMDeploymentSpec, model: ModelSpec, place: str) -> Source:
    """A checkpoint of the user's own that is said to be a model of the catalog's."""
    held = _asked(spec) or model.precision
    known = next((each for each in model.quantizations if each.precision is held), None)
    if held is model.precision:
        copied = replace(model, repository=place, quantizations=())
    elif known is not None:
        copied = _only(model, replace(known, repository=place))
    else:
        source = "spec.model.source"
        copied = _only(
            model, QuantizedCheckpoint(precision=held, repository=place, official=False, source=source, verified=False)
        )
    note = f"{place} is taken to hold {model.id} in {held.value}: its facts and licence are the catalog's."
    hub = spec.model.source.hugging_face if spec.model.source is not None else None
    return Source(
        model=copied,
        quantizations=(held.value,),
        folder=_folder(spec),
        revision=hub.revision if hub is not None else None,
        gated=None if hub is not None else False,
        notes=(note,),
    )


def _only(model: ModelSpec, checkpoint: QuantizedCheckpoint) -> ModelSpec:
    """The model with no other checkpoint than that one to choose."""
    if checkpoint.precision is model.precision:
        return replace(model, repository=checkpoint.repository, stored=checkpoint.stored, quantizations=(checkpoint,))
    return replace(model, quantizations=(checkpoint,))


def _described(spec: api.VLMDeploymentSpec, catalog: Catalog) -> Source:
    """A model that the catalog does not hold, by the facts in the spec."""
    facts, source = spec.model.facts, spec.model.source or api.ModelSource()
    place = _place(source) or ""
    hub = source.hugging_face
    if facts is None:
        raise Refused(
            PlanReason.FACTS_MISSING,
            f"the catalog does not know {place}. Give spec.model.name where it is a copy or a tuning of a model of "
            "the catalog, else spec.model.facts with its config.json and preprocessor_config.json: "
            f"`{IMPORT} {'FOLDER' if hub is None else place} --spec` writes them.",
        )
    id = spec.model.name or (posixpath.basename(place) if hub is None else place)
    try:
        described = reading.described(facts)
        model = described_model(id, described.config, processor=described.processor, known=catalog.models)
    except InvalidValue as error:
        raise Refused(PlanReason.INVALID_SPEC, str(error)) from error
    except UnsupportedModel as error:
        raise Refused(PlanReason.FACTS_MISSING, f"{FACTS}: {error.message}") from error
    asked = _asked(spec)
    if asked not in (None, model.precision):
        raise Refused(
            PlanReason.INVALID_SPEC,
            f"spec.quantization is {spec.quantization.value}, and by {FACTS} the checkpoint is "
            f"{model.precision.value}: leave one of them out.",
        )
    return Source(
        model=replace(
            model,
            repository=place,
            license=license_named(facts.license, source=FACTS),
            serving=_serving(spec, id, architecture_name(described.config), catalog),
            images=ImageLimits(several=True, source="spec.workload"),
            video=VideoSupport(supported=True, source="spec.workload") if spec.workload.videos else None,
        ),
        quantizations=(model.precision.value,),
        folder=_folder(spec),
        revision=hub.revision if hub is not None else None,
        gated=None if hub is not None else False,
        described=described,
        notes=_doubts(model, facts),
    )


def _serving(spec: api.VLMDeploymentSpec, id: str, name: str, catalog: Catalog) -> Serving:
    """How the engine serves a described model: as the class of that name, which it must know."""
    known = {each for each, how in ARCHITECTURES.items() if how.last_vllm is None} | {
        model.serving.architecture
        for model in catalog.models
        if "vllm" in model.serving.served_by and model.serving.last_version is None
    }
    own_image = spec.engine is not None and spec.engine.image is not None
    if name not in known and not own_image:
        raise Refused(
            PlanReason.UNSUPPORTED,
            f"{id}: vLLM {ENGINE_VERSION} is not known to serve images with {name or 'a model of no class'}. Name a "
            "release that does in spec.engine.image.",
        )
    return Serving(architecture=name or None, served_by=("vllm",), source=REGISTRY)


def _doubts(model: ModelSpec, facts: api.ModelFacts) -> tuple[str, ...]:
    found = ["The model is planned from spec.model.facts, which nobody verified."]
    if model.image_tokens is not None and model.image_tokens.checked_by:
        found.append(f"Its rule for image tokens is {model.image_tokens.checked_by}.")
    if facts.license is None:
        found.append("Its licence is unknown.")
    return tuple(found)
