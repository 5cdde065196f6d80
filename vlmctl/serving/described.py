"""A model that no catalog holds, as a VLMDeployment describes it: where it lies, and the facts in its own files."""

from __future__ import annotations

import json

import msgspec

from vlmctl.api import v1alpha1 as api
from vlmctl.api.values import FACTS_LENGTH
from vlmctl.catalog.checkpoint import Checkpoint
from vlmctl.catalog.described import described_model
from vlmctl.catalog.hf_values import Config
from vlmctl.errors import UnsupportedModel
from vlmctl.serving import commented_yaml

FROM_FILES = "where the weights lie: a repository of the hub, a claim (pvc) or an image; see kubectl explain"


def model_reference(checkpoint: Checkpoint) -> api.ModelReference:
    """``spec.model`` for a checkpoint; of a folder without a source, which only its owner knows.

    Raises UnsupportedModel for a configuration that cannot be planned with, or that is too long for a spec.
    """
    described_model(checkpoint.name, checkpoint.config, processor=checkpoint.processor)
    license = checkpoint.card.get("license")
    hub = None
    if checkpoint.revision is not None:
        hub = api.HuggingFaceSource(repository=checkpoint.name, revision=checkpoint.revision)
    return api.ModelReference(
        source=None if hub is None else api.ModelSource(hugging_face=hub),
        facts=api.ModelFacts(
            config=_text(checkpoint.config, "config"),
            processor=_text(checkpoint.processor, "processor") if checkpoint.processor else None,
            license=license if isinstance(license, str) else None,
        ),
    )


def _text(file: Config, field: str) -> str:
    """The file with a line for each value, else as short as it gets."""
    shown, short = json.dumps(file, indent=2), json.dumps(file, separators=(",", ":"))
    if len(short) > FACTS_LENGTH:
        raise UnsupportedModel(
            f"the {field} has {len(short):,} characters, and spec.model.facts.{field} takes {FACTS_LENGTH:,}. Name the "
            "model of the catalog that it is a copy or a tuning of in spec.model.name, or shorten its lists of layers."
        )
    return shown if len(shown) <= FACTS_LENGTH else short


def described_yaml(reference: api.ModelReference) -> str:
    """The part of a VLMDeployment, to be pasted."""
    model = msgspec.to_builtins(reference)
    header = [] if "source" in model else [f"Add spec.model.source: {FROM_FILES}."]
    return commented_yaml.dump([{"spec": {"model": model}}], reasons={}, header=header)
