"""The Python interface: what `from vlmctl import ...` gives, and that it answers as people were promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vlmctl
from vlmctl.errors import InvalidFile, InvalidValue, NothingFits, UnknownName, UnsupportedModel
from vlmctl.library import read_answers, read_wishes


@pytest.fixture(scope="module")
def catalog() -> vlmctl.Catalog:
    """The shipped catalog."""
    return vlmctl.load_catalog()


@pytest.mark.parametrize("name", vlmctl.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    """What `__all__` promises can be imported."""
    assert getattr(vlmctl, name) is not None
    assert name in dir(vlmctl)


def test_other_names_are_attribute_errors() -> None:
    """The lazy package answers like any other module."""
    with pytest.raises(AttributeError, match="no attribute 'recomend'"):
        _ = vlmctl.recomend


def test_importing_the_package_loads_nothing() -> None:
    """`import vlmctl` alone brings neither records nor parsers."""
    code = "import sys, vlmctl; print(sorted({'msgspec', 'yaml', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


def test_a_plain_mapping_is_understood(catalog: vlmctl.Catalog) -> None:
    """The documented mapping answers, and the "7B" of 8.29 billion is a near miss of the size."""
    found = vlmctl.recommend_vlm({"max_params": 8, "multi_image": True, "need_ocr": True}, catalog=catalog)
    assert found.answers
    assert all(vlmctl.find_model(each.model, catalog=catalog).parameters.total_billions <= 8 for each in found.answers)
    assert "8.29 billion parameters" in found.why("qwen2.5-vl-7b")


def test_keywords_mapping_and_record_agree(catalog: vlmctl.Catalog) -> None:
    """The same question in three forms has one answer."""
    keywords = vlmctl.recommend(catalog=catalog, task="chart", image="1280x720", output_tokens=128, rps=2)
    mapping = vlmctl.recommend(
        {"task": ["chart"], "image": "1280x720", "output_tokens": 128, "rps": 2.0}, catalog=catalog
    )
    record = vlmctl.recommend(
        vlmctl.Requirements(
            tasks={"chart": 1.0},
            workload=vlmctl.Workload(
                images=(vlmctl.ImageInput(width_pixels=1280, height_pixels=720),),
                output_tokens=128,
                requests_per_second=2,
            ),
        ),
        catalog=catalog,
    )
    assert keywords == mapping == record


def test_assumptions_are_said(catalog: vlmctl.Catalog) -> None:
    """What was not said is assumed aloud, and what was said is not assumed."""
    assert len(vlmctl.Question({"task": "chart"}, catalog=catalog).assumptions) == 2
    said = vlmctl.Question({"task": "chart", "image": "336", "output_tokens": 9}, catalog=catalog)
    assert said.assumptions == ()


@pytest.mark.parametrize(
    ("mapping", "error"),
    [
        ({"max_param": 8}, InvalidValue),
        ({"max_params": "eight"}, InvalidValue),
        ({"task": "reading minds"}, UnknownName),
        ({"image": "large"}, InvalidValue),
        ({"rps": float("inf")}, InvalidValue),
        ({"rps": 1, "concurrency": 1}, InvalidValue),
        ({"images": 0}, InvalidValue),
        ({"gpu": "L5"}, UnknownName),
        ({"provider": "nobody"}, UnknownName),
        ({"quantization": "int3"}, UnknownName),
        ({"needs": "taste"}, UnknownName),
        ({"family": "unknown family"}, UnknownName),
        ({"min_score": {"no-such-benchmark": 1}}, UnknownName),
        ({"min_score": "docvqa=high"}, InvalidValue),
        ({"task": {"chart": float("nan")}}, InvalidValue),
        ({"pue": -1}, InvalidValue),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.__name__,
)
def test_what_cannot_be_understood_is_refused(
    mapping: dict[str, object], error: type[Exception], catalog: vlmctl.Catalog
) -> None:
    """A wrong key, name or number is an error of its kind, never a guess."""
    with pytest.raises(error):
        vlmctl.Question(mapping, catalog=catalog)


@pytest.mark.parametrize(
    ("written", "tasks"),
    [
        ("chart", {"chart": 1.0}),
        ("Chart, document_ocr", {"chart": 1.0, "document-ocr": 1.0}),
        (["chart=2", "video"], {"chart": 2.0, "video": 1.0}),
        ({"chart": 0.5}, {"chart": 0.5}),
    ],
    ids=str,
)
def test_tasks_are_written_in_several_ways(written: object, tasks: dict[str, float], catalog: vlmctl.Catalog) -> None:
    """A name, a list, weights: each way of writing tasks means the same."""
    assert vlmctl.Question({"task": written}, catalog=catalog).requirements.tasks == tasks


def test_image_tokens_by_name(catalog: vlmctl.Catalog) -> None:
    """A 1240x870 receipt is 1,364 tokens and 2 markers for Qwen2.5-VL."""
    found = vlmctl.image_tokens("Qwen/Qwen2.5-VL-7B-Instruct", 1240, 870, catalog=catalog)
    assert (found.image_tokens, found.marker_tokens) == (1364, 2)


def test_plans_cost_what_the_cheapest_offer_costs(catalog: vlmctl.Catalog) -> None:
    """`plan` is the cheapest of `cost` that is not spot."""
    asked = {"image": "1280x720", "rps": 2}
    planned = vlmctl.plan("qwen2.5-vl-7b", asked, catalog=catalog)
    compared = vlmctl.cost("qwen2.5-vl-7b", asked, catalog=catalog)
    steady = [each.cost for each in compared if each.cost and each.cost.offer.kind != "spot"]
    assert planned.cost == steady[0]


def test_explain_plans_the_same(catalog: vlmctl.Catalog) -> None:
    """The plan that `explain` takes apart is the one that `plan` gives."""
    explained, sections = vlmctl.explain("qwen2.5-vl-7b", rps=2, catalog=catalog)
    assert explained == vlmctl.plan("qwen2.5-vl-7b", rps=2, catalog=catalog)
    assert sections


def test_fit_says_no_with_ways_out(catalog: vlmctl.Catalog) -> None:
    """A 72B model is too large for an L4."""
    report = vlmctl.fit("qwen2.5-vl-72b", "L4", catalog=catalog)
    assert not report.fits
    assert report.shortfall_bytes > 0


def test_errors_of_planning_come_through(catalog: vlmctl.Catalog) -> None:
    """A model that reads no images cannot be planned; a GPU that nobody rents out has no offer."""
    with pytest.raises(UnsupportedModel):
        vlmctl.plan("gemma-3-1b", catalog=catalog)
    with pytest.raises(NothingFits, match="no offer"):
        vlmctl.plan("qwen2.5-vl-7b", gpu="Gaudi3", catalog=catalog)


class TestFiles:
    @pytest.mark.parametrize(
        ("text", "line"),
        [("task: [chart\n", None), ("task: chart\nrps: many\n", 2), ("task: chart\ntask: video\n", 2), ("- task\n", 1)],
    )
    def test_mistakes_have_their_line(self, text: str, line: int | None, tmp_path: Path) -> None:
        """A file that is no YAML, or holds a wrong value, is refused with file and line."""
        file = tmp_path / "needs.yaml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidFile) as caught:
            read_wishes(file)
        assert caught.value.path == str(file)
        assert line is None or caught.value.line == line

    def test_an_empty_file_asks_for_nothing(self, tmp_path: Path) -> None:
        """Empty files are empty wishes and answers."""
        file = tmp_path / "empty.yaml"
        file.touch()
        assert read_wishes(file).task is None
        assert read_answers(file) == {}

    def test_a_device_does_not_hang(self) -> None:
        """A file without an end is refused."""
        with pytest.raises(InvalidFile):
            read_wishes("/dev/zero")
