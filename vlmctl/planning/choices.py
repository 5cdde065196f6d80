"""What a search for a placement starts from, and what it ends with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vlmctl.planning.architecture import ModelFigures
from vlmctl.planning.corrected import NO_CORRECTION, Correction
from vlmctl.planning.cost import select_offers
from vlmctl.planning.placement import GPU_COUNTS, Evaluation
from vlmctl.planning.quality import Yardstick, mode_of, single_yardsticks
from vlmctl.planning.speed import Speed
from vlmctl.planning.throughput import Load
from vlmctl.specs.error_bands import ErrorBand, Spread
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import Catalog, GpuSpec, Offer, OfferKind
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Requirements

if TYPE_CHECKING:  # loaded only where there are measurements
    from vlmctl.planning.calibration import Calibration
    from vlmctl.planning.circumstances import Circumstances

ROUNDING = 1e-9  # relative slack where two ways to the same figure may differ in the last digit


class Found(Record, frozen=True, kw_only=True):
    """A placement that was evaluated, with its price; `near`: its circumstances, where measurements corrected it."""

    figures: ModelFigures
    checkpoint: str
    gpu: GpuSpec
    gpu_count: int
    evaluation: Evaluation
    offer: Offer
    usd_per_hour: float
    usd_per_1k_requests: float
    near: Circumstances | None = None

    @property
    def order(self) -> tuple[float, float, int, str, str]:
        """Cheapest first, then fastest, then fewest GPUs; names last, so that ties are stable."""
        first = self.usd_per_1k_requests
        return (first, self.evaluation.ttft_p95, self.gpu_count, self.gpu.id, self.checkpoint)


class Choice(Found, frozen=True, kw_only=True):
    """The placement that was taken. `usable`: requests per second of one replica within the objectives.

    `load`: the one that a replica is given, with its distributions.
    """

    settings: EngineSettings
    coefficients: Speed
    usable: float
    load: Load
    correction: Correction = NO_CORRECTION
    error_band: ErrorBand | None = None

    def error(self, quantity: str) -> Spread | None:
        """The relative error of throughput, ttft or tpot that is to be expected; None where nothing is known of it."""
        estimated: Spread | None = getattr(self.error_band, quantity, None)
        return None if estimated is None else self.correction.narrowed(estimated)


class Setting(Record, frozen=True, kw_only=True):
    """What is the same for all models of one question. `gpu_counts`: how many GPUs a replica may have, rising."""

    requirements: Requirements
    gpus: Mapping[str, GpuSpec]
    offers: Mapping[str, tuple[Offer, ...]]
    measures: tuple[Yardstick, ...] = ()
    minimums: Mapping[str, Yardstick] = {}
    exhaustive: bool = False
    calibration: Calibration | None = None
    error_bands: tuple[ErrorBand, ...] = ()
    gpu_counts: tuple[int, ...] = GPU_COUNTS


def setting_of(
    catalog: Catalog,
    requirements: Requirements,
    *,
    offers: Iterable[Offer] | None = None,
    owned: Sequence[Offer] = (),
    calibration: Calibration | None = None,
) -> Setting:
    """The setting of a question on a catalog; `offers` narrows the market, `owned` replaces it."""
    market = catalog.offers if offers is None else offers
    return Setting(
        requirements=requirements,
        gpus={gpu.id: gpu for gpu in catalog.gpus},
        offers=allowed_offers(market, requirements, owned),
        minimums=single_yardsticks(
            catalog.benchmarks, catalog.models, names=requirements.minimum_scores, mode=mode_of(requirements.needs)
        ),
        calibration=calibration,
        error_bands=catalog.error_bands,
    )


def allowed_offers(
    offers: Iterable[Offer], requirements: Requirements, owned: Sequence[Offer] = ()
) -> dict[str, tuple[Offer, ...]]:
    """Offers that the requirements allow, by GPU; owned GPUs replace the market altogether."""
    if owned:
        return select_offers(owned, kinds=(OfferKind.OWNED,))
    kinds = [OfferKind.ON_DEMAND, OfferKind.COMMITTED] + ([OfferKind.SPOT] if requirements.spot else [])
    selected = select_offers(offers, kinds=kinds, providers=requirements.providers, regions=requirements.offer_regions)
    if not requirements.gpus:
        return selected
    return {gpu: found for gpu, found in selected.items() if gpu in requirements.gpus}
