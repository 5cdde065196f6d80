"""Words for `vllm serve` that a user gives: read as flags, and put in the place of the planned ones.

What may be given is listed (engine_settings.yaml), so that a release of vLLM with new flags opens nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import yaml

from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlmctl.api.reading import DEEPEST, depth
from vlmctl.serving.engine_args import ServeArgument
from vlmctl.specs.record import Record

FIELD = "spec.engine.arguments"
SERVED_NAME = "--served-model-name"
PROCESSOR = "--mm-processor-kwargs"
PLAIN_VALUE = r"[^/]*"  # no path, and no address but one without its scheme
NO_VALUE = ""  # of switches
EXPANDED = "$("  # the kubelet puts variables of the container in its place, tokens among them
UNKNOWN = "it is not among those that may be given (docs/security.md)"

_FLAG = re.compile(r"--[A-Za-z][^=\s]*")
_NUMBER = re.compile(r"-(\d+|\d*\.\d+)")  # that argparse takes for a value


class Rules(Record, frozen=True, kw_only=True):
    """Of each flag that may be given, the form of its values, and of each that may not, why; `variables` that may be
    set. `json`: flags of which that is the form of the words inside their JSON. `processor_keys`: of `PROCESSOR`.
    """

    values: Mapping[str, str]
    denied: Mapping[str, str]
    variables: frozenset[str]
    json: frozenset[str]
    processor_keys: frozenset[str]


def _read() -> Rules:
    listed = yaml.safe_load((files("vlm_operator") / "engine_settings.yaml").read_text(encoding="utf-8"))
    return Rules(
        values={
            **dict.fromkeys(listed["switches"].split(), NO_VALUE),
            **dict.fromkeys([*listed["plain"].split(), *listed["json"].split()], PLAIN_VALUE),
            **listed["valued"],
        },
        denied={flag: why for why, flags in listed["denied"].items() for flag in flags.split()},
        variables=frozenset(listed["variables"].split()),
        json=frozenset(listed["json"].split()),
        processor_keys=frozenset(listed["processor_keys"].split()),
    )


RULES = _read()


def given_arguments(words: Sequence[str]) -> tuple[ServeArgument, ...]:
    """The flags in the order in which they are given, with dashes for underscores; of repeated ones the last counts.

    Raises Refused for a word that belongs to no flag, for flags that are not the user's to give, and for values that
    they may not have.
    """
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        if EXPANDED in word:
            raise _refused(f"{word!r} holds {EXPANDED}, which would be replaced. Leave it out.")
        if word.startswith("-") and not _NUMBER.fullmatch(word):
            flag, equals, value = word.partition("=")
            flag = _spelled(flag, word)
            found[flag] = [value] if equals else []
        elif flag:
            found[flag].append(word)
        else:
            raise _refused(f"{word!r} stands before any flag.")
    for flag, values in found.items():
        _check(flag, values)
    return tuple(ServeArgument(flag=flag, values=tuple(values), reason=FIELD) for flag, values in found.items())


def laid_over(planned: Sequence[ServeArgument], given: Sequence[ServeArgument]) -> tuple[ServeArgument, ...]:
    """The planned arguments but for those of which a namesake is given, and then the given ones."""
    replaced = {_name(argument.flag) for argument in given}
    return (*(argument for argument in planned if _name(argument.flag) not in replaced), *given)


def replaced(planned: Sequence[ServeArgument], given: Sequence[ServeArgument]) -> tuple[str, ...]:
    """Planned flags in whose place one is given."""
    names = {_name(argument.flag) for argument in given}
    return tuple(argument.flag for argument in planned if _name(argument.flag) in names)


def _spelled(flag: str, word: str) -> str:
    """The flag as vLLM spells it."""
    if not _FLAG.fullmatch(flag):
        raise _refused(f"{word!r} is not the long form of a flag, such as --seed.")
    head, dot, tail = flag.partition(".")
    return head.replace("_", "-") + dot + tail


def _check(flag: str, values: Sequence[str]) -> None:
    """Raise Refused where the flag, or one of its values, is not the user's to give."""
    name = _name(flag)
    form = RULES.values.get(flag, RULES.values.get(name))
    if form is None:
        close = get_close_matches(name, RULES.values, n=1)
        hint = f" Did you mean {close[0]}?" if close and name not in RULES.denied else ""
        raise _refused(f"{flag} cannot be given: {RULES.denied.get(name, UNKNOWN)}.{hint}")
    if "." in flag and flag not in RULES.values and name not in RULES.json:
        raise _refused(f"{flag} cannot be given: {name} has no parts. Give {name} itself.")
    for value in values:
        _check_value(flag, name, form, value)


def _check_value(flag: str, name: str, form: str, value: str) -> None:
    """Raise Refused where vLLM would read another flag, or what is not in the form, out of the value."""
    if form == NO_VALUE:
        raise _refused(f"{flag} cannot be {value!r}: it is a switch, which takes no value.")
    if value.startswith("-") and not _NUMBER.fullmatch(value):
        raise _refused(f"{flag} cannot be {value!r}: a value does not begin with a dash.")
    words = _words(flag, value) if name in RULES.json else [value]
    if not all(re.fullmatch(form, word) for word in words):
        raise _refused(f"{flag} cannot be {value!r}: a value of it has the form {form}")


def _words(flag: str, value: str) -> list[str]:
    """Every key and text of a JSON value, as vLLM decodes it; raises Refused."""
    name, *parts = flag.split(".")
    decoded = _decoded(flag, value)
    if not parts and not isinstance(decoded, dict):
        raise _refused(f'{flag} cannot be {value!r}: give a JSON object, such as {{"key": 1}}.')
    keys = [*parts, *_keys(decoded)]
    unknown = [key for key in keys if key not in RULES.processor_keys] if name == PROCESSOR else []
    if unknown:
        raise _refused(f"{flag} cannot have the key {unknown[0]!r}: {UNKNOWN}.")
    return [*keys, *_texts(decoded)]


def _decoded(flag: str, value: str) -> Any:
    """The value as JSON has it; what is none stays a text, as vLLM has it of a part. Raises Refused for a deep one."""
    try:
        decoded = json.loads(value)
        is_deep = depth(decoded) > DEEPEST
    except RecursionError:  # how deep that is depends on the release of Python
        is_deep = True
    except ValueError:
        return value
    if is_deep:
        raise _refused(f"{flag} cannot have more than {DEEPEST} objects and lists inside each other.")
    return decoded


def _keys(decoded: Any) -> Iterator[str]:
    if isinstance(decoded, dict):
        yield from decoded
    for part in _parts(decoded):
        yield from _keys(part)


def _texts(decoded: Any) -> Iterator[str]:
    if isinstance(decoded, str):
        yield decoded
    for part in _parts(decoded):
        yield from _texts(part)


def _parts(decoded: Any) -> Sequence[Any]:
    if isinstance(decoded, dict):
        return tuple(decoded.values())
    return decoded if isinstance(decoded, list) else ()


def _refused(problem: str) -> Refused:
    return Refused(PlanReason.INVALID_SPEC, f"{FIELD}: {problem}")


def _name(flag: str) -> str:
    """What a flag sets: ``--no-x`` and ``--x.part`` set the same as ``--x``."""
    head = flag.partition(".")[0]
    return f"--{head.removeprefix('--no-')}" if head.startswith("--no-") else head
