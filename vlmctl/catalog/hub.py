"""A catalog entry from a model's own files: a local folder, or a Hugging Face repository when that is asked for."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vlmctl.catalog import weights
from vlmctl.catalog.checkpoint import Checkpoint, read_folder
from vlmctl.catalog.hf_architectures import ARCHITECTURES, REGISTRY, Architecture, architecture, architecture_name
from vlmctl.catalog.hf_config import context_tokens, language_model_from_config, precision, vision_section
from vlmctl.catalog.hf_values import Config, refuse
from vlmctl.catalog.hf_vision import connector, resolution, vision_tower
from vlmctl.catalog.repository import read_repository
from vlmctl.catalog.weights import Counts
from vlmctl.errors import InvalidFile, UsageError
from vlmctl.specs.model import (
    AttentionKind,
    Commercial,
    Context,
    Edition,
    LanguageModel,
    Languages,
    License,
    Modality,
    ModelSpec,
    Parameters,
    Precision,
    Serving,
    TokenRuleFact,
)

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_IMAGE_KEYS = ("image_token_id", "image_token_index", "img_processor", "mm_vision_tower", "visual", "vision_tower")
_PERMISSIVE = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause"}
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_WEIGHT_BYTES = {Precision.BF16: 2, Precision.FP32: 4}
_BILLION = 1e9


def import_model(source: str, *, download: bool) -> ModelSpec:
    """The entry for the model in a folder, or in a repository of the hub where `download` says so.

    Raises UnsupportedModel for an architecture, token rule or quantization that is not known, and what
    `read_checkpoint` raises.
    """
    return model_from_checkpoint(read_checkpoint(source, download=download))


def read_checkpoint(source: str, *, download: bool) -> Checkpoint:
    """The files of a model in a folder, or in a repository of the hub where `download` says so.

    Raises InvalidFile for a damaged file, UsageError for a source that is neither, NotReachable where the hub does not
    answer.
    """
    folder = Path(os.path.expanduser(source))  # unlike Path's own, os.path raises for no name, however odd
    if os.path.isdir(folder):
        return read_folder(folder)
    if not _REPOSITORY.fullmatch(source):
        raise UsageError(f"{source!r} is neither a folder nor a repository.", remedy="Write a path, or OWNER/NAME.")
    if not download:
        raise UsageError(f"{source!r} is not a folder here.", remedy="Ask for the hub to read the repository from it.")
    return read_repository(source)


def model_from_checkpoint(checkpoint: Checkpoint) -> ModelSpec:
    """The entry for a checkpoint whose files were read."""
    config, source = checkpoint.config, checkpoint.source
    known = _architecture(checkpoint)
    weight_precision, bits = precision(config)
    language = language_model_from_config(config, source=source)
    counts = None
    if checkpoint.tensors is not None:
        counts = weights.count(checkpoint.tensors, layers=language.layers, bits=bits)
        _refuse_partial(checkpoint, counts, language)
    name = checkpoint.name.rpartition("/")[2]
    rule = known.rule(config, checkpoint.processor) if known is not None else None
    experts = language.experts
    share = experts.active / experts.count if experts is not None else 1.0
    vision = None
    if rule is not None:
        vision = vision_tower(config, rule, parameters=counts.vision if counts else None, source=source)
    return ModelSpec(
        id=name.lower(),
        name=name,
        repository=checkpoint.name if "/" in checkpoint.name else f"local/{name}",
        family=str(config.get("model_type") or "imported"),
        parameters=_parameters(checkpoint, counts, share, weight_precision),
        license=license_named(
            checkpoint.card.get("license"),
            source=checkpoint.source.replace("config.json", "README.md"),
            name=checkpoint.card.get("license_name"),
            gated=checkpoint.gated,
        ),
        context=Context(tokens=context_tokens(config), source=source, verified=True),
        serving=_serving(config, known),
        modality=Modality.VISION if known is not None else Modality.TEXT,
        edition=_edition(name),
        precision=weight_precision,
        language=language,
        vision=vision,
        connector=connector(known.connector, config, source=source) if known is not None else None,
        resolution=resolution(rule, source=source) if rule is not None else None,
        image_tokens=TokenRuleFact(rule=rule, source=source, verified=True) if rule is not None else None,
        languages=_languages(checkpoint),
    )


def _refuse_partial(checkpoint: Checkpoint, counts: Counts, language: LanguageModel) -> None:
    """Raise InvalidFile where the weights hold less than the embedding and the query and output projections alone."""
    least = language.vocabulary * language.hidden_size + sum(
        2 * group.layers * language.hidden_size * group.query_heads * group.head_dim
        for group in language.attention
        if group.kind is AttentionKind.FULL
    )
    if counts.language < least:
        raise InvalidFile(
            checkpoint.name,
            f"its weights hold {counts.language / _BILLION:.2f} billion parameters of the language model, fewer than "
            f"its {language.layers} layers need.",
            remedy="Download all of its safetensors files.",
        )


def _architecture(checkpoint: Checkpoint) -> Architecture | None:
    """What is known of a model that reads images; None for a model of text alone."""
    config = checkpoint.config
    return architecture(config) if sees_images(config) else None


def sees_images(config: Config) -> bool:
    """Whether a configuration is that of a model that reads images."""
    described = vision_section(config) is not None or any(config.get(key) is not None for key in _IMAGE_KEYS)
    return described or architecture_name(config) in ARCHITECTURES


def _parameters(checkpoint: Checkpoint, counts: Counts | None, share: float, stored: Precision) -> Parameters:
    source = checkpoint.source
    if counts is not None:
        active = counts.total - counts.experts * (1 - share) - counts.looked_up
        sees = counts.vision > 0
        return Parameters(
            total_billions=round(counts.total / _BILLION, 4),
            active_billions=round(active / _BILLION, 4),
            language_billions=round(counts.language / _BILLION, 4),
            vision_billions=round(counts.vision / _BILLION, 4) if sees else None,
            projector_billions=round(counts.projector / _BILLION, 4) if sees else None,
            basis="from-headers",
            source=source.replace("config.json", "safetensors headers"),
            verified=True,
        )
    if checkpoint.weight_bytes is None or stored not in _WEIGHT_BYTES or share < 1:
        raise refuse(f"{checkpoint.name} holds no safetensors files to count its parameters from.")
    total = round(checkpoint.weight_bytes / _WEIGHT_BYTES[stored] / _BILLION, 4)
    return Parameters(
        total_billions=total,
        active_billions=total,
        basis="computed",
        source=source.replace("config.json", "size of the weights in model.safetensors.index.json"),
        verified=True,
    )


def license_named(stated: object, *, source: str, name: object = None, gated: bool | None = None) -> License:
    """The licence that a model card names. Terms are known only of a few; nothing was read of other components.

    `name`: what the card calls it, where `stated` is no usual identifier.
    """
    label = str(stated).lower() if isinstance(stated, str) else ""
    spdx = _PERMISSIVE.get(label)
    commercial = Commercial.YES if spdx else Commercial.NO if "-nc" in label else Commercial.UNKNOWN
    return License(
        name=str(spdx or name or label or "unknown"),
        spdx=spdx,
        commercial=commercial,
        permissive=spdx is not None,
        gated=gated,
        source=source,
    )


def _languages(checkpoint: Checkpoint) -> Languages | None:
    stated = checkpoint.card.get("language")
    listed = stated if isinstance(stated, list) else [stated]
    tags = tuple(tag for tag in listed if isinstance(tag, str) and _LANGUAGE_TAG.fullmatch(tag))
    if not tags:
        return None
    return Languages(text=tags, source=checkpoint.source.replace("config.json", "README.md"))


def _serving(config: object, known: Architecture | None) -> Serving:
    name = architecture_name(config) if isinstance(config, dict) else ""
    if known is None:
        return Serving(architecture=name or None, source="config.json", note="text-only: not looked up in the registry")
    return Serving(architecture=name, served_by=("vllm",), last_version=known.last_vllm, source=REGISTRY, verified=True)


def _edition(name: str) -> Edition:
    words = re.split(r"[-_.]", name.lower())
    if "thinking" in words or "reasoning" in words:
        return Edition.THINKING
    return Edition.BASE if "base" in words or "pt" in words else Edition.INSTRUCT
