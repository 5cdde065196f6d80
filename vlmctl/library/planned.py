"""What a written plan says of one replica, for those who measure it: any of the files that `vlmctl plan` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.bench.drift import Planned
from vlmctl.errors import InvalidFile, VlmctlError
from vlmctl.files import read_whole
from vlmctl.serving.summary import PlanSummary, read_plan_summary
from vlmctl.specs.estimates import Plan

REMEDY = "Give a file that `vlmctl plan` wrote: its VLMDeployment, or `-o json`."


def read_planned(path: Path) -> Planned:
    """The plan in a VLMDeployment, or in what `vlmctl plan -o json` or `-o yaml` printed; raises InvalidFile.

    Only the printed ones tell latencies and the planned concurrency.
    """
    try:
        text = read_whole(path).decode()
        documents: list[Any] = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except UnicodeDecodeError as error:
        raise InvalidFile(str(path), "cannot be read: no text.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidFile(str(path), "is not YAML.", line=mark.line + 1 if mark else None, remedy=REMEDY) from error
    for document in documents:
        if not isinstance(document, dict):
            continue
        try:
            if "plan" in document:
                return _printed(msgspec.convert(document["plan"], Plan))
            if document.get("kind") == api.KIND:
                deployment = msgspec.convert(document, api.VLMDeployment)
                return _deployed(deployment, read_plan_summary(text, path=str(path)))
        except msgspec.ValidationError as error:
            raise InvalidFile(str(path), f"its plan cannot be read: {error}.", remedy=REMEDY) from error
        except InvalidFile:
            raise
        except VlmctlError as error:
            raise InvalidFile(str(path), error.message, remedy=error.remedy) from error
    raise InvalidFile(str(path), "no plan of vlmctl in it.", remedy=REMEDY)


def _printed(plan: Plan) -> Planned:
    speed, replicas = plan.speed, plan.cost.replicas if plan.cost is not None else 1
    return Planned(
        model=plan.placement.model,
        weights=plan.placement.precision.value,
        gpu=plan.placement.gpu,
        gpu_count=plan.placement.gpu_count,
        workload=plan.workload,
        objectives=plan.objectives,
        requests_per_second=speed.requests_per_second,
        concurrency=speed.concurrency,
        ttft_seconds=speed.ttft_seconds,
        ttft_p95_seconds=speed.ttft_p95_seconds,
        tpot_seconds=speed.tpot_seconds,
        tpot_p95_seconds=speed.tpot_p95_seconds,
        e2e_seconds=speed.e2e_seconds,
        image_tokens=plan.image_tokens + plan.marker_tokens if plan.marker_tokens is not None else None,
        usd_per_hour=plan.cost.usd_per_hour / replicas if plan.cost is not None else None,
    )


def _deployed(deployment: api.VLMDeployment, figures: PlanSummary) -> Planned:
    return Planned(
        model=figures.model,
        weights=figures.precision,
        gpu=figures.gpu,
        gpu_count=figures.gpu_count,
        workload=reading.workload(deployment.spec.workload),
        objectives=reading.objectives(deployment.spec.objectives),
        requests_per_second=figures.requests_per_second,
        usd_per_hour=figures.usd_per_hour / figures.replicas if figures.usd_per_hour is not None else None,
    )
