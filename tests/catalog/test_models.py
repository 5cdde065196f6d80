"""The shipped models by name, file, source and licence: does every one answer, and can each fact be looked up?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from vlmctl.catalog.load import load_folder
from vlmctl.catalog.names import clashes, model_names, normalized, resolve_model, resolve_models
from vlmctl.errors import UnknownName
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import Modality, ModelSpec

CATALOG = Path(__file__).resolve().parents[2] / "catalog"
FILES = sorted((CATALOG / "models").glob("*.yaml"))
LONGEST_LINE = 160  # columns; people edit these files
# Places where nobody but their owner can look a fact up, or wordings that give no place at all.
PRIVATE = re.compile(r"(^|[\s(])/\w|\bUNVERIFIED\b|from memory|^\W*$|\bS\d+\b")
UNREAD = re.compile(r"\bnot (looked up|read(?! as))\b")

# What the user listed, as it is written, and the model that is meant.
LISTED = {
    "llava-1.5-7b": "llava-1.5-7b",
    "llava-1.5-13b": "llava-1.5-13b",
    "llava-hf/llava-1.5-7b-hf": "llava-1.5-7b",
    "llava-next-mistral-7b": "llava-next-mistral-7b",
    "llava-v1.6-mistral-7b": "llava-next-mistral-7b",
    "llava-next-vicuna-7b": "llava-next-vicuna-7b",
    "llava-next-13b": "llava-next-vicuna-13b",
    "llava-next-34b": "llava-next-34b",
    "blip2-opt-2.7b": "blip2-opt-2.7b",
    "blip-3": "xgen-mm-phi3-mini",
    "xgen-mm": "xgen-mm-phi3-mini",
    "xgen-mm-phi3-mini-instruct-r-v1": "xgen-mm-phi3-mini-instruct-r-v1",
    "instructblip": "instructblip-vicuna-7b",
    "blip2-flan-t5-xl": "blip2-flan-t5-xl",
    "qwen-vl": "qwen-vl",
    "qwen-vl-chat": "qwen-vl-chat",
    "qwen2-vl-2b": "qwen2-vl-2b",
    "qwen2-vl-7b": "qwen2-vl-7b",
    "qwen2-vl-72b": "qwen2-vl-72b",
    "qwen2.5-vl-3b": "qwen2.5-vl-3b",
    "Qwen2_5-VL-7B": "qwen2.5-vl-7b",
    "qwen2.5-vl-32b": "qwen2.5-vl-32b",
    "Qwen/Qwen2.5-VL-72B-Instruct-AWQ": "qwen2.5-vl-72b",
    "qwen3-vl-2b": "qwen3-vl-2b",
    "qwen3-vl-4b": "qwen3-vl-4b",
    "qwen3-vl-8b-instruct": "qwen3-vl-8b",
    "qwen3-vl-8b-thinking": "qwen3-vl-8b-thinking",
    "qwen3-vl-32b": "qwen3-vl-32b",
    "qwen3-vl-30b-a3b": "qwen3-vl-30b-a3b",
    "qwen3-vl-235b-a22b": "qwen3-vl-235b-a22b",
    "pixtral-12b": "pixtral-12b",
    "pixtral-large": "pixtral-large",
    "internvl2-1b": "internvl2-1b",
    "internvl2-76b": "internvl2-76b",
    "internvl2.5-8b": "internvl2.5-8b",
    "InternVL2_5-78B": "internvl2.5-78b",
    "internvl3-8b": "internvl3-8b",
    "internvl-1.5": "internvl-1.5",
    "phi-3-vision": "phi-3-vision",
    "phi-3.5-vision": "phi-3.5-vision",
    "idefics2-8b": "idefics2-8b",
    "idefics3-8b": "idefics3-8b",
    "paligemma2-3b": "paligemma2-3b",
    "paligemma2-10b": "paligemma2-10b",
    "paligemma2-28b": "paligemma2-28b",
    "molmo-7b-d": "molmo-7b-d",
    "molmo-72b": "molmo-72b",
    "gemma-3-1b": "gemma-3-1b",
    "gemma-3-4b-it": "gemma-3-4b",
    "gemma-3-12b": "gemma-3-12b",
    "gemma-3-27b": "gemma-3-27b",
    "glm-4.5v": "glm-4.5v",
    "llama-3.2-11b-vision": "llama-3.2-11b-vision",
    "llama-3.2-90b-vision": "llama-3.2-90b-vision",
    "minicpm-v-2_6": "minicpm-v-2.6",
    "deepseek-vl2": "deepseek-vl2",
    "deepseek-vl2-small": "deepseek-vl2-small",
    "smolvlm2-2.2b": "smolvlm2-2.2b",
}
FAMILIES = {
    "llava": {"llava-7b", "llava-13b"},
    "llava-next": {"llava-next-mistral-7b", "llava-next-vicuna-7b", "llava-next-vicuna-13b", "llava-next-34b"},
    "llava-onevision": {"llava-onevision-0.5b", "llava-onevision-7b", "llava-onevision-72b"},
    "qwen3-vl": {f"qwen3-vl-{size}" for size in ("2b", "4b", "8b", "32b", "30b-a3b", "235b-a22b")},
    "internvl2": {f"internvl2-{size}" for size in ("1b", "2b", "4b", "8b", "26b", "40b", "76b")},
    "internvl2.5": {f"internvl2.5-{size}" for size in ("1b", "2b", "4b", "8b", "26b", "38b", "78b")},
    "internvl3": {"internvl3-1b", "internvl3-78b"},
    "paligemma2": {"paligemma2-3b", "paligemma2-10b", "paligemma2-28b"},
    "llama-3.2-vision": {"llama-3.2-11b-vision", "llama-3.2-90b-vision"},
    "minicpm-v": {"minicpm-v-2.6", "minicpm-v-4.5"},
    "smolvlm2": {"smolvlm2-500m", "smolvlm2-2.2b"},
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(CATALOG)


@pytest.fixture(scope="module")
def models(catalog: Catalog) -> dict[str, ModelSpec]:
    return {model.id: model for model in catalog.models}


def _sourced(value: object, path: str) -> Iterator[tuple[str, msgspec.Struct]]:
    """Every record inside a value that names its source."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _sourced(item, f"{path}[{index}]")
    elif isinstance(value, msgspec.Struct):
        if hasattr(value, "source"):
            yield path, value
        for field in value.__struct_fields__:
            yield from _sourced(getattr(value, field), f"{path}.{field}")


class TestNames:
    def test_every_collected_model_is_there(self, models: dict[str, ModelSpec]) -> None:
        """The catalog holds the models that were collected, and no id twice."""
        ids = [entry["id"] for file in FILES for entry in yaml.safe_load(file.read_text())["models"]]
        assert len(ids) == len(set(ids)) == len(models) >= 170

    def test_no_name_means_two_models(self, catalog: Catalog) -> None:
        """Ids, aliases and repositories, quantized ones included, each belong to one model."""
        assert list(clashes(catalog.models, model_names)) == []

    @pytest.mark.parametrize(("written", "meant"), LISTED.items(), ids=list(LISTED))
    def test_the_users_list(self, catalog: Catalog, written: str, meant: str) -> None:
        """Every model that the user listed resolves by its id, an alias, a repository or a variant of spelling."""
        assert resolve_model(catalog, written).id == meant
        assert resolve_model(catalog, written.upper().replace("-", "_")).id == meant

    @pytest.mark.parametrize(("family", "members"), FAMILIES.items(), ids=list(FAMILIES))
    def test_families_list_their_members(self, catalog: Catalog, family: str, members: set[str]) -> None:
        """A family name stands for all its sizes."""
        assert members <= {model.id for model in resolve_models(catalog, family)}

    def test_aliases_add_something(self, catalog: Catalog) -> None:
        """No alias repeats what the id or the repository already answers to."""
        for model in catalog.models:
            known = {normalized(name) for name in (model.id, model.repository, model.repository.split("/")[1])}
            assert not known & {normalized(alias) for alias in model.aliases}, model.id

    @pytest.mark.parametrize(
        ("name", "instead"),
        [
            ("BLIP-3-7B", "xgen-mm-phi3-mini"),
            ("internvl2_pro", "internvl2-76b"),
            ("llava-next-7b", "llava-next-vicuna-7b"),
            ("qwen-vl-max", "qwen3-vl-235b-a22b"),
            ("Qwen3-VL-7B", "qwen3-vl-8b"),
        ],
    )
    def test_misnomers_say_what_is_meant(self, catalog: Catalog, name: str, instead: str) -> None:
        """A name for something that does not exist, or is not open, is answered with what is meant."""
        with pytest.raises(UnknownName) as raised:
            resolve_model(catalog, name)
        assert instead in raised.value.matches

    def test_misnomers_hide_no_model(self, catalog: Catalog, models: dict[str, ModelSpec]) -> None:
        """A misnomer is no model's name, and points at models or families that are there."""
        taken = {normalized(name) for model in catalog.models for group in model_names(model) for name in group}
        families = {model.family for model in catalog.models}
        for misnomer in catalog.misnomers:
            assert not taken & {normalized(name) for name in misnomer.names}
            assert all(name in models or name in families for name in misnomer.instead), misnomer.names

    def test_the_users_models_have_a_token_rule(self, catalog: Catalog) -> None:
        """Each listed model that reads images knows how many tokens an image becomes."""
        for written in LISTED:
            model = resolve_model(catalog, written)
            assert model.modality is Modality.TEXT or model.image_tokens is not None, model.id


class TestFiles:
    def test_one_family_a_file(self) -> None:
        """Each file holds one family, and each family one file."""
        families = [yaml.safe_load(file.read_text())["family"] for file in FILES]
        assert len(set(families)) == len(families)

    @pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
    def test_people_can_edit_them(self, file: Path) -> None:
        """Lines stay short enough to read, models stand by size, and nothing is written out that says nothing."""
        text = file.read_text()
        assert max(map(len, text.splitlines())) <= LONGEST_LINE
        entries = yaml.safe_load(text)["models"]
        sizes = [entry["parameters"]["total_billions"] for entry in entries]
        assert sizes == sorted(sizes)
        assert not re.search(r": (\[\]|\{\}|null|'')(,|$|\})", text, re.MULTILINE)


class TestSources:
    def test_every_source_is_public(self, catalog: Catalog) -> None:
        """Every fact says where a reader can check it, and never points at a private place."""
        for model in catalog.models:
            for path, record in _sourced(model, model.id):
                source = str(getattr(record, "source", ""))
                assert not PRIVATE.search(source), (path, source)

    def test_only_what_was_read_is_verified(self, catalog: Catalog) -> None:
        """A fact whose source says that something was not read is not marked verified."""
        for model in catalog.models:
            for path, record in _sourced(model, model.id):
                if getattr(record, "verified", False):
                    assert not UNREAD.search(str(getattr(record, "source", ""))), path

    def test_most_models_are_verified(self, catalog: Catalog) -> None:
        """More than half the models rest on facts that were all read, and one group alone rarely holds a model back."""
        assert sum(model.verified for model in catalog.models) > len(catalog.models) / 2


# That vLLM serves, and of which no source says how it reads their tool calls.
NO_KNOWN_PARSER = {"gemma-3-4b", "gemma-3-12b", "gemma-3-27b", "glm-4.6v-flash"}


def test_what_calls_tools_says_how_its_calls_are_read(models: dict[str, ModelSpec]) -> None:
    """Without a parser vLLM refuses requests whose tools the model may choose from by itself."""
    tools = {"--enable-auto-tool-choice", "--tool-call-parser"}
    lacking = {
        model.id
        for model in models.values()
        if "tools" in model.capabilities
        and "vllm" in model.serving.served_by
        and not tools <= {argument.flag for argument in model.serving.arguments if argument.needed_for == "tools"}
    }
    assert lacking == NO_KNOWN_PARSER
