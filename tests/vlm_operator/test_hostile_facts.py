"""Made-up files of a checkpoint: a plan or a refusal in few steps and little memory, whatever they say."""

from __future__ import annotations

import copy
import json
import sys
import tracemalloc
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlm_operator.conditions import MESSAGE_LIMIT, Judged, conditions
from vlm_operator.reasons import PlanReason
from vlm_operator.records import Planned
from vlm_operator.refusal import MESSAGE_LENGTH, Refused

from tests.unit.catalog.test_described import CHECKPOINTS, DEEPSEEK_V3, FALCON_7B, LLAMA_8B, MAMBA, NEMOTRON_H, QWEN_MOE
from tests.unit.catalog.test_hf_rules import NAMED
from tests.vlm_operator.planning import planned
from vlmctl.api.status import ConditionType
from vlmctl.catalog.hf_values import MOST_LAYERS, MOST_TILES

Path = tuple[str | int, ...]
MOST_STEPS = 1_000_000  # lines of Python, some 0.1 s; a plan of real files takes up to 20,000
MOST_BYTES = 64 * 2**20
LENGTH = 30_000  # of long texts, as a file may have 65,536 characters
VISION = {"image_size": 336, "patch_size": 14, "hidden_size": 1024, "num_hidden_layers": 24}
FILES: list[dict[str, Any]] = [
    *({"config": each["config"], "processor": each.get("processor", {})} for each in CHECKPOINTS),
    *(
        {
            "config": {**config, "architectures": [name], "text_config": LLAMA_8B},
            "processor": processor,
        }
        for _, name, config, processor in NAMED
    ),
    *(
        {
            "config": {
                "architectures": ["LlavaForConditionalGeneration"],
                "text_config": each,
                "vision_config": VISION,
            },
            "processor": {},
        }
        for each in (DEEPSEEK_V3, FALCON_7B, MAMBA, NEMOTRON_H, QWEN_MOE)
    ),
]
PICTURE = {"images": [{"size": "1280x720"}]}
WORKLOADS: list[dict[str, Any]] = [
    PICTURE,
    {"images": [{"size": "30000x30000", "count": 100_000}]},
    {"images": [{"size": f"{1000 + side}x{900 + side}", "count": 6_000} for side in range(16)], "outputTokens": 10**8},
    {"videos": [{"length": "24h", "size": "9999x9999", "framesPerSecond": "60"}] * 16},
]
EXTREMES: list[Any] = [
    *(0, -1, -(10**12), 1, 3, 255, 1_999, 10**6, 10**9, 10**12, 10**18, 10**400),
    *(0.5, -0.5, 1e-300, 1e308, True, None, "", "x" * LENGTH, "7" * LENGTH, [], {}),
    *([1] * (LENGTH // 3), [[1, 1]] * (LENGTH // 8), [10**9, 10**9], {"a": {"b": {"c": [[[[[[1]]]]]]}}}),
]


def _numbers(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where numbers stand."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(each, (*path, key))


def _with(files: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(files)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


CHANGES = st.sampled_from(FILES).flatmap(
    lambda files: st.builds(_with, st.just(files), st.sampled_from(list(_numbers(files))), st.sampled_from(EXTREMES))
)


class _Steps:
    """Counts the lines that are run, and ends what runs too many."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> _Steps:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, _frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self.lines += 1
            assert self.lines <= MOST_STEPS
        return self._trace


def _plan(files: dict[str, Any], workload: dict[str, Any] = PICTURE) -> Planned:
    facts = {name: json.dumps(content) for name, content in files.items()}
    return planned(
        model={"source": {"huggingFace": {"repository": "maker/model"}}, "facts": facts},
        workload=workload,
        licensePolicy="Any",
    )


def _outcome(files: dict[str, Any], workload: dict[str, Any] = PICTURE) -> Planned | Refused:
    try:
        return _plan(files, workload)
    except Refused as error:
        return error


def _refused(files: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as found:
        _plan(files)
    return found.value


@pytest.mark.parametrize("files", FILES, ids=[each["config"].get("architectures", [""])[0] for each in FILES])
def test_real_files_stay_within_the_steps(files: dict[str, Any]) -> None:
    """What the laws allow is far more than real files take."""
    with _Steps() as steps:
        _outcome(files)
    assert steps.lines < MOST_STEPS / 20


@settings(max_examples=100, deadline=None)
@given(files=CHANGES, workload=st.sampled_from(WORKLOADS))
def test_any_number_ends_in_a_plan_or_a_refusal(files: dict[str, Any], workload: dict[str, Any]) -> None:
    """Real files with one number replaced by anything are planned or refused, in bounded steps and memory."""
    tracemalloc.start()
    try:
        with _Steps():
            found = _outcome(files, workload)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    if isinstance(found, Refused):
        assert len(found.message) <= MESSAGE_LENGTH < MESSAGE_LIMIT
        assert "\n" not in found.message


INTERNVL = {
    "config": next({**c, "architectures": [n], "text_config": LLAMA_8B} for m, n, c, _ in NAMED if m == "internvl2-8b")
}


@pytest.mark.parametrize(
    ("path", "value", "most"),
    [
        (("config", "max_dynamic_patch"), 100_000, MOST_TILES),
        (("config", "min_dynamic_patch"), -5, MOST_TILES),
        (("config", "text_config", "num_hidden_layers"), 1_000_000_000, MOST_LAYERS),
        (("config", "text_config", "vocab_size"), 10**13, 10**12),
    ],
)
def test_what_no_model_has_is_refused_by_name(path: Path, value: int, most: int) -> None:
    """A number beyond any model's is refused with its name and what is read, and nothing is taken in its place."""
    error = _refused(_with(INTERNVL, path, value))
    assert error.reason is PlanReason.FACTS_MISSING
    assert error.message.startswith(f"spec.model.facts: {path[-1]!r} is {value} in the configuration")
    assert f"to {most} there" in error.message


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_would_fit_is_looked_for_in_few_steps(workload: dict[str, Any]) -> None:
    """Where a context holds any request, and no GPU does, not each smaller number of images is tried."""
    with _Steps():
        _outcome(_with(INTERNVL, ("config", "text_config", "max_position_embeddings"), 10**12), workload)


def test_long_values_are_quoted_in_part() -> None:
    """A value of any length leaves a message that a condition can hold, with what is wrong at its beginning."""
    error = _refused(_with(INTERNVL, ("config", "text_config", "num_hidden_layers"), "x" * LENGTH))
    assert error.message.startswith("spec.model.facts: 'num_hidden_layers' is 'xxx")
    assert len(error.message) < 300
    assert len(Refused(PlanReason.INVALID_SPEC, "x" * 100_000).message) == MESSAGE_LENGTH


def test_no_condition_is_longer_than_the_api_server_takes() -> None:
    """Whatever is judged, the status can be written."""
    judged = {ConditionType.PLANNED: Judged("False", PlanReason.INVALID_SPEC, "x" * 100_000)}
    assert len(conditions(judged, (), generation=1, now=0.0)[0].message) == MESSAGE_LIMIT


def test_a_pattern_of_modules_cannot_take_for_ever() -> None:
    """Names of modules are tried for a bounded time, and what takes longer is refused."""
    quantized = {"quant_method": "compressed-tensors", "ignore": [r"re:(.|.)*[^\w.]"]}
    refused = _refused({"config": {**INTERNVL["config"], "quantization_config": quantized}})
    assert "takes too long" in refused.message
