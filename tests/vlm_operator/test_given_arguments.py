"""A user's own words for vLLM: read as vLLM reads them, put in the place of the planned ones, or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from vlm_operator.given_arguments import PLAIN_VALUE, RULES, given_arguments, laid_over, replaced
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused

from vlmctl.serving.engine_args import ServeArgument

PLANNED = (
    ServeArgument(flag="--max-num-seqs", values=("256",), reason="planned"),
    ServeArgument(flag="--limit-mm-per-prompt", values=('{"image": 1}',), reason="planned"),
    ServeArgument(flag="--enforce-eager", reason="planned"),
)
NAMES = st.sampled_from(sorted(flag for flag, form in RULES.values.items() if form == PLAIN_VALUE))
VALUES = st.lists(st.from_regex(r"[a-z0-9{][^\s=/-]{0,6}|-[0-9]", fullmatch=True), max_size=3)


def words(*given: str) -> list[str]:
    """What vLLM would be started with."""
    return [word for each in given_arguments(given) for word in each.words]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--seed", "1"], ["--seed=1"]),
        (["--seed=1"], ["--seed=1"]),
        (["--seed", "-1"], ["--seed=-1"]),
        (["--enforce_eager"], ["--enforce-eager"]),
        (["--cudagraph-capture-sizes", "1", "2", "4"], ["--cudagraph-capture-sizes", "1", "2", "4"]),
        (["--seed", "1", "--seed", "2"], ["--seed=2"]),
        (["--compilation_config.cudagraph_mode", "NONE"], ["--compilation-config.cudagraph_mode=NONE"]),
        (["--limit-mm-per-prompt.image", "2"], ["--limit-mm-per-prompt.image=2"]),
        (["--no-enable-prefix-caching"], ["--no-enable-prefix-caching"]),
        (["--chat-template={{ messages[0].content }}"], ["--chat-template={{ messages[0].content }}"]),
        (['--override-generation-config={"a": 1}'], ['--override-generation-config={"a": 1}']),
        (["--reasoning-parser", "qwen3"], ["--reasoning-parser=qwen3"]),
    ],
)
def test_words_are_read_as_vllm_reads_them(given: list[str], meant: list[str]) -> None:
    """Values joined or apart, underscores for dashes, the last of repeated flags, negative numbers as values."""
    assert words(*given) == meant


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_nothing_that_is_given_is_lost(flags: dict[str, list[str]]) -> None:
    """Every flag and value comes out again, in order."""
    given = [word for flag, values in flags.items() for word in (flag, *values)]
    found = given_arguments(given)
    assert {each.flag: list(each.values) for each in found} == flags
    assert [each.flag for each in found] == list(flags)


@pytest.mark.parametrize("given", [["stray"], ["-tp", "2"], ["-O3"], ["--"], ["-", "x"], ["--8"]])
def test_what_is_no_flag_is_refused(given: list[str]) -> None:
    """A word before any flag, and short forms, which mean different things in different releases."""
    with pytest.raises(Refused, match=r"spec\.engine\.arguments") as refused:
        words(*given)
    assert refused.value.reason is PlanReason.INVALID_SPEC


@pytest.mark.parametrize("flag", RULES.denied)
def test_what_is_not_the_users_to_give(flag: str) -> None:
    """Neither the flag, nor with underscores, nor its beginning, nor its opposite, nor a part of it."""
    spelled = [
        flag,
        flag.replace("-", "_").replace("__", "--", 1),
        f"--no-{flag[2:]}",
        f"{flag}.x",
        f"{flag}=1",
        *([flag[:-1]] if flag[:-1] not in RULES.values else []),
    ]
    for each in spelled:
        with pytest.raises(Refused) as refused:
            words(each)
        assert refused.value.reason is PlanReason.INVALID_SPEC
    with pytest.raises(Refused, match=re.escape(RULES.denied[flag])):
        words(flag)


@given(st.from_regex(r"--[a-z][a-z-]{0,30}", fullmatch=True))
def test_what_nobody_has_looked_at_is_refused(flag: str) -> None:
    """A flag of a release to come, or the beginning of a known one, which vLLM would take for the whole."""
    assume(flag not in RULES.values and f"--{flag.removeprefix('--no-')}" not in RULES.values)
    with pytest.raises(Refused):
        words(flag)


def test_a_misspelled_flag_is_put_right() -> None:
    """The message names the one that was meant."""
    with pytest.raises(Refused, match="Did you mean --max-model-len"):
        words("--max-modellen", "8")


@pytest.mark.parametrize(
    "given",
    [
        ["--chat-template", "/proc/self/environ"],
        ["--chat-template=/run/secrets/token"],
        ["--chat-template", "../../etc/passwd"],
        ["--chat-template=/vllm-workspace/examples/../../proc/self/environ"],
        ["--chat-template=template.jinja"],
        ["--generation-config", "/models"],
        ["--load-format", "pt"],
        ["--load-format", "tensorizer"],
        ["--load-format", "runai_streamer"],
        ["--load-format", "sharded_state"],
        ["--reasoning-parser", "/tmp/mine.py"],
        ["--tool-call-parser", "https://evil.example/mine.py"],
        ["--kv-offloading-backend", "lmcache"],
        ["--model-impl", "terratorch"],
        ["--tokenizer-mode", "custom"],
        ["--compilation-config", '{"cache_dir": "/tmp"}'],
        ["--compilation-config.cache_dir", "/tmp"],
        ["--compilation-config.backend", "evil.module"],
        ["--moe-backend", "a/b"],
    ],
)
def test_no_value_is_a_path_an_address_or_code(given: list[str]) -> None:
    """Where a flag may be given, its values are names, numbers, or JSON that the model's processor reads."""
    with pytest.raises(Refused):
        words(*given)


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        (["--max_num_seqs", "8"], ("--max-num-seqs",)),
        (["--limit-mm-per-prompt.image", "2"], ("--limit-mm-per-prompt",)),
        (["--no-enforce-eager"], ("--enforce-eager",)),
        (["--seed", "1"], ()),
    ],
)
def test_a_given_flag_replaces_its_namesake(given: list[str], gone: tuple[str, ...]) -> None:
    """The planned one goes, whole, and all others stay as they were."""
    own = given_arguments(given)
    assert replaced(PLANNED, own) == gone
    assert laid_over(PLANNED, own) == (*(each for each in PLANNED if each.flag not in gone), *own)
