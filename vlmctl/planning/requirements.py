"""Which requirements a model breaks by what it is, before any GPU is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vlmctl.errors import InvalidValue
from vlmctl.planning.demand import RequestDemand, request_demand
from vlmctl.planning.languages import Match, language_match, reads_text
from vlmctl.planning.quality import Yardstick, best_score
from vlmctl.specs.answers import Breach
from vlmctl.specs.model import Commercial, Edition, License, Modality, ModelSpec
from vlmctl.specs.workload import LicensePolicy, Requirements, Task, Workload
from vlmctl.units import show_count, show_seconds

# Output tokens of a usual answer, where the user gives none and no evidence is in the catalog: assumptions, said so.
TASK_OUTPUT_TOKENS = {
    Task.DOCUMENT_OCR: 512,  # the fields of an invoice as JSON
    Task.CHART: 128,
    Task.GROUNDING: 128,
    Task.GENERAL_VQA: 128,
    Task.CAPTIONING: 128,
    Task.VIDEO: 256,
    Task.MULTI_IMAGE: 256,
    Task.REASONING: 512,
    Task.GUI_AGENT: 128,
}
DEFAULT_OUTPUT_TOKENS = 256
THINKING_ROOM_TOKENS = 8192  # beyond the planned request that the context of a reasoning model is given
THINKING_TOKENS = 1024  # that a thinking edition writes before its answer, where no evidence says otherwise


# Where it is not done by giving the option of the same name another value.
RELAXING = {
    "include-unverified": "Add --include-unverified",
    "memory": "Allow other GPUs, or more of them (--gpu, --max-gpus)",
    "served": "Nothing can be relaxed, no engine serves it",
    "known": "Nothing can be relaxed, facts are missing",
    "vision": "Nothing can be relaxed, it reads no images",
    "workload": "Send smaller or fewer images, or ask for shorter answers",
}


def check_requirements(requirements: Requirements) -> None:
    """Raise InvalidValue for numbers that make no sense."""
    workload = requirements.workload
    checks = (
        ("--rps", workload.requests_per_second),
        ("--concurrency", workload.concurrency),
        ("--ttft", requirements.objectives.ttft_seconds),
        ("--tpot", requirements.objectives.tpot_seconds),
        ("--output-tokens", workload.output_tokens),
        ("--max-params", requirements.maximum_parameters_billions),
        ("--max-usd-per-1k", requirements.maximum_usd_per_1k_requests),
        ("--max-usd-per-month", requirements.maximum_usd_per_month),
        ("--max-gpus", requirements.maximum_gpus),
        ("--top", requirements.top),
    )
    for name, value in checks:
        if value is not None and (not math.isfinite(value) or value <= 0):
            raise InvalidValue(f"{name} is {value:g}.", remedy="It must be above 0.")
    if workload.prompt_tokens < 0:
        raise InvalidValue(f"--prompt-tokens is {workload.prompt_tokens}.", remedy="It cannot be negative.")
    if requirements.owned and (requirements.gpus or requirements.providers or requirements.offer_regions):
        raise InvalidValue("--owned already says which GPUs.", remedy="Leave out --gpu, --provider and --region.")
    if workload.requests_per_second is not None and workload.concurrency is not None:
        raise InvalidValue("--rps and --concurrency say the same thing twice.", remedy="Give one of them.")
    if any(not math.isfinite(weight) or weight <= 0 for weight in requirements.tasks.values()):
        raise InvalidValue("a task has a weight that is not above 0.", remedy="Write --task chart=2, for example.")


def default_output_tokens(tasks: Sequence[str]) -> int:
    """Output tokens assumed for the tasks: the longest of them."""
    return max(
        (TASK_OUTPUT_TOKENS.get(Task(task), DEFAULT_OUTPUT_TOKENS) for task in tasks), default=DEFAULT_OUTPUT_TOKENS
    )


def planned_output_tokens(model: ModelSpec, asked: int, *, needs: Sequence[str] = ()) -> int:
    """Output tokens of a request: the answer, and the reasoning that a thinking edition writes first.

    A hybrid edition reasons where `needs` asks for thinking.
    """
    reasons = model.edition is Edition.THINKING or (model.edition is Edition.HYBRID and "thinking" in needs)
    if not reasons:
        return asked
    known = next((item.tokens for item in model.typical_output if item.task == Task.REASONING), THINKING_TOKENS)
    return asked + known


def planned_demand(model: ModelSpec, workload: Workload, *, needs: Sequence[str] = ()) -> RequestDemand:
    """One request of the workload, reasoning included; raises as `request_demand` does."""
    return request_demand(
        model, workload, output_tokens=planned_output_tokens(model, workload.output_tokens, needs=needs)
    )


def license_conditions(license: License) -> tuple[str, ...]:
    """The licence's conditions, one short line each."""
    found = []
    if license.maximum_monthly_users:
        found.append(f"up to {show_count(license.maximum_monthly_users)} monthly users")
    if license.maximum_annual_revenue_usd:
        found.append(f"up to ${show_count(license.maximum_annual_revenue_usd)} revenue a year")
    if license.excluded_regions:
        found.append("not licensed in " + ", ".join(license.excluded_regions))
    if license.use_restrictions:
        found.append("use restrictions")
    if license.attribution:
        found.append("attribution")
    if license.derived_from:
        found.append(f"also under {license.derived_from}")
    if license.gated:
        found.append("gated download")
    return tuple(found)


def license_breach(license: License, policy: LicensePolicy) -> Breach | None:
    """None where the licence is acceptable; the policies are defined in docs/licences.md."""
    acceptable = {
        LicensePolicy.ANY: True,
        LicensePolicy.RESEARCH: license.commercial is not Commercial.UNKNOWN,
        LicensePolicy.COMMERCIAL: license.commercial in (Commercial.YES, Commercial.CONDITIONAL),
        LicensePolicy.PERMISSIVE: license.permissive,
    }[policy]
    if acceptable:
        return None
    return Breach(
        requirement="license",
        found=f"{license.name} (commercial use: {license.commercial.value})",
        wanted=policy.value,
    )


def model_breaches(
    model: ModelSpec, requirements: Requirements, minimums: Mapping[str, Yardstick] | None = None
) -> tuple[Breach, ...]:
    """Every requirement the model breaks by its own facts, in a fixed order; serving first, as nothing mends it.

    `minimums`: the yardstick of each benchmark that has a minimum score.
    """
    found: list[Breach | None] = [serving_breach(model), license_breach(model.license, requirements.license)]
    asked = requirements
    if asked.families and model.family not in asked.families:
        found.append(Breach(requirement="family", found=model.family, wanted=" or ".join(asked.families)))
    if not asked.include_unverified and not model.verified:
        found.append(
            Breach(
                requirement="include-unverified",
                found=f"{' and '.join(model.unverified)} not verified",
                wanted="verified facts",
            )
        )
    if asked.maximum_parameters_billions is not None:
        total = model.parameters.total_billions
        if total > asked.maximum_parameters_billions:
            over = total - asked.maximum_parameters_billions
            found.append(
                Breach(
                    requirement="max-params",
                    found=f"{total:g} billion parameters",
                    wanted=f"at most {asked.maximum_parameters_billions:g}",
                    by=f"{over:.2f} billion over",
                )
            )
    if asked.minimum_context_tokens is not None and model.context.tokens < asked.minimum_context_tokens:
        found.append(
            Breach(
                requirement="min-context",
                found=f"{model.context.tokens:,} tokens",
                wanted=f"at least {asked.minimum_context_tokens:,}",
                by=f"{asked.minimum_context_tokens - model.context.tokens:,} short",
            )
        )
    found.append(_images_breach(model, requirements))
    found.extend(_needs_breach(model, need) for need in requirements.needs)
    found.extend(_language_breach(model, language, requirements) for language in requirements.languages)
    for name, least in sorted(requirements.minimum_scores.items()):
        found.append(_score_breach(model, name, least, (minimums or {}).get(name)))
    return tuple(breach for breach in found if breach is not None)


def relaxing(requirement: str) -> str:
    """How a requirement is relaxed on the command line."""
    return RELAXING.get(requirement, f"Relax --{requirement}")


def serving_breach(model: ModelSpec) -> Breach | None:
    """None if the current vLLM serves the model's images; else precisely why not."""
    serving = model.serving
    if model.modality is Modality.TEXT:
        return Breach(requirement="vision", found="text only", wanted="a model that reads images")
    if serving.last_version is not None:
        return Breach(
            requirement="served", found=f"vLLM dropped it after {serving.last_version}", wanted="served by vLLM today"
        )
    if "vllm" not in serving.served_by:
        where = ", ".join(serving.served_by) or "no engine"
        return Breach(requirement="served", found=f"served by {where}", wanted="served by vLLM")
    missing = [
        name
        for name, part in (("language-model architecture", model.language), ("image-token rule", model.image_tokens))
        if part is None
    ]
    if missing:
        return Breach(requirement="known", found=f"{' and '.join(missing)} unknown", wanted="facts to estimate from")
    return None


def _images_breach(model: ModelSpec, requirements: Requirements) -> Breach | None:
    images, count = model.images, requirements.workload.image_count
    several = bool(images and (images.several or (images.maximum or 0) > 1))
    if images is not None and images.maximum is not None and count > images.maximum:
        return Breach(requirement="images", found=f"at most {images.maximum} per request", wanted=str(count))
    if (requirements.multiple_images or count > 1) and not several:
        known = images is not None and (images.several is False or images.maximum == 1)
        name = "multi-image" if requirements.multiple_images else "images"
        return Breach(requirement=name, found="one image only" if known else "not known", wanted="several images")
    return _video_breach(model, requirements)


def _video_breach(model: ModelSpec, requirements: Requirements) -> Breach | None:
    video = model.video
    for asked in requirements.workload.videos:
        if not (video and video.supported):
            return Breach(requirement="video", found=_known(video.supported if video else None), wanted="video input")
        if video.maximum_frames is not None and asked.frames > video.maximum_frames:
            return Breach(
                requirement="video", found=f"at most {video.maximum_frames:,} frames", wanted=f"{asked.frames:,} frames"
            )
        if video.maximum_seconds is not None and asked.seconds > video.maximum_seconds:
            return Breach(
                requirement="video",
                found=f"at most {show_seconds(video.maximum_seconds)}",
                wanted=show_seconds(asked.seconds),
            )
    return None


def _needs_breach(model: ModelSpec, need: str) -> Breach | None:
    if need == "video":
        held: bool | None = model.video.supported if model.video else None
    elif need == "grounding":
        held = True if model.grounding is not None else None
    elif need == "thinking":
        held = model.edition in (Edition.THINKING, Edition.HYBRID) or "thinking" in model.capabilities
    else:
        held = True if need in model.capabilities else None
    return None if held else Breach(requirement="needs", found=_known(held), wanted=need)


def _language_breach(model: ModelSpec, language: str, requirements: Requirements) -> Breach | None:
    if language_match(model, language, in_image=reads_text(requirements)) is not Match.NO:
        return None
    return Breach(requirement="language", found="not among its languages", wanted=language)


def _score_breach(model: ModelSpec, benchmark: str, limit: float, measure: Yardstick | None) -> Breach | None:
    score = best_score(model, measure) if measure else None
    if measure is None or score is None:
        return Breach(requirement="min-score", found="no comparable figure", wanted=f"{benchmark} of {limit:g}")
    short = limit - score.value if measure.higher_is_better else score.value - limit
    if short <= 0:
        return None
    bound = "at least" if measure.higher_is_better else "at most"
    name = f"{benchmark} ({measure.split})" if measure.split else benchmark
    return Breach(
        requirement="min-score", found=f"{name} {score.value:g}", wanted=f"{bound} {limit:g}", by=f"{short:.3g} short"
    )


def _known(held: bool | None) -> str:
    return "not known" if held is None else "yes" if held else "no"
