"""What the last lines of a container's log say. They are data that anyone may have written: cut, cleaned, never run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files

import msgspec
import yaml

from vlm_operator.records import Finding
from vlmctl.specs.record import Record

PATTERNS_FILE = "log_patterns.yaml"
TEXT_LIMIT = 65_536  # characters of a log's end that are read: causes stand some 200 lines of tracebacks above the end
LINE_LIMIT = 2_000  # characters of a line that are read
QUOTE_LIMIT = 200  # characters of a line that are shown
TEXTS_REMEMBERED = 64  # logs whose explanation is kept, as the same log is read at every reconcile

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# `(EngineCore pid=104) ERROR 05-05 12:36:59 [core.py:390] `: whose line it is, and when (vllm/logger.py).
_PREFIX = re.compile(
    r"^(?:\([^()]{1,80}\) *)?(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ \[[^\]]{1,80}\] ?)?"
)
_NAMED = (  # what a secret is called, at the end of a variable's, a header's or a parameter's name
    r"api[-_ ]?keys?|access[-_]?key(?:[-_]?id)?|account[-_]?key|private[-_]?key|secret[-_]?key|token|password|passwd"
    r"|passphrase|pwd|secret|credentials?|authorization|signature|cookie|sig"
)
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# A search tries each of these from every character on: what one repeats must begin where the run does, or stop at what
# it begins with. A line that is made for it would take the square of its length otherwise.
_SECRETS = (
    # What begins as the keys of a service do, wherever it stands.
    (re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{8,}"), "hf_***"),  # Hugging Face
    (re.compile(r"\b[rsp]k[-_][\w-]{8,}"), "sk-***"),  # OpenAI-compatible servers, Stripe
    (re.compile(r"\b(?:gh[opsur]_|github_pat_|glpat-|npm_|pypi-)[\w-]{16,}"), "gh_***"),  # GitHub, GitLab, registries
    (re.compile(r"\b(?:nvapi-|xox[a-z]-|ya29\.|AIza|dckr_pat_)[\w.-]{10,}"), "***"),  # NVIDIA, Slack, Google, Docker
    (re.compile(r"\bA(?:KIA|SIA|ROA|IDA|GPA|NPA|NVA|BIA|CCA)[A-Z0-9]{12,}"), "AKIA***"),  # Amazon
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+)*"), "eyJ***"),  # JSON web tokens
    (re.compile(r"^[ \t]*[A-Za-z0-9+/]{60,}={0,2}[ \t]*$"), "***"),  # a line of a key whose beginning was cut off
    # What addresses hold: a user's name and password, and the parameters of those that are signed.
    (re.compile(r"(://)[^\s/'\"]+@"), r"\1***@"),
    (re.compile(r"(?<![^\s?'\"])((?=[^\s?'\"]*?://)[^\s?'\"]++)\?[^\s'\"]+"), r"\1?***"),
    (re.compile(r"(?i)([?&](?:[\w-]*[-_])?(?:" + _NAMED + r"|key|auth|code|expires)=)[^&#\s'\"]+"), r"\1***"),
    # What is called a secret.
    (re.compile(r"(?i)\b(bearer|basic|digest) +(?!\*)\S.*"), r"\1 ***"),
    (
        re.compile(
            r"(?i)((?<![\w-])(?=[\w-]*?--)[\w-]++(?:(?<=api-key)|(?<=token)|(?<=password)|(?<=secret))[ =])"
            r"(?!-).*?(?= --?[a-z]|$)"
        ),
        r"\1***",
    ),
    (
        re.compile(
            r"(?i)((?:" + _NAMED + r")[\\'\"]*(?:\s*[:=]\s*|(?<=key)\s+))"
            r"(?!\*)(?:[\[({][^\])}]*[\])}]?|\\?\"[^\"]*\"?|\\?'[^']*'?|[^\s\])}'\"]+)"
        ),
        r"\1***",
    ),
)
_UNSTABLE = (  # what differs from one start to the next, and would change a message that says the same
    (re.compile(r"\b0x[0-9a-fA-F]+"), "0x*"),
    (re.compile(r" ?\(Request ID: [^()]*\)"), ""),
    (re.compile(r"\bpid[= ]\d+"), "pid *"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "*"),  # of a container
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "*"),  # of a request
    (re.compile(r"(?<=[\da-f\]]):\d{1,5}(?=->)"), ":*"),  # the port that a client has by chance: 10.0.0.5:43512->
    # When it was, as RFC 3339 or Go writes it, and how long it took.
    (
        re.compile(
            r"\b(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d\b(?:[.,]\d{1,9})?(?:Z| ?[+-]\d\d:?\d\d)?"
            r"(?: UTC)?(?: m=[+-][\d.]{1,20})?"
        ),
        "*",
    ),
    (re.compile(r"\b(?:\d{1,4}[hm]){0,2}\d{1,9}\.\d{1,9}[mnuµ]?s\b"), "*"),
)
_EXCEPTION = re.compile(
    r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Exit|Interrupt|Fault)\b.*|.*\b(?:[Ee]rror|ERROR|[Ff]atal): \S.*"
)
_SAYS_NOTHING = re.compile(
    r"root cause above|for the root cause|stack trace above|resource_tracker|process group has NOT"
)


class LogPattern(Record, frozen=True, kw_only=True):
    """One entry of the file; `source`: where the words come from."""

    reason: str
    pattern: str
    message: str
    remedy: str
    source: str


@cache
def patterns() -> tuple[LogPattern, ...]:
    """The entries of the file, in its order."""
    text = files("vlm_operator").joinpath(PATTERNS_FILE).read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), tuple[LogPattern, ...])


@lru_cache(maxsize=TEXTS_REMEMBERED)
def explain(text: str) -> Finding | None:
    """What the first pattern that fits says of a log; None where none fits."""
    readable = "\n".join(_lines(text))
    for pattern, entry in _compiled():
        match = pattern.search(readable)
        if match is not None:
            said = {name: quote(value or "") for name, value in match.groupdict().items()}
            return Finding(
                reason=entry.reason, message=entry.message.format(**said), remedy=entry.remedy.format(**said)
            )
    return None


@lru_cache(maxsize=TEXTS_REMEMBERED)
def last_words(text: str) -> str:
    """The last line that tells of an error, as it may be shown; empty where there is none."""
    told = [line for line in _lines(text) if _EXCEPTION.match(line) and not _SAYS_NOTHING.search(line)]
    return quote(told[-1]) if told else ""


@lru_cache(maxsize=TEXTS_REMEMBERED)
def tells_of_interrupt(text: str) -> bool:
    """Whether Python says that a signal interrupted it: so vLLM ends on SIGTERM while it starts, with exit code 1
    (vllm/entrypoints/launchers/api_server/entry.py@0.32.0).
    """
    return any(line.startswith("KeyboardInterrupt") for line in _lines(text))


def quote(text: str, *, limit: int = QUOTE_LIMIT) -> str:
    """Text of others as one line of at most `limit` characters, without secrets and control characters, and the same
    whenever it says the same.
    """
    line = " ".join(" ".join(_lines(text)).split())
    for pattern, instead in _UNSTABLE:
        line = pattern.sub(instead, line)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], LogPattern], ...]:
    return tuple((re.compile(entry.pattern, re.MULTILINE), entry) for entry in patterns())


def _lines(text: str) -> Iterator[str]:
    """The lines of a log's end without prefixes, escapes, secrets and empty lines."""
    shown = text if len(text) <= TEXT_LIMIT else text[-TEXT_LIMIT:].partition("\n")[2]  # no half of a token
    for raw in _KEY_BLOCK.sub("***", shown).split("\n"):
        line = _PREFIX.sub("", _INVISIBLE.sub("", _ESCAPES.sub("", raw[:LINE_LIMIT])), count=1)
        for pattern, instead in _SECRETS:
            line = pattern.sub(instead, line)
        if line.strip():
            yield line
