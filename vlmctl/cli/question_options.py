"""The options that make up a question: one list, which each command that asks it is given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from vlmctl.cli import options

# By the name of the wish, in the order of the help.
WORKLOAD = {
    "task": options.TaskOption,
    "image": options.ImageOption,
    "images": options.ImagesOption,
    "video": options.VideoOption,
    "prompt_tokens": options.PromptTokensOption,
    "output_tokens": options.OutputTokensOption,
    "rps": options.RpsOption,
    "concurrency": options.ConcurrencyOption,
    "ttft": options.TtftOption,
    "tpot": options.TpotOption,
}
MODEL_CONDITIONS = {
    "language": options.LanguageOption,
    "license": options.LicenseOption,
    "max_params": options.MaxParamsOption,
    "min_context": options.MinContextOption,
    "multi_image": options.MultiImageOption,
    "needs": options.NeedsOption,
    "min_score": options.MinScoreOption,
    "family": options.FamilyOption,
    "include_unverified": options.UnverifiedOption,
    "prefer": options.PreferOption,
}
PLACE = {
    "gpu": options.GpuOption,
    "max_gpus": options.MaxGpusOption,
    "provider": options.ProviderOption,
    "region": options.RegionOption,
    "spot": options.SpotOption,
    "quantization": options.QuantizationOption,
}
OWNERSHIP = {
    "owned": options.OwnedOption,
    "purchase_usd": options.PurchaseOption,
    "years": options.YearsOption,
    "pue": options.PueOption,
    "power_share": options.PowerShareOption,
    "kwh_usd": options.KwhOption,
    "ops_usd_per_month": options.OpsOption,
}
BUDGET = {"max_usd_per_1k": options.MaxUsdPer1kOption, "max_usd_per_month": options.MaxUsdPerMonthOption}

_ALL: dict[str, Any] = {**WORKLOAD, **MODEL_CONDITIONS, **PLACE, **OWNERSHIP, **BUDGET}
_FLAGS = frozenset({"multi_image", "include_unverified", "spot"})
_LAST = "require"  # the parameter that they come before: it reads the same from a file

Command = Callable[..., None]


def asking(names: Iterable[str]) -> Callable[[Command], Command]:
    """Give a command the options of these names, before its own `require`; `options.wishes` reads what was said."""
    given = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if name in _FLAGS else None, annotation=_ALL[name]
        )
        for name in names
    ]

    def decorated(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        place = list(own).index(_LAST)
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.values()]

        @functools.wraps(command)
        def called(**said: Any) -> None:
            command(**{name: value for name, value in said.items() if name in own})

        shown = inspect.Signature([*parameters[:place], *given, *parameters[place:]])
        called.__signature__ = shown  # type: ignore[attr-defined]  # what inspect.signature looks for first
        return called

    return decorated
