"""vlmctl: choose, price and run open vision-language models on your own GPUs.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlmctl.version import __version__

if TYPE_CHECKING:
    from vlmctl.library import (
        Question,
        cost,
        explain,
        find_gpu,
        find_model,
        fit,
        image_tokens,
        load_catalog,
        plan,
        recommend,
        recommend_vlm,
    )
    from vlmctl.specs.answers import Answer, FitReport, Recommendation
    from vlmctl.specs.estimates import CostEstimate, ImageTokens, Plan
    from vlmctl.specs.hardware import Catalog, GpuSpec, Offer
    from vlmctl.specs.model import ModelSpec
    from vlmctl.specs.workload import (
        ImageInput,
        LicensePolicy,
        Objectives,
        OwnedGpus,
        Requirements,
        Task,
        VideoInput,
        Workload,
    )

__all__ = [
    "Answer",
    "Catalog",
    "CostEstimate",
    "FitReport",
    "GpuSpec",
    "ImageInput",
    "ImageTokens",
    "LicensePolicy",
    "ModelSpec",
    "Objectives",
    "Offer",
    "OwnedGpus",
    "Plan",
    "Question",
    "Recommendation",
    "Requirements",
    "Task",
    "VideoInput",
    "Workload",
    "__version__",
    "cost",
    "explain",
    "find_gpu",
    "find_model",
    "fit",
    "image_tokens",
    "load_catalog",
    "plan",
    "recommend",
    "recommend_vlm",
]

_RECORDS = ("answers", "estimates", "hardware", "model", "workload")


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        for module in ("vlmctl.library", *(f"vlmctl.specs.{record}" for record in _RECORDS)):
            found = getattr(import_module(module), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module 'vlmctl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
