"""Words for `vllm serve` that a user gives: read as flags, and put in the place of the planned ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused
from vlmctl.serving.engine_args import ServeArgument

FIELD = "spec.engine.arguments"
SERVED_NAME = "--served-model-name"

_PLANNED = "the plan decides it: see spec.hardware.count"
_ONE_POD = "a replica is one pod: see spec.hardware.count and spec.replicas"
_PROBED = "the Service and the probes reach the engine over plain HTTP on its port"
_RELIED_ON = "the operator relies on it"
# Flags that are said elsewhere, or without which the operator cannot do its work.
RESERVED = {
    "--api-key": "see spec.apiKey",
    "--config": "write its arguments out here",
    "--data-parallel-size": _ONE_POD,
    "--data-parallel-size-local": _ONE_POD,
    "--disable-log-stats": "the engine's metrics would go",
    "--enable-prompt-tokens-details": _RELIED_ON,
    "--enable-server-load-tracking": _RELIED_ON,
    "--grpc": _PROBED,
    "--headless": _PROBED,
    "--hf-token": "see spec.model.source.huggingFace.tokenSecret",
    "--host": _PROBED,
    "--model": "see spec.model",
    "--nnodes": _ONE_POD,
    "--node-rank": _ONE_POD,
    "--pipeline-parallel-size": _PLANNED,
    "--port": _PROBED,
    "--revision": "see spec.model.source.huggingFace.revision",
    "--root-path": _PROBED,
    "--shutdown-timeout": "the pod's grace period is planned with it",
    "--ssl-ca-certs": _PROBED,
    "--ssl-cert-reqs": _PROBED,
    "--ssl-certfile": _PROBED,
    "--ssl-keyfile": _PROBED,
    "--tensor-parallel-size": _PLANNED,
    "--trust-remote-code": "see spec.engine.trustRemoteCode",
    "--uds": _PROBED,
}
# Flags that make the engine run Python code from a file or module that they name.
CODE = (
    "--io-processor-plugin",
    "--logits-processors",
    "--middleware",
    "--model-class-overrides",
    "--reasoning-parser-plugin",
    "--scheduler-cls",
    "--tool-parser-plugin",
    "--worker-cls",
    "--worker-extension-cls",
)
BEGINNINGS = frozenset({"--reasoning-parser"})  # flags of their own that one of `CODE` begins with

_FLAG = re.compile(r"--[A-Za-z][^=\s]*")
_NUMBER = re.compile(r"-\d")


def given_arguments(words: Sequence[str], *, allow_code: bool) -> tuple[ServeArgument, ...]:
    """The flags in the order in which they are given, with dashes for underscores; of repeated ones the last counts.

    `allow_code`: whether those of `CODE` may be among them. Raises Refused for a word that belongs to no flag, and for
    flags that are not the user's to give.
    """
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        if word.startswith("-") and not _NUMBER.match(word):
            flag, equals, value = word.partition("=")
            flag = _checked(flag, word, allow_code=allow_code)
            found[flag] = [value] if equals else []
        elif flag:
            found[flag].append(word)
        else:
            raise Refused(PlanReason.INVALID_SPEC, f"{FIELD}: {word!r} stands before any flag.")
    return tuple(ServeArgument(flag=flag, values=tuple(values), reason=FIELD) for flag, values in found.items())


def laid_over(planned: Sequence[ServeArgument], given: Sequence[ServeArgument]) -> tuple[ServeArgument, ...]:
    """The planned arguments but for those of which a namesake is given, and then the given ones."""
    replaced = {_name(argument.flag) for argument in given}
    return (*(argument for argument in planned if _name(argument.flag) not in replaced), *given)


def replaced(planned: Sequence[ServeArgument], given: Sequence[ServeArgument]) -> tuple[str, ...]:
    """Planned flags in whose place one is given."""
    names = {_name(argument.flag) for argument in given}
    return tuple(argument.flag for argument in planned if _name(argument.flag) in names)


def _checked(flag: str, word: str, *, allow_code: bool) -> str:
    """The flag as vLLM spells it."""
    if not _FLAG.fullmatch(flag):
        raise Refused(PlanReason.INVALID_SPEC, f"{FIELD}: {word!r} is not the long form of a flag, such as --seed.")
    head, dot, tail = flag.partition(".")
    spelled = head.replace("_", "-") + dot + tail
    name = _name(spelled)
    for reserved, why in RESERVED.items():
        if reserved.startswith(name):  # vLLM's parser takes the beginning of a flag for the flag
            raise Refused(PlanReason.INVALID_SPEC, f"{FIELD}: {flag} cannot be given: {why}.")
    if not allow_code and name not in BEGINNINGS and any(each.startswith(name) for each in CODE):
        raise Refused(
            PlanReason.REMOTE_CODE_DENIED,
            f"{FIELD}: {flag} makes the engine run code, which spec.engine.trustRemoteCode and the cluster's policy "
            "must both allow.",
        )
    return spelled


def _name(flag: str) -> str:
    """What a flag sets: ``--no-x`` and ``--x.part`` set the same as ``--x``."""
    head = flag.partition(".")[0]
    return f"--{head.removeprefix('--no-')}" if head.startswith("--no-") else head
