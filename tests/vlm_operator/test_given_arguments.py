"""A user's own words for vLLM: read as vLLM reads them, put in the place of the planned ones, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.given_arguments import CODE, RESERVED, given_arguments, laid_over, replaced
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused

from vlmctl.serving.engine_args import ServeArgument

PLANNED = (
    ServeArgument(flag="--max-num-seqs", values=("256",), reason="planned"),
    ServeArgument(flag="--limit-mm-per-prompt", values=('{"image": 1}',), reason="planned"),
    ServeArgument(flag="--enforce-eager", reason="planned"),
)
NAMES = st.from_regex(r"--zz[a-z]{1,8}", fullmatch=True)
VALUES = st.lists(st.from_regex(r"[a-z0-9{][^\s=-]{0,6}|-[0-9]", fullmatch=True), max_size=3)


def words(*given: str) -> list[str]:
    """What vLLM would be started with."""
    return [word for each in given_arguments(given, allow_code=False) for word in each.words]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--seed", "1"], ["--seed=1"]),
        (["--seed=1"], ["--seed=1"]),
        (["--seed", "-1"], ["--seed=-1"]),
        (["--enable_lora"], ["--enable-lora"]),
        (["--enable-lora", "--lora-modules", "a=b", "c=d"], ["--enable-lora", "--lora-modules", "a=b", "c=d"]),
        (["--seed", "1", "--seed", "2"], ["--seed=2"]),
        (["--compilation_config.pass_config.x", "1"], ["--compilation-config.pass_config.x=1"]),
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
    found = given_arguments(given, allow_code=False)
    assert {each.flag: list(each.values) for each in found} == flags
    assert [each.flag for each in found] == list(flags)


@pytest.mark.parametrize("given", [["stray"], ["-tp", "2"], ["-O3"], ["--"], ["-", "x"], ["--8"]])
def test_what_is_no_flag_is_refused(given: list[str]) -> None:
    """A word before any flag, and short forms, which mean different things in different releases."""
    with pytest.raises(Refused, match=r"spec\.engine\.arguments") as refused:
        words(*given)
    assert refused.value.reason is PlanReason.INVALID_SPEC


@pytest.mark.parametrize("flag", RESERVED)
def test_what_the_operator_relies_on_stays(flag: str) -> None:
    """Neither the flag, nor with underscores, nor its beginning, nor its opposite, nor a part of it."""
    spelled = [
        flag,
        flag.replace("-", "_").replace("__", "--", 1),
        flag[:-1],
        f"--no-{flag[2:]}",
        f"{flag}.x",
        f"{flag}=1",
    ]
    for each in spelled:
        with pytest.raises(Refused) as refused:
            words(each)
        assert refused.value.reason is PlanReason.INVALID_SPEC


@pytest.mark.parametrize("flag", CODE)
def test_code_runs_only_where_it_is_allowed(flag: str) -> None:
    """Flags that load Python from a file or module are for those who may run code of others."""
    with pytest.raises(Refused) as refused:
        words(flag, "x")
    assert refused.value.reason is PlanReason.REMOTE_CODE_DENIED
    assert given_arguments([flag, "x"], allow_code=True)[0].flag == flag


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
    own = given_arguments(given, allow_code=False)
    assert replaced(PLANNED, own) == gone
    assert laid_over(PLANNED, own) == (*(each for each in PLANNED if each.flag not in gone), *own)
