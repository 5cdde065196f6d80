"""Names: everything people write resolves to one record, or is refused with the close matches."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import normalized, resolve_benchmark, resolve_gpu, resolve_model, resolve_models
from vlmctl.errors import UnknownName
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import Context, License, ModelSpec, Parameters, QuantizedCheckpoint, Serving


def model(id_: str, family: str = "family", **other: object) -> ModelSpec:
    return ModelSpec(
        id=id_,
        name=id_,
        family=family,
        repository=str(other.pop("repository", f"Maker/{id_}")),
        parameters=Parameters(total_billions=float(str(other.pop("size", 1))), active_billions=1, source="card"),
        license=License(name="MIT", source="card"),
        context=Context(tokens=1, source="card"),
        serving=Serving(source="card"),
        **other,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "name",
    [
        "tinyvl-2b",
        "TinyVL-2B",
        "tinyvl_2b",
        "tiny vl 2b",
        "tiny-2b",
        "Tiny/TinyVL-2B-Instruct",
        "tiny/tinyvl-2b-instruct",
        "TinyVL-2B-Instruct",
        "tinyvl.2b.instruct",
        "Tiny/TinyVL-2B-Instruct-AWQ",
        "TinyVL-2B-Instruct-AWQ",
        "https://huggingface.co/Tiny/TinyVL-2B-Instruct",
        " tinyvl-2b ",
    ],
)
def test_a_model_answers_to_every_usual_spelling(shipped: Path, name: str) -> None:
    """An id, an alias, a repository (quantized too) and variants of case and separators are one model."""
    assert resolve_model(load_catalog(), name).id == "tinyvl-2b"


def test_a_family_lists_its_members(shipped: Path) -> None:
    """A family name stands for its members by size, and is refused with their names where one model is meant."""
    catalog = load_catalog()
    assert [found.id for found in resolve_models(catalog, "TinyVL")] == ["tinyvl-2b", "tinyvl-7b"]
    with pytest.raises(UnknownName, match="tinyvl-2b, tinyvl-7b"):
        resolve_model(catalog, "tinyvl")
    assert [found.id for found in resolve_models(catalog, "tinyvl-7b")] == ["tinyvl-7b"]


def test_a_family_of_one_is_that_model() -> None:
    """A family with a single member stands for it."""
    assert resolve_model(Catalog(models=(model("only-1b", family="only"),)), "only").id == "only-1b"


def test_an_unknown_model_lists_close_matches(shipped: Path) -> None:
    """A misspelt name is refused with the models it may have meant."""
    with pytest.raises(UnknownName) as caught:
        resolve_model(load_catalog(), "tinylv-7b")
    assert caught.value.matches[0] == "tinyvl-7b"
    with pytest.raises(UnknownName) as caught:
        resolve_models(load_catalog(), "zzzz")
    assert caught.value.matches == ()


def test_a_misnomer_says_what_is_meant(shipped: Path) -> None:
    """A name for something that does not exist is answered with why, and what to use."""
    with pytest.raises(UnknownName) as caught:
        resolve_model(load_catalog(), "tinyvl_9b")
    assert caught.value.remedy == "There is no 9B. Use tinyvl-7b."


@pytest.mark.parametrize("name", ["", " ", "-", "/", "https://huggingface.co/", "\x00", "日本語", "a" * 10_000])
def test_odd_names_are_unknown(shipped: Path, name: str) -> None:
    """Nothing that can be typed ends in anything but an answer or a refusal."""
    with pytest.raises(UnknownName):
        resolve_model(load_catalog(), name)


def test_what_is_written_exactly_wins_over_a_variant() -> None:
    """Two ids that differ in separators alone stay apart; a spelling that is neither is refused with both."""
    catalog = Catalog(models=(model("vl2.5-1b"), model("vl-25-1b")))
    assert resolve_model(catalog, "vl2.5-1b").id == "vl2.5-1b"
    assert resolve_model(catalog, "VL-25-1B").id == "vl-25-1b"
    with pytest.raises(UnknownName, match="more than one"):
        resolve_model(catalog, "vl_25_1b")


def test_an_id_wins_over_anothers_alias_and_repository() -> None:
    """Where one model's id is another's alias or quantized repository, the id decides."""
    quantized = (QuantizedCheckpoint(precision="awq", repository="Else/first", source="card"),)  # type: ignore[arg-type]
    catalog = Catalog(models=(model("second", aliases=("first",), quantizations=quantized), model("first")))
    assert resolve_model(catalog, "first").id == "first"


def test_gpus_and_benchmarks_resolve(shipped: Path) -> None:
    """A GPU answers to id, alias, name and Kubernetes label, a benchmark to id and name."""
    catalog = load_catalog()
    assert {resolve_gpu(catalog, name).id for name in ("L4", "l4-24gb", "nvidia l4", "NVIDIA-L4")} == {"l4"}
    assert resolve_benchmark(catalog, "Doc VQA").id == "docvqa"
    with pytest.raises(UnknownName, match=r"unknown GPU 'L44'\. Did you mean 'l4'"):
        resolve_gpu(catalog, "L44")
    with pytest.raises(UnknownName, match="unknown benchmark"):
        resolve_benchmark(catalog, "docvqaa")


NAMES = st.text(alphabet="ab1.-_", min_size=1, max_size=5).filter(lambda text: bool(normalized(text)))


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.randoms())
def test_order_of_the_catalog_does_not_matter(ids: list[str], random: object) -> None:
    """Every id resolves to its own model whatever else the catalog holds, in any order."""
    models = [model(id_, repository=f"Maker/{id_}") for id_ in ids]
    random.shuffle(models)  # type: ignore[attr-defined]
    catalog = Catalog(models=tuple(models))
    for id_ in ids:
        assert resolve_model(catalog, id_).id == id_
