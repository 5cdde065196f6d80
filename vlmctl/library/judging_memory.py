"""How far the memory ledger is from what engines printed at start: every case predicted, and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vlmctl.errors import UnsupportedModel, VlmctlError
from vlmctl.planning.memory_accuracy import MemoryPrediction, case_weights, memory_errors, predict_memory
from vlmctl.planning.start_settings import named_model
from vlmctl.specs.accuracy import MemorySummary, Quantiles, StartErrors, Verdicts
from vlmctl.specs.engine_memory import EngineMemoryCase
from vlmctl.specs.hardware import Catalog

if TYPE_CHECKING:  # YAML and the readers of configurations, which no other question needs
    from vlmctl.catalog.engine_memory import EngineMemoryFile
    from vlmctl.catalog.measured_models import MeasuredModels
    from vlmctl.catalog.measurements import SetAside

FIGURES = ("weights_gib", "available_kv_gib", "kv_cache_tokens")
TEXT, VISION = "text", "vision"


class PredictedStart(NamedTuple):
    """A case with what the ledger says of it. `weight`: of near-duplicates only one counts."""

    case: EngineMemoryCase
    prediction: MemoryPrediction
    weight: float

    @property
    def relative(self) -> dict[str, float]:
        """Relative error of each quantity that the case printed."""
        said, read = self.prediction, self.case.measured
        pairs = {
            "weights_gib": (said.weights_gib, read.weights_gib),
            "available_kv_gib": (said.available_kv_gib, read.available_kv_gib),
            "kv_cache_tokens": (said.kv_cache_tokens, read.kv_cache_tokens),
        }
        return {name: abs(ours - own) / abs(own) for name, (ours, own) in pairs.items() if own and ours is not None}

    @property
    def absolute_gib(self) -> dict[str, float]:
        """The same in GiB, for the quantities that are."""
        found = memory_errors(self.case, self.prediction).available_kv_gib
        kv = {} if found is None else {"available_kv_gib": found}
        weights = self.case.measured.weights_gib
        return kv if weights is None else {**kv, "weights_gib": abs(self.prediction.weights_gib - weights)}

    @property
    def right(self) -> bool | None:
        """Whether starting and failing were told apart; None where either is not known."""
        return memory_errors(self.case, self.prediction).oom_right


class JudgedStarts(NamedTuple):
    """Every case of some files: those that were predicted, and the others with the reason."""

    predicted: tuple[PredictedStart, ...]
    refused: tuple[tuple[EngineMemoryCase, str], ...]
    unread: tuple[SetAside, ...]


def judge_starts(files: Iterable[EngineMemoryFile], catalog: Catalog) -> JudgedStarts:
    """The prediction of every case, each by itself."""
    from vlmctl.catalog.measured_models import MeasuredModels

    predicted: list[PredictedStart] = []
    refused: list[tuple[EngineMemoryCase, str]] = []
    unread: list[SetAside] = []
    for file in files:
        unread += file.set_aside
        weights, models = case_weights(file.cases), MeasuredModels(catalog, file.models)
        for case in file.cases:
            try:
                predicted.append(PredictedStart(case, _prediction(case, models, catalog), weights[case.id]))
            except VlmctlError as error:
                refused.append((case, str(error)))
    return JudgedStarts(tuple(predicted), tuple(refused), tuple(unread))


def _prediction(case: EngineMemoryCase, models: MeasuredModels, catalog: Catalog) -> MemoryPrediction:
    """Raises UnsupportedModel where nothing that the case printed can be said."""
    from vlmctl.catalog.engine_memory import gpu_of

    found = predict_memory(case, models.find(named_model(case)), gpu=gpu_of(case, catalog))
    judged = PredictedStart(case, found, 1.0)
    if not judged.relative and judged.right is None:
        raise UnsupportedModel(f"{found.unanswered or 'it states no figure that is predicted'}.")
    return found


def memory_summaries(predicted: Sequence[PredictedStart]) -> StartErrors:
    """The errors of some cases, by quantity."""
    relative: dict[str, list[tuple[float, float]]] = defaultdict(list)
    absolute: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in predicted:
        for found, into in ((each.relative, relative), (each.absolute_gib, absolute)):
            for name, value in found.items():
                into[name].append((value, each.weight))
    figures = {name: _summary(relative[name], absolute[name]) for name in FIGURES}
    return StartErrors(figures=figures, oom=_verdicts(predicted))


def _summary(relative: Sequence[tuple[float, float]], absolute: Sequence[tuple[float, float]]) -> MemorySummary:
    shares = _quantiles(relative)
    if shares is None:
        return MemorySummary(absolute_gib=_quantiles(absolute))
    return MemorySummary(
        rows=len(relative),
        median=shares.median,
        mean=shares.mean,
        p90=shares.p90,
        absolute_gib=_quantiles(absolute),
    )


def _verdicts(predicted: Iterable[PredictedStart]) -> Verdicts:
    judged = [each for each in predicted if each.right is not None]
    wrong = [each for each in judged if not each.right]
    return Verdicts(
        rows=len(judged),
        right=len(judged) - len(wrong),
        missed=sum(1 for each in wrong if each.case.measured.oom),
        false_alarms=sum(1 for each in wrong if not each.case.measured.oom),
    )


def _quantiles(weighted: Sequence[tuple[float, float]]) -> Quantiles | None:
    if not weighted:
        return None
    ordered = sorted(weighted)
    whole = sum(weight for _, weight in ordered)
    mean = sum(value * weight for value, weight in ordered) / whole
    return Quantiles(median=_quantile(ordered, 0.5 * whole), mean=mean, p90=_quantile(ordered, 0.9 * whole))


def _quantile(ordered: Sequence[tuple[float, float]], reached: float) -> float:
    passed = 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= reached:
            return value
    return ordered[-1][0]
