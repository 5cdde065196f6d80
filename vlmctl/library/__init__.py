"""The Python interface: loads the catalog, resolves names, and calls pure planning. The command line is built on it.

What needs more than an answer does is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlmctl.library.costs import cost
from vlmctl.library.lookup import (
    check_catalog,
    find_benchmark,
    find_gpu,
    find_model,
    find_models,
    image_kv_bytes,
    image_tokens,
    load_catalog,
    refresh_prices,
    select_models,
    select_offers,
)
from vlmctl.library.questions import (
    Question,
    explain,
    fit,
    plan,
    question_from_answers,
    recommend,
    recommend_vlm,
    what_to_relax,
)
from vlmctl.library.reading import read_answers, read_wishes
from vlmctl.library.wishes import Wishes, laid_over, wishes_from

if TYPE_CHECKING:
    from vlmctl.library.accuracy_report import accuracy, accuracy_basis
    from vlmctl.library.calibrating import calibrate

# The module of each.
_LATER = {"accuracy": "accuracy_report", "accuracy_basis": "accuracy_report", "calibrate": "calibrating"}

__all__ = [
    "Question",
    "Wishes",
    "accuracy",
    "accuracy_basis",
    "calibrate",
    "check_catalog",
    "cost",
    "explain",
    "find_benchmark",
    "find_gpu",
    "find_model",
    "find_models",
    "fit",
    "image_kv_bytes",
    "image_tokens",
    "laid_over",
    "load_catalog",
    "plan",
    "question_from_answers",
    "read_answers",
    "read_wishes",
    "recommend",
    "recommend_vlm",
    "refresh_prices",
    "select_models",
    "select_offers",
    "what_to_relax",
    "wishes_from",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
