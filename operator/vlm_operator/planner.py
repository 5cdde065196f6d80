"""A spec -> the plan that its pods are made of: the cheapest placement of this cluster that serves what is asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from vlm_operator.allowed import check_code, check_images, check_license, check_media
from vlm_operator.given_arguments import SERVED_NAME, given_arguments, laid_over
from vlm_operator.measured import Measurements
from vlm_operator.model_source import Source, blames_facts, model_source
from vlm_operator.placements import Placed, Search, allowed_pools
from vlm_operator.plan_notes import plan_notes
from vlm_operator.policy import Budget, Policy, budget, most_replicas, over_budget, over_month
from vlm_operator.reasons import PlanReason
from vlm_operator.records import Planned
from vlm_operator.refusal import Refused
from vlm_operator.shortfall import nothing_fits
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.hub import license_named
from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.cold_start import cold_start, start_shape
from vlmctl.planning.placement import GPU_COUNTS
from vlmctl.planning.plan import plan_choice
from vlmctl.planning.requirements import model_breaches, planned_demand, serving_breach
from vlmctl.planning.search import checkpoints
from vlmctl.serving import host
from vlmctl.serving.engine_args import ServeArgument, ServeOptions, engine_arguments
from vlmctl.specs.answers import Breach
from vlmctl.specs.cold_start import Storage
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import Catalog, GpuSpec
from vlmctl.specs.inventory import Inventory, Pool
from vlmctl.specs.model import License, ModelSpec
from vlmctl.specs.workload import Requirements

REMOTE_CODE = "--trust-remote-code"
SOURCES_KEPT = 2048  # models of specs that were looked up: more than a cluster has
# Characters of the facts in them, which take up to 25 times that in memory: of some hundred models of the hub.
FACTS_KEPT = 2**20


class Planner:
    """Plans on one catalog. What is the same for every VLMDeployment is worked out once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._gpus = {gpu.id: gpu for gpu in catalog.gpus}
        self._measurements = Measurements(catalog)
        self._sources: dict[bytes, Source] = {}
        self._facts = 0  # characters

    def plan(
        self,
        spec: api.VLMDeploymentSpec,
        inventory: Inventory,
        policy: Policy,
        benchmarks: Sequence[api.VLMBenchmark] = (),
        *,
        engine_image: str | None = None,
    ) -> Planned:
        """The plan of a spec that `spec.parse` let through; raises Refused.

        `engine_image`: of the operator's configuration, instead of the release that plans are made for.
        """
        try:
            source = self._source(spec)
            model = source.model
            check_license(model.license, spec, policy, model=model.id)
            repositories = tuple(name for _, name in checkpoints(model, source.quantizations))
            runs = bool(model.serving.requires_remote_code)
            check_code(spec, policy, model=model.id, repositories=repositories, runs=runs)
            check_images(spec, policy)
            check_media(spec, policy)
            given = _given(spec)
            pools = allowed_pools(spec.hardware, inventory, self._catalog)
            with blames_facts(spec):
                search = self._search(spec, source, benchmarks)
                placed = self._placed(search, pools, inventory, budget(spec.budget, policy), most_replicas(spec))
                return self._planned(spec, source, search, placed, pools, given, engine_image)
        except UnsupportedModel as error:
            raise Refused(PlanReason.UNSUPPORTED, error.message) from error
        except InvalidValue as error:
            raise Refused(PlanReason.INVALID_SPEC, error.message) from error

    def check(self, spec: api.VLMDeploymentSpec, planned: Planned, policy: Policy) -> None:
        """Raise Refused where a plan that was made is not allowed any more: licence, code, images, hosts of pictures,
        arguments, money of a replica.

        `spec`: what it was planned for, as it is now. A catalog that knows the model no more, or by another name, takes
        nothing from the plan.
        """
        source, model = self._known(spec), planned.model
        license = self._license(planned.license) if source is None else source.model.license
        runs = any(argument.flag == REMOTE_CODE for argument in planned.arguments)
        check_license(license, spec, policy, model=model)
        check_code(spec, policy, model=model, repositories=(planned.repository,), runs=runs)
        check_images(spec, policy)
        check_media(spec, policy)
        _given(spec)
        placement, cost = planned.plan.placement, planned.plan.cost
        denied = over_budget(
            budget(spec.budget, policy),
            usd_per_1k=None if cost is None else cost.usd_per_1k_requests,
            usd_per_hour=planned.usd_per_hour,
            replicas=1,
        )
        if denied:
            where = f"{placement.gpu_count}x {placement.gpu}"
            raise Refused(PlanReason.OVER_BUDGET, f"{planned.model} on {where}, as it was planned: {denied}.")

    def _known(self, spec: api.VLMDeploymentSpec) -> Source | None:
        """The model of a spec that was planned once; None where the catalog has no such model now."""
        try:
            return self._source(spec)
        except (Refused, InvalidValue, UnsupportedModel):
            return None

    def _license(self, name: str) -> License:
        """The licence of a model that the catalog knows no more: as others have it, else what is known of its name."""
        namesakes = (each.license for each in self._catalog.models if each.license.name == name)
        return next(namesakes, license_named(name, source="the plan"))

    def _source(self, spec: api.VLMDeploymentSpec) -> Source:
        """The model of a spec, which every pass asks for; raises Refused."""
        asked = spec_key(spec)
        if asked not in self._sources:
            found, facts = model_source(spec, self._catalog), spec.model.facts
            length = 0 if facts is None else len(facts.config) + len(facts.processor or "")
            if len(self._sources) >= SOURCES_KEPT or self._facts + length > FACTS_KEPT:
                self._sources.clear()
                self._facts = 0
            self._sources[asked] = found
            self._facts += length
        return self._sources[asked]

    def _search(self, spec: api.VLMDeploymentSpec, source: Source, benchmarks: Sequence[api.VLMBenchmark]) -> Search:
        engine = spec.engine or api.Engine()
        requirements = Requirements(
            workload=reading.planned_workload(spec.workload),
            objectives=reading.objectives(spec.objectives),
            needs=tuple(need.value for need in engine.needs),
            quantizations=source.quantizations,
            include_unverified=True,  # who names a model accepts what nobody verified of it
        )
        _check_model(source.model, requirements)
        count = spec.hardware.count
        return Search(
            model=source.model,
            demand=planned_demand(source.model, requirements.workload, needs=requirements.needs),
            requirements=requirements,
            counts=(count,) if isinstance(count, int) else GPU_COUNTS,
            gpus=self._gpus,
            error_bands=self._catalog.error_bands,
            calibration=self._measurements.calibration(benchmarks, source),
        )

    def _placed(
        self, search: Search, pools: Sequence[Pool], inventory: Inventory, held: Budget, replicas: int
    ) -> Placed:
        """The cheapest placement that the budget allows."""
        priced = [pool for pool in pools if pool.usd_per_gpu_hour is not None] if held != Budget() else pools
        placed = search.placed(priced, affordable=lambda usd_per_hour: not over_month(held, usd_per_hour, replicas))
        if isinstance(placed, Breach) and held != Budget():
            placed = search.least_per_hour(pools)  # it is the money, if there is one now
        if isinstance(placed, Breach):
            raise Refused(PlanReason.NOTHING_FITS, nothing_fits(search, placed, pools, inventory, self._catalog))
        choice = placed.choice
        denied = over_budget(
            held,
            usd_per_1k=choice.usd_per_1k_requests if placed.priced else None,
            usd_per_hour=choice.usd_per_hour if placed.priced else None,
            replicas=replicas,
        )
        if denied:
            where = f"{choice.gpu_count}x {choice.gpu.id}"
            raise Refused(PlanReason.OVER_BUDGET, f"{search.model.id} on {where}, the cheapest placement: {denied}.")
        return placed

    def _planned(
        self,
        spec: api.VLMDeploymentSpec,
        source: Source,
        search: Search,
        placed: Placed,
        pools: Sequence[Pool],
        given: Sequence[ServeArgument],
        engine_image: str | None,
    ) -> Planned:
        model, engine, gpu = source.model, spec.engine or api.Engine(), placed.choice.gpu
        plan = plan_choice(model, search.demand, placed.choice, placed.setting)
        if not placed.priced:
            plan = replace(plan, cost=None)
        pool, products = _nodes(plan, pools)
        arguments = _arguments(spec, source, plan, self._gpus[gpu.id])
        repository = plan.placement.repository
        names = [each.values[0] for each in given if each.flag == SERVED_NAME and each.values]
        return Planned(
            plan=plan,
            model=model.id,
            served_name=names[0] if names else model.id,
            repository=repository,
            checkpoint=source.folder or repository,
            image=engine.image or engine_image or host.engine_image(gpu),
            arguments=laid_over(arguments, given),
            gpu_resource=pool.resource,
            node_label=pool.label,
            node_products=products,
            revision=source.revision,
            gated=source.gated if repository == model.repository else None,
            license=model.license.name,
            usd_per_gpu_hour=pool.usd_per_gpu_hour,
            price_source=pool.price_source,
            price_as_of=pool.price_as_of,
            cold_start_seconds=_cold_start_seconds(spec, placed),
            download_bytes=0 if source.folder else _checkpoint_bytes(placed),
            notes=plan_notes(spec, source, plan, pool, planned=arguments, given=given),
        )


def spec_key(spec: api.VLMDeploymentSpec, *more: object) -> bytes:
    """What tells this spec from others, in few bytes. `more`: what else does."""
    return hashlib.sha256(msgspec.json.encode((spec, more))).digest()


def _check_model(model: ModelSpec, requirements: Requirements) -> None:
    """Raise Refused where the model cannot be served, or does not do what is asked on any GPU."""
    if (breach := serving_breach(model)) is not None:
        note = f" ({model.serving.note})" if model.serving.note else ""
        raise Refused(PlanReason.UNSUPPORTED, f"{model.id} cannot be served: {breach.found}{note}.")
    for breach in model_breaches(model, requirements):
        raise Refused(PlanReason.UNSUPPORTED, f"{model.id}: {breach.text}.")
    if not checkpoints(model, requirements.quantizations):
        known = ", ".join(dict.fromkeys(precision.value for precision, _ in checkpoints(model, ("any",))))
        asked = ", ".join(requirements.quantizations)
        raise Refused(
            PlanReason.UNSUPPORTED,
            f"{model.id}: the catalog has no {asked} checkpoint of it, only {known}. One of your own can be named in "
            "spec.model.source.",
        )


def _given(spec: api.VLMDeploymentSpec) -> tuple[ServeArgument, ...]:
    engine = spec.engine or api.Engine()
    return given_arguments(engine.arguments)


def _arguments(spec: api.VLMDeploymentSpec, source: Source, plan: Plan, gpu: GpuSpec) -> tuple[ServeArgument, ...]:
    """The planned arguments, without the user's."""
    engine = spec.engine or api.Engine()
    options = ServeOptions(
        needs=tuple(need.value for need in engine.needs),
        allow_remote_code=engine.trust_remote_code,
        checkpoint=source.folder,
        media_domains=engine.allowed_media_domains,
    )
    arguments = engine_arguments(plan, source.model, gpu, options)
    if source.revision is None:
        return arguments
    pinned = ServeArgument(flag="--revision", values=(source.revision,), reason="the revision that is asked for")
    return (*arguments, pinned)


def _cold_start_seconds(spec: api.VLMDeploymentSpec, placed: Placed) -> float:
    """On a node that has to pull the image. Of volumes nobody knows more than that they are on a network."""
    source, choice = spec.model.source or api.ModelSource(), placed.choice
    is_volume = spec.cache is not None or source.pvc is not None
    storage = Storage.NVME if source.image is not None else Storage.NETWORK if is_volume else Storage.HUB
    found = cold_start(choice.figures, choice.gpu, gpu_count=choice.gpu_count, storage=storage, image_cached=False)
    return round(found.seconds, 1)


def _checkpoint_bytes(placed: Placed) -> int:
    return math.ceil(start_shape(placed.choice.figures, placed.choice.gpu_count).checkpoint_bytes)


def _nodes(plan: Plan, pools: Sequence[Pool]) -> tuple[Pool, tuple[str, ...]]:
    """The cheapest pool that holds the plan, and the products of all that do at its price, by the same label."""
    placement = plan.placement
    held = [pool for pool in pools if pool.gpu == placement.gpu and pool.gpus_per_node >= placement.gpu_count]
    pool = min(held, key=lambda pool: (_price(pool), pool.label, pool.product, pool.gpus_per_node))
    alike = {
        each.product
        for each in held
        if (_price(each), each.label, each.resource) == (_price(pool), pool.label, pool.resource)
    }
    return pool, tuple(sorted(alike))


def _price(pool: Pool) -> float:
    return math.inf if pool.usd_per_gpu_hour is None else pool.usd_per_gpu_hour
