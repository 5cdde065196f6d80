"""The questions that vlmctl answers: recommend, plan, fit and explain, on the catalog and what is asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from vlmctl.errors import NothingFits
from vlmctl.library.calibration import calibration_of
from vlmctl.library.lookup import find_gpu, find_model, known_spellings, load_catalog, require_vision
from vlmctl.library.wishes import Wishes, laid_over, ownership_of, requirements_of, wishes_from
from vlmctl.planning import explain as explaining
from vlmctl.planning import fit as fitting
from vlmctl.planning import recommend as ranking
from vlmctl.planning.advise import QUESTIONS, requirements_from_answers
from vlmctl.planning.choices import Setting, setting_of
from vlmctl.planning.cost import OwnedCost, owned_cost, owned_offer
from vlmctl.planning.placement import GPU_COUNTS
from vlmctl.planning.plan import choose, plan_choice, plan_model
from vlmctl.planning.requirements import default_output_tokens, relaxing, serving_breach
from vlmctl.specs.answers import FitReport, Recommendation
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import Catalog, GpuSpec, Offer
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.workload import OwnedGpus, Requirements

if TYPE_CHECKING:
    from vlmctl.planning.calibration import Calibration

UNPRICED = "a purchase price of 0 for {gpu}, since none is known: only power and operations count (--purchase-usd)"


Asked = Requirements | Wishes | Mapping[str, Any] | None


class Question:
    """What is asked, understood once: requirements, the catalog, GPUs that are owned, and what was assumed.

    `asked` is a Requirements record, or a mapping with the options of `vlmctl recommend` by name; keywords do as well.
    Raises InvalidValue or UnknownName for what cannot be understood.
    """

    def __init__(self, asked: Asked = None, *, catalog: Catalog | None = None, **wishes: Any) -> None:
        self.catalog = catalog or load_catalog()
        understood = _wishes(asked, wishes)
        self.assumptions: tuple[str, ...] = ()
        if isinstance(asked, Requirements):
            self.requirements = asked
        else:
            self.requirements, self.assumptions = requirements_of(understood, self.catalog)
        self.ownership = ownership_of(understood)
        self.owned: tuple[Offer, ...] = ()
        self.owned_costs: tuple[tuple[str, OwnedCost], ...] = ()  # of one GPU each, by part
        for owned in self.requirements.owned:
            self._own(owned)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What the user's own measurements say of the answers; None without any."""
        return calibration_of(self.catalog)

    def recommend(self) -> Recommendation:
        """The models ranked, near misses and the rejected; assumptions are among its notes."""
        found = ranking.recommend(self.catalog, self.requirements, owned=self.owned, calibration=self.calibration)
        return replace(found, notes=(*found.notes, *(f"Assumed: {text}." for text in self.assumptions)))

    def plan(self, model: str | ModelSpec) -> Plan:
        """The model's cheapest placement; raises UnsupportedModel or NothingFits."""
        return plan_model(self._model(model), self.setting())

    def plan_best(self, *, allow_remote_code: bool = True) -> Plan:
        """The plan of the model that is ranked first, of those that run no code of their own where that is not allowed.

        Raises NothingFits where none meets the requirements.
        """
        found = self.recommend()
        for answer in found.answers:
            spec = self._model(answer.model)
            if allow_remote_code or not spec.serving.requires_remote_code:
                return self.plan(spec)
        raise NothingFits("no model meets all requirements.", remedy=what_to_relax(found))

    def explain(self, model: str | ModelSpec) -> tuple[Plan, tuple[explaining.Section, ...]]:
        """The plan with every term of its estimate; raises as `plan` does."""
        spec, setting = self._model(model), self.setting()
        demand, choice = choose(spec, setting)
        chosen = plan_choice(spec, demand, choice, setting)
        return chosen, explaining.explain(spec, demand, choice, chosen, setting)

    def fit(
        self, model: str | ModelSpec, gpu: str | GpuSpec, *, gpu_count: int = 1, quantization: str | None = None
    ) -> FitReport:
        """Whether the model fits so many of the GPU, with ledger and ways out; raises as the function `fit` does."""
        spec = require_vision(self._model(model))
        report = fitting.fit(
            spec,
            gpu if isinstance(gpu, GpuSpec) else find_gpu(gpu, catalog=self.catalog),
            self.requirements.workload,
            gpu_count=gpu_count,
            precision=_precision(quantization),
            others=self.catalog.gpus,
        )
        breach = serving_breach(spec)
        if breach is None:
            return report
        return replace(report, warnings=(*report.warnings, f"it cannot be served: {breach.found}"))

    def fit_everywhere(
        self, model: str | ModelSpec, *, gpu_count: int | None = None, quantization: str | None = None
    ) -> tuple[FitReport, ...]:
        """For each GPU of the catalog the fewest of one machine that hold the model, or the most that do not."""
        spec, reports = self._model(model), []
        for gpu in self.catalog.gpus:
            for count in (gpu_count,) if gpu_count else GPU_COUNTS:
                report = self.fit(spec, gpu, gpu_count=count, quantization=quantization)
                if report.fits:
                    break
            reports.append(report)
        return tuple(reports)

    def setting(self, requirements: Requirements | None = None, offers: Sequence[Offer] | None = None) -> Setting:
        """What is the same for all placements of this question; `offers` narrows it to those.

        Raises NothingFits where no offer at all is allowed.
        """
        asked = requirements or self.requirements
        owned = () if not self.owned else tuple(offers or self.owned)
        setting = setting_of(self.catalog, asked, offers=offers, owned=owned, calibration=self.calibration)
        if offers is None and not setting.offers:
            raise NothingFits("no offer matches what was asked.", remedy="See `vlmctl prices`, or name what you own.")
        return setting

    def _own(self, owned: OwnedGpus) -> None:
        """Count owned GPUs as an offer. A price that nobody knows is taken as spent, and that is said."""
        gpu, terms = find_gpu(owned.gpu, catalog=self.catalog), self.ownership
        if terms.purchase_usd is None and gpu.purchase_usd is None:
            terms = replace(terms, purchase_usd=0.0)
            self.assumptions += (UNPRICED.format(gpu=gpu.id),)
        today = datetime.now(UTC).date().isoformat()
        self.owned += (owned_offer(gpu, owned.count, terms, as_of=today),)
        self.owned_costs += ((gpu.id, owned_cost(gpu, terms)),)

    def _model(self, model: str | ModelSpec) -> ModelSpec:
        return model if isinstance(model, ModelSpec) else find_model(model, catalog=self.catalog)


def recommend(asked: Asked = None, *, catalog: Catalog | None = None, **wishes: Any) -> Recommendation:
    """Which model, on which GPU, for how many dollars per 1,000 requests, and why not the others.

    `asked`: Requirements, or a mapping with the options of `vlmctl recommend` by name, such as
    ``{"task": "document-ocr", "image": "1680x2240", "rps": 2, "max_params": 8}``; keywords do as well.
    Raises InvalidValue or UnknownName for what cannot be understood.
    """
    return Question(asked, catalog=catalog, **wishes).recommend()


recommend_vlm = recommend


def plan(model: str | ModelSpec, asked: Asked = None, *, catalog: Catalog | None = None, **wishes: Any) -> Plan:
    """The cheapest placement of one model that meets the requirements, with memory, speed and cost.

    Raises UnsupportedModel where no engine serves the model, NothingFits where no placement is enough.
    """
    return Question(asked, catalog=catalog, **wishes).plan(model)


def explain(
    model: str | ModelSpec, asked: Asked = None, *, catalog: Catalog | None = None, **wishes: Any
) -> tuple[Plan, tuple[explaining.Section, ...]]:
    """A plan, and every term of its estimate with formula, value and source; raises as `plan` does."""
    return Question(asked, catalog=catalog, **wishes).explain(model)


def fit(
    model: str | ModelSpec,
    gpu: str | GpuSpec,
    asked: Asked = None,
    *,
    gpu_count: int = 1,
    quantization: str | None = None,
    catalog: Catalog | None = None,
    **wishes: Any,
) -> FitReport:
    """Whether a model fits `gpu_count` GPUs for the workload: the memory ledger, the largest load, the ways out.

    Raises UnsupportedModel where the catalog lacks what the sum needs, InvalidValue for a precision nobody published.
    """
    question = Question(asked, catalog=catalog, **wishes)
    return question.fit(model, gpu, gpu_count=gpu_count, quantization=quantization)


def question_from_answers(answers: Mapping[str, str], *, catalog: Catalog | None = None) -> Question:
    """The question that the answers of `vlmctl advise` amount to; raises InvalidValue for an answer that is none."""
    asked = requirements_from_answers(answers)
    tokens = default_output_tokens(tuple(asked.tasks))
    workload = replace(asked.workload, output_tokens=tokens)
    question = Question(replace(asked, workload=workload), catalog=catalog)
    left_open = [f"{each.id} {each.default}" for each in QUESTIONS if each.id not in answers]
    question.assumptions += (*left_open, f"answers of {tokens} tokens")
    return question


def what_to_relax(found: Recommendation) -> str:
    """Which requirement stands between the models and an answer, and what relaxing it would give."""
    if not found.near_misses:
        broken = Counter(breach.requirement for each in found.rejected for breach in each.breaches)
        return f"{relaxing(broken.most_common(1)[0][0])}: most models break it." if broken else ""
    counts = Counter(near.breach.requirement for near in found.near_misses)
    requirement, count = counts.most_common(1)[0]
    alike = [near for near in found.near_misses if near.breach.requirement == requirement]
    nearest = min(alike, key=lambda near: math.inf if near.breach.excess is None else near.breach.excess)
    models = "one model breaks" if count == 1 else f"{count} models break"
    has = f"{nearest.model} has {nearest.breach.found}, asked for {nearest.breach.wanted}"
    return f"{relaxing(requirement)}: {models} nothing else; {has}."


def _wishes(asked: Asked, wishes: Mapping[str, Any]) -> Wishes:
    said = wishes_from(wishes)
    if asked is None or isinstance(asked, Requirements):
        return said
    return laid_over(asked if isinstance(asked, Wishes) else wishes_from(asked), said)


def _precision(name: str | None) -> Precision | None:
    if name is None:
        return None
    return Precision(known_spellings("quantization", [name], [each.value for each in Precision])[0])
