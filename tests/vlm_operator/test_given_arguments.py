"""A user's own words for vLLM: read as vLLM reads them, put in the place of the planned ones, or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from vlm_operator.given_arguments import NO_VALUE, PLAIN_VALUE, RULES, given_arguments, laid_over, replaced
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused

from vlmctl.api.reading import DEEPEST
from vlmctl.serving.engine_args import ServeArgument

PLANNED = (
    ServeArgument(flag="--max-num-seqs", values=("256",), reason="planned"),
    ServeArgument(flag="--limit-mm-per-prompt", values=('{"image": 1}',), reason="planned"),
    ServeArgument(flag="--enforce-eager", reason="planned"),
)
PLAIN = sorted(flag for flag, form in RULES.values.items() if form == PLAIN_VALUE and flag not in RULES.json)
SWITCHES = sorted(flag for flag, form in RULES.values.items() if form == NO_VALUE)
VALUES = st.lists(st.from_regex(r"[a-z0-9{][^\s=/$-]{0,6}|-[0-9]", fullmatch=True), max_size=3)
FLAGS = st.dictionaries(st.sampled_from(PLAIN), VALUES) | st.dictionaries(st.sampled_from(SWITCHES), st.just([]))
# Flags, values and what is meant to pass for one of the two.
WORDS = st.one_of(
    st.sampled_from([*RULES.values, *RULES.denied]),
    st.builds(
        "=".join, st.tuples(st.sampled_from(list(RULES.values)), st.sampled_from([*RULES.denied, "-O3", "-1", "a"]))
    ),
    st.from_regex(r"-{0,2}[a-z0-9.]{0,6}", fullmatch=True),
)


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


@given(FLAGS)
def test_nothing_that_is_given_is_lost(flags: dict[str, list[str]]) -> None:
    """Every flag and value comes out again, in order."""
    given = [word for flag, values in flags.items() for word in (flag, *values)]
    found = given_arguments(given)
    assert {each.flag: list(each.values) for each in found} == flags
    assert [each.flag for each in found] == list(flags)


@given(st.lists(WORDS, max_size=6))
def test_vllm_sees_no_flag_that_was_not_looked_at(given: list[str]) -> None:
    """Of whatever is let through, each word that vLLM could take for a flag is one that may be given."""
    try:
        made = words(*given)
    except Refused:
        return
    flags = {word.partition("=")[0] for word in made if re.match(r"-(?!\d+$|\d*\.\d+$)", word)}
    assert {f"--{flag.removeprefix('--no-').removeprefix('--')}".partition(".")[0] for flag in flags} <= {
        flag.partition(".")[0] for flag in RULES.values
    }


@pytest.mark.parametrize(
    "given",
    [
        ["--enforce-eager=--middleware", "evil.middleware"],
        ["--seed=--worker-cls", "evil.Worker"],
        ["--seed", "1", "--max-num-seqs=-O3"],
        ["--enforce-eager", "true"],
        ["--no-enforce-eager=1"],
        ["--seed", "-1x"],
        ["--seed", "x$(HF_TOKEN)"],
        ["--media-io-kwargs.$(HF_TOKEN)", "1"],
        ["--chat-template={{ '$(HF_TOKEN)' }}"],
        ["--seed.x", "1"],
        ["--limit-mm-per-prompt", "[1]"],
        ["--limit-mm-per-prompt", "{"],
        ['--media-io-kwargs={"video": {"a": "\\u002fetc"}}'],
        ['--media-io-kwargs.video="\\u002fetc"'],
        ['--media-io-kwargs={"\\u002fetc": 1}'],
        ["--limit-mm-per-prompt=" + 100_000 * "["],
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_no_value_is_read_as_something_else(given: list[str]) -> None:
    """A flag behind an allowed one, a value of a switch, a variable of the container, a path in other letters."""
    with pytest.raises(Refused, match=r"spec\.engine\.arguments"):
        words(*given)


@given(st.integers(min_value=0, max_value=3_000), st.sampled_from(["[]", '{"num_frames":}']))
def test_json_of_an_argument_ends(more: int, around: str) -> None:
    """However deep it is, and wherever a release of Python gives up: let through up to a bound, else one sentence."""
    deep = around[:-1] * more + "1" + around[-1] * more
    for word in (f'--media-io-kwargs={{"video": {deep}}}', f'--media-io-kwargs.video={{"num_frames": {deep}}}'):
        if more < DEEPEST:
            assert words(word) == [word]
        else:
            with pytest.raises(Refused, match=r"cannot have more than 16 objects and lists inside each other\.$"):
                words(word)


@pytest.mark.parametrize("key", ["cache_dir", "code_revision", "font_path", "proxies", "subfolder", "token"])
def test_processors_are_told_sizes_alone(key: str) -> None:
    """vLLM hands the keys to `from_pretrained`, as they are, part of a flag or inside others."""
    words('--mm-processor-kwargs={"size": {"shortest_edge": 3136}, "max_pixels": 1003520}')
    words("--mm-processor-kwargs.images_kwargs.max_pixels", "1003520")
    for rest in (f'={{"{key}": "a"}}', f'={{"images_kwargs": {{"{key}": 1}}}}', f".{key}=a", f'.size={{"{key}": 1}}'):
        with pytest.raises(Refused, match=key):
            words(f"--mm-processor-kwargs{rest}")


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
