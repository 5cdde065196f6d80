"""docs/published-claims.md: what has been published about open VLMs, and what holds, from catalog/claims.yaml."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec
import yaml

from vlmctl.specs.record import Record

PAGE = "published-claims.md"
CLAIMS = Path(__file__).resolve().parents[2] / "catalog" / "claims.yaml"


class Verdict(StrEnum):
    """How a claim stands up."""

    WRONG = "wrong"
    PARTLY = "partly"
    OUTDATED = "outdated"
    RIGHT = "right"


class Strength(StrEnum):
    """How well the answer is supported."""

    PRIMARY = "A"
    SECONDARY = "B"
    MEMORY = "C"


class Claim(Record, frozen=True, kw_only=True):
    """A published claim and its answer. `models`: catalog ids it is about."""

    id: str
    where: tuple[str, ...]
    claim: str
    verdict: Verdict
    holds: str
    why: str
    evidence: tuple[str, ...]
    strength: Strength
    models: tuple[str, ...] = ()


HEADINGS = {
    Verdict.WRONG: "Wrong",
    Verdict.PARTLY: "Right in part",
    Verdict.OUTDATED: "Overtaken",
    Verdict.RIGHT: "Right",
}
STRENGTHS = {
    Strength.PRIMARY: "the primary text was read, or the figure computed from it",
    Strength.SECONDARY: "from a secondary source, or inferred",
    Strength.MEMORY: "from memory, not checked",
}
INTRODUCTION = """\
# Published claims, and what holds

<!-- Written by `make docs` from catalog/claims.yaml: edit there. -->

Figures about open vision-language models travel from text to text, and some change on the way. This page lists claims
that many will have read, what the primary sources say, and how sure that is. The catalog follows the sources.
"""


def load_claims(path: Path = CLAIMS) -> tuple[Claim, ...]:
    """The claims in the order of the file; raises msgspec.ValidationError for a malformed one."""
    document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    return msgspec.convert(document["claims"], tuple[Claim, ...])


def render() -> str:
    """The page as Markdown, grouped by verdict, in the order of the file."""
    claims = load_claims()
    counts = ", ".join(
        f"{sum(claim.verdict is verdict for claim in claims)} {heading.lower()}"
        for verdict, heading in HEADINGS.items()
    )
    strengths = "; ".join(f"**{strength}** {meaning}" for strength, meaning in STRENGTHS.items())
    parts = [INTRODUCTION, f"{len(claims)} claims: {counts}.\n", f"Strength of the evidence: {strengths}.\n"]
    for verdict, heading in HEADINGS.items():
        parts.append(f"## {heading}\n")
        parts += [_section(claim) for claim in claims if claim.verdict is verdict]
    return "\n".join(parts)


def _section(claim: Claim) -> str:
    models = f"\n- Models: {', '.join(f'`{model}`' for model in claim.models)}" if claim.models else ""
    return (
        f"### {claim.claim}\n\n"
        f"**What holds:** {claim.holds}\n\n"
        f"**Why:** {claim.why}\n\n"
        f"- Read in: {'; '.join(claim.where)}\n"
        f"- Evidence ({claim.strength}): {'; '.join(claim.evidence)}{models}\n"
    )
