"""The shipped models by evidence: are editions kept apart, and does every score lie where it can?"""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmctl.catalog.load import load_folder
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import Edition, ModelSpec

CATALOG = Path(__file__).resolve().parents[2] / "catalog"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(CATALOG)


@pytest.fixture(scope="module")
def models(catalog: Catalog) -> dict[str, ModelSpec]:
    return {model.id: model for model in catalog.models}


class TestEditions:
    def test_thinking_is_a_model_of_its_own(self, models: dict[str, ModelSpec]) -> None:
        """Qwen3-VL's Thinking editions share the architecture of their Instruct siblings, and no score."""
        thinking = [model for model in models.values() if model.id.endswith("-thinking") and "qwen3-vl" in model.id]
        assert len(thinking) == 6
        for model in thinking:
            sibling = models[model.id.removesuffix("-thinking")]
            assert (model.edition, sibling.edition) == (Edition.THINKING, Edition.INSTRUCT)
            assert model.language == sibling.language
            assert len(model.scores) > 20
            assert not set(model.scores) & set(sibling.scores)

    def test_modes_fit_the_edition(self, catalog: Catalog) -> None:
        """An instruct edition has no thinking scores, a thinking edition no other; hybrids may have both."""
        for model in catalog.models:
            modes = {score.mode for score in model.scores}
            if model.edition in (Edition.INSTRUCT, Edition.BASE):
                assert not modes & {"thinking", "non-thinking"}, model.id
            if model.edition is Edition.THINKING:
                assert "non-thinking" not in modes, model.id
            assert (model.edition in (Edition.THINKING, Edition.HYBRID)) == ("thinking" in model.capabilities), model.id

    def test_hybrids_keep_both_modes(self, models: dict[str, ModelSpec]) -> None:
        """GLM-4.5V was measured with and without thinking, and both figures stand apart."""
        assert {"thinking", "non-thinking"} <= {score.mode for score in models["glm-4.5v"].scores}


class TestScores:
    def test_values_lie_on_the_scale(self, catalog: Catalog) -> None:
        """Every score names a benchmark of the catalog and lies within its scale."""
        scales = {benchmark.id: benchmark.scale_maximum for benchmark in catalog.benchmarks}
        for model in catalog.models:
            for score in model.scores:
                assert 0 < score.value <= scales[score.benchmark], (model.id, score)

    def test_nothing_is_told_twice(self, catalog: Catalog) -> None:
        """One figure of one benchmark in one split and mode stands once."""
        for model in catalog.models:
            told = [(score.benchmark, score.split, score.mode, score.value) for score in model.scores]
            assert len(set(told)) == len(told), model.id

    def test_reporters(self, catalog: Catalog) -> None:
        """A figure comes from the model's makers or from somebody else, and both kinds are there."""
        assert {score.reporter for model in catalog.models for score in model.scores} == {"maker", "third-party"}

    def test_checked_figures(self, models: dict[str, ModelSpec]) -> None:
        """Figures that people quote wrongly stand as their sources print them."""
        expected = {
            ("internvl2.5-78b", "MMMU"): 70.1,
            ("qwen2.5-vl-72b", "MMMU"): 70.2,
            ("qwen2.5-vl-72b", "DocVQA"): 96.4,
            ("llava-next-vicuna-7b", "MMMU"): 35.8,
            ("qwen2.5-vl-7b", "MMMU"): 58.6,
        }
        for (id_, benchmark), value in expected.items():
            assert value in {score.value for score in models[id_].scores if score.benchmark == benchmark}, id_
