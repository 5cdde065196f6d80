"""A model that no catalog holds, as a VLMDeployment describes it: where it lies, and the facts in its own files."""

from __future__ import annotations

import msgspec

from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.checkpoint import Checkpoint
from vlmctl.catalog.described import described_model
from vlmctl.serving import commented_yaml

FROM_FILES = "where the weights lie: a repository of the hub, a claim (pvc) or an image; see kubectl explain"


def model_reference(checkpoint: Checkpoint) -> api.ModelReference:
    """``spec.model`` for a checkpoint; of a folder without a source, which only its owner knows.

    Raises UnsupportedModel for a configuration that cannot be planned with.
    """
    described_model(checkpoint.name, checkpoint.config, processor=checkpoint.processor)
    license = checkpoint.card.get("license")
    hub = None
    if checkpoint.revision is not None:
        hub = api.HuggingFaceSource(repository=checkpoint.name, revision=checkpoint.revision)
    return api.ModelReference(
        source=None if hub is None else api.ModelSource(hugging_face=hub),
        facts=api.ModelFacts(
            config=dict(checkpoint.config),
            processor=dict(checkpoint.processor),
            license=license if isinstance(license, str) else None,
        ),
    )


def described_yaml(reference: api.ModelReference) -> str:
    """The part of a VLMDeployment, to be pasted."""
    model = msgspec.to_builtins(reference)
    header = [] if "source" in model else [f"Add spec.model.source: {FROM_FILES}."]
    return commented_yaml.dump([{"spec": {"model": model}}], reasons={}, header=header)
