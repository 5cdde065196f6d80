"""What a plan decided for the user, one sentence each; the same for the same plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_operator.given_arguments import FIELD, replaced
from vlm_operator.model_source import Source, is_commit
from vlmctl.api import v1alpha1 as api
from vlmctl.serving.engine_args import ENGINE_VERSION, ServeArgument
from vlmctl.specs.estimates import Plan
from vlmctl.specs.inventory import Pool

PINS = "spec.model.source.huggingFace.revision"


def plan_notes(
    spec: api.VLMDeploymentSpec,
    source: Source,
    plan: Plan,
    pool: Pool,
    *,
    planned: Sequence[ServeArgument],
    given: Sequence[ServeArgument],
) -> tuple[str, ...]:
    """`pool`: where the plan was made for; `planned`, `given`: arguments of the plan's own and of the user's."""
    return (
        *source.notes,
        *_assumed(spec, plan),
        *_precision(source, plan),
        *_pinned(source, plan),
        *_hardware(spec, plan, pool),
        *_engine(spec, planned, given),
        *_license(plan),
    )


def _assumed(spec: api.VLMDeploymentSpec, plan: Plan) -> Iterator[str]:
    if not spec.workload.images and not spec.workload.videos:
        image = plan.workload.images[0]
        size = f"{image.width_pixels}x{image.height_pixels}"
        yield f"Requests are taken to hold one image of {size}, as spec.workload names none."


def _precision(source: Source, plan: Plan) -> Iterator[str]:
    """Why this checkpoint, where it was the plan's to choose."""
    if source.quantizations:
        return
    model, placement = source.model, plan.placement
    taken = next((each for each in model.quantizations if each.repository == placement.repository), None)
    if taken is not None:
        yield (
            f"Precision {taken.precision.value} by {taken.repository}, whose quality was published: it serves this for "
            f"less than {model.precision.value}."
        )
        return
    published = _listed([each.precision.value for each in model.quantizations if each.quality_published])
    others = _listed([each.precision.value for each in model.quantizations if not each.quality_published])
    if published:
        yield f"Precision {model.precision.value}, the model's own: it serves this for less than {published}."
    elif others:
        yield f"Precision {model.precision.value}, the model's own: of {others} no quality was published."
    else:
        yield f"Precision {model.precision.value}, the model's own: the catalog knows no other checkpoint."


def _pinned(source: Source, plan: Plan) -> Iterator[str]:
    """Whether a later start may load something else; a checkpoint on a volume is the user's to keep."""
    if source.folder is not None or is_commit(source.revision):
        return
    what = "no commit is named" if source.revision is None else f"{source.revision} is no commit"
    yield (
        f"A later start loads what {plan.placement.repository} holds then, which may be another checkpoint than was "
        f"measured: {what} in {PINS}."
    )


def _hardware(spec: api.VLMDeploymentSpec, plan: Plan, pool: Pool) -> Iterator[str]:
    where = f"{plan.placement.gpu_count}x {plan.placement.gpu}"
    if plan.cost is None:
        yield f"No price of {plan.placement.gpu} is known: {where} takes the least GPU time for a request."
    elif api.AUTO in (spec.hardware.gpu, spec.hardware.count):
        yield f"{where} is the cheapest of this cluster that serves what is asked ({pool.price_source})."


def _engine(
    spec: api.VLMDeploymentSpec, planned: Sequence[ServeArgument], given: Sequence[ServeArgument]
) -> Iterator[str]:
    if spec.engine is not None and spec.engine.image is not None:
        yield f"The arguments are those of vLLM {ENGINE_VERSION}, whatever {spec.engine.image} holds."
    if flags := replaced(planned, given):
        yield f"{FIELD} has its own {', '.join(flags)}: the estimates are for the planned ones."


def _license(plan: Plan) -> Iterator[str]:
    if plan.warnings:
        yield f"Conditions of the licence: {', '.join(plan.warnings)}."


def _listed(precisions: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(precisions))
