"""The shipped models by licence and engine: what may be sold, what serves them, what their boxes mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmctl.catalog.load import load_folder
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import Commercial, GroundingConvention, ModelSpec, Precision

CATALOG = Path(__file__).resolve().parents[2] / "catalog"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(CATALOG)


@pytest.fixture(scope="module")
def models(catalog: Catalog) -> dict[str, ModelSpec]:
    return {model.id: model for model in catalog.models}


class TestLicenses:
    @pytest.mark.parametrize(
        ("id_", "commercial", "permissive"),
        [
            ("qwen2.5-vl-3b", Commercial.NO, False),
            ("qwen2.5-vl-7b", Commercial.YES, True),
            ("qwen2.5-vl-72b", Commercial.CONDITIONAL, False),
            ("internvl2.5-4b", Commercial.NO, False),
            ("internvl2.5-8b", Commercial.YES, True),
            ("internvl3-78b", Commercial.CONDITIONAL, False),
            ("ovis2-4b", Commercial.NO, False),
            ("molmo-72b", Commercial.CONDITIONAL, False),
            ("gemma-3-27b", Commercial.YES, False),
            ("gemma-4-31b", Commercial.YES, True),
            ("pixtral-12b", Commercial.YES, True),
            ("pixtral-large", Commercial.NO, False),
            ("llava-7b", Commercial.NO, False),
            ("llava-1.5-13b", Commercial.CONDITIONAL, False),
            ("deepseek-vl2", Commercial.YES, False),
            ("glm-4.5v", Commercial.YES, True),
        ],
    )
    def test_conditions(self, models: dict[str, ModelSpec], id_: str, commercial: Commercial, permissive: bool) -> None:
        """Each kind of licence allows what its text allows, its base model's terms included."""
        license_ = models[id_].license
        assert (license_.commercial, license_.permissive) == (commercial, permissive)

    def test_permissive_means_no_condition(self, catalog: Catalog) -> None:
        """A permissive licence is an OSI one, without caps, regions, restrictions or a base model's terms."""
        for model in catalog.models:
            if model.license.permissive:
                assert model.license.spdx in {"Apache-2.0", "MIT"}, model.id
                assert model.license.commercial is Commercial.YES, model.id
                assert not model.license.use_restrictions, model.id
                assert model.license.derived_from is None, model.id

    def test_a_condition_is_named(self, catalog: Catalog) -> None:
        """Conditional commercial use says what the condition is."""
        for model in catalog.models:
            given = model.license
            if given.commercial is Commercial.CONDITIONAL:
                assert given.maximum_monthly_users or given.maximum_annual_revenue_usd or given.note, model.id

    def test_caps_and_regions(self, models: dict[str, ModelSpec]) -> None:
        """Llama's and Qwen's monthly users, Liquid's revenue, and the regions that Meta and Tencent leave out."""
        assert models["llama-4-scout"].license.maximum_monthly_users == 700_000_000
        assert models["qwen2-vl-72b"].license.maximum_monthly_users == 100_000_000
        assert models["lfm2-vl-1.6b"].license.maximum_annual_revenue_usd == 10_000_000
        assert models["llama-3.2-90b-vision"].license.excluded_regions == ("EU",)
        assert models["hunyuan-ocr"].license.excluded_regions == ("EU", "GB", "KR")


class TestServing:
    def test_quantized_copies(self, catalog: Catalog) -> None:
        """A quantized repository is told by its precision, and is official only from the model's own makers."""
        for model in catalog.models:
            for copy in model.quantizations:
                assert copy.official == (copy.repository.split("/")[0] == model.repository.split("/")[0]), copy
                assert copy.precision is not model.precision or copy.bits, (model.id, copy.repository)
                if copy.precision in (Precision.FP8, Precision.AWQ, Precision.GPTQ, Precision.NVFP4):
                    assert copy.precision.value in copy.repository.lower(), copy.repository

    def test_default_weights(self, models: dict[str, ModelSpec]) -> None:
        """Where a repository itself holds quantized weights, the catalog says so."""
        assert models["ministral-3-8b"].precision is Precision.FP8
        assert models["kimi-k2.5"].precision is Precision.W4A16
        assert models["qwen3-vl-8b"].precision is Precision.BF16

    def test_what_no_engine_serves_keeps_its_place(self, models: dict[str, ModelSpec]) -> None:
        """Models without an engine are there, with the reason; those that lost theirs name its last version."""
        for id_ in ("cambrian-1-8b", "idefics2-8b", "xgen-mm-phi3-mini", "instructblip-vicuna-7b", "llava-7b"):
            assert models[id_].serving.served_by == (), id_
            assert models[id_].serving.note, id_
        assert models["llama-3.2-11b-vision"].serving.last_version == "0.10.2"
        assert models["florence-2-large"].serving.last_version == "0.10.2"

    def test_served_models_name_an_architecture(self, catalog: Catalog) -> None:
        """An engine finds its implementation by the architecture's name."""
        for model in catalog.models:
            assert bool(model.serving.served_by) == (model.serving.architecture is not None), model.id

    @pytest.mark.parametrize(
        ("id_", "convention"),
        [
            ("qwen2-vl-7b", GroundingConvention.RELATIVE_1000),
            ("qwen2.5-vl-7b", GroundingConvention.RESIZED_PIXELS),
            ("qwen3-vl-8b", GroundingConvention.RELATIVE_1000),
            ("deepseek-vl2", GroundingConvention.RELATIVE_999),
            ("molmo-7b-d", GroundingConvention.PERCENT_POINTS),
            ("paligemma2-3b", GroundingConvention.LOCATION_TOKENS_1024),
            ("moondream2", GroundingConvention.API),
        ],
    )
    def test_what_the_numbers_of_a_box_mean(
        self, models: dict[str, ModelSpec], id_: str, convention: GroundingConvention
    ) -> None:
        """Families that look alike give boxes in different units."""
        grounding = models[id_].grounding
        assert grounding is not None
        assert grounding.convention is convention
