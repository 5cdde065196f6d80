"""The model that a measurement names, whatever it was served as: catalogued, or described beside the measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vlmctl.catalog.names import model_names, normalized, resolve_model
from vlmctl.errors import UnknownName, UnsupportedModel, VlmctlError
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.measurements import DescribedModel
from vlmctl.specs.model import Edition, ModelSpec

# What names of repositories add for the precision of the weights, and for a tuning of the same architecture.
_PRECISION_WORDS = (
    r"fp8|fp4|fp16|bf16|nvfp4|mxfp4|mxfp8|int4|int8|awq|gptq|w4a16|w8a8|w8a16|w4a8|w4a4|autoround|bnb|gguf|marlin|[48]-?bit"
    r"|g128|quantized|unquantized|dynamic|static|sym|block|kv|modelopt|quark|eagle\d?|mtp"
)
_TUNING_WORDS = r"instruct|it|chat|base|hf|pt|int|preview"
_PRECISION = re.compile(rf"[-_.](?:{_PRECISION_WORDS})$", re.IGNORECASE)
_PUBLISHER = re.compile(r"^meta-", re.IGNORECASE)  # of Llama, in the names of some repositories only
_TUNING = re.compile(rf"[-_.](?:{_PRECISION_WORDS}|{_TUNING_WORDS})(?=$|[-_.])", re.IGNORECASE)


class MeasuredModels:
    """Finds the model of a row. A name means the same whatever its case, its owner or the precision that it states.

    `described`: models that the row's file describes, beside those of the catalog's own measurements.
    """

    def __init__(self, catalog: Catalog, described: Mapping[str, DescribedModel] | None = None) -> None:
        self._catalog = catalog
        together = {**catalog.described, **(described or {})}
        self._described = {name.lower(): (name, entry) for name, entry in together.items()}
        self._found: dict[str, ModelSpec | VlmctlError] = {}

    def find(self, name: str) -> ModelSpec:
        """The catalogued model of that name, else the described one, else either under a name that means the same.

        Raises UnknownName where there is none, UnsupportedModel where its configuration cannot be read.
        """
        if name not in self._found:
            try:
                self._found[name] = self._find(name)
            except VlmctlError as error:  # kept too: names like it take long to look for
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, VlmctlError):
            raise found
        return found

    def _find(self, name: str) -> ModelSpec:
        partly: ModelSpec | None = None
        for spelled in spellings(name):
            catalogued = self._catalogued(spelled)
            if catalogued is not None and catalogued.language is not None:
                return catalogued
            if (described := self._own(spelled)) is not None:
                return described
            partly = partly or catalogued
        alike = self._alike(name) or partly
        if alike is not None:
            return alike
        try:
            return resolve_model(self._catalog, name)  # raises, with what the name may have been meant for
        except UnknownName as error:
            remedy = f"{error.remedy} Its config.json may stand in the file, under `models`.".strip()
            raise UnknownName("model", name, error.matches, remedy=remedy) from error

    def _catalogued(self, name: str) -> ModelSpec | None:
        try:
            return resolve_model(self._catalog, name)
        except UnknownName:
            return None

    def _own(self, name: str) -> ModelSpec | None:
        wanted = name.lower()
        tails = {key.rpartition("/")[2]: key for key in sorted(self._described, reverse=True)}
        key = wanted if wanted in self._described else tails.get(wanted)
        return self._model(key) if key is not None else None

    def _model(self, key: str) -> ModelSpec:
        from vlmctl.catalog.described import described_model  # the readers of configurations

        name, entry = self._described[key]
        if not entry.config:
            raise UnsupportedModel(f"{name}: the file holds no `hf_config` of it.")
        return described_model(name, entry.config, processor=entry.processor, known=self._catalog.models)

    def _alike(self, name: str) -> ModelSpec | None:
        """One that differs in nothing but precision and tuning; an instruction-tuned one of the catalog first."""
        wanted = untuned(name)
        own = sorted(key for key in self._described if untuned(key) == wanted)
        if own:
            return self._model(own[0])
        alike = [
            model
            for model in self._catalog.models
            if model.language is not None
            and any(untuned(each) == wanted for group in model_names(model) for each in group)
        ]
        return min(alike, key=lambda model: (model.edition is not Edition.INSTRUCT, model.id), default=None)


def spellings(name: str) -> tuple[str, ...]:
    """The name, what follows its slash, and the same without what it says of the precision and the publisher."""
    tail = name.rpartition("/")[2]
    bare = tail
    while _PRECISION.search(bare):
        bare = _PRECISION.sub("", bare)
    return tuple(dict.fromkeys(each for each in (name, tail, bare, _PUBLISHER.sub("", bare)) if each))


def untuned(name: str) -> str:
    """What is left of a repository's name without precision, tuning and publisher, for comparing."""
    return normalized(_PUBLISHER.sub("", _TUNING.sub("", name.rpartition("/")[2])))
