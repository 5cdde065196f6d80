"""Plan -> text that runs it: a VLMDeployment for the operator, a shell command, a compose file, Kubernetes objects."""

from __future__ import annotations

import shlex

import msgspec

from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidValue
from vlmctl.serving import commented_yaml, compose, host, kubernetes
from vlmctl.serving.engine_args import (
    ENGINE_VERSION,
    ServeArgument,
    ServeOptions,
    checkpoint,
    command,
    engine_arguments,
)
from vlmctl.serving.forms import Form
from vlmctl.serving.header import header
from vlmctl.serving.summary import ANNOTATION, COMMENT, as_json, summary
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import Workload


def render(
    plan: Plan, model: ModelSpec, gpu: GpuSpec, form: Form = Form.VLMDEPLOYMENT, options: ServeOptions | None = None
) -> str:
    """The plan as text in one of the forms, each vLLM argument with its reason as a comment.

    Raises UnsupportedModel as `engine_arguments` does.
    """
    chosen = options or ServeOptions()
    if chosen.checkpoint and form in (Form.VLMDEPLOYMENT, Form.KUBERNETES):
        raise InvalidValue(
            f"a cluster does not see the folder {chosen.checkpoint}.",
            remedy="Leave --checkpoint out, or write compose.",
        )
    arguments = engine_arguments(plan, model, gpu, chosen)
    loaded = checkpoint(plan, chosen)
    if form is Form.VLLM:
        return _shell(plan, model, loaded, arguments)
    if form is Form.VLMDEPLOYMENT:
        return _vlmdeployment(plan, model, loaded, arguments, chosen)
    words = command(loaded, arguments)
    reasons = {each.words[0]: each.reason for each in arguments}
    top = header(plan, model)
    if form is Form.COMPOSE:
        top.append("Runs one replica: docker compose up. HF_TOKEN is taken from the environment.")
        document = compose.project(plan, model, gpu, words, folder=chosen.checkpoint)
        return commented_yaml.dump([document], reasons=reasons, header=top)
    top.append(f"A token for gated models is read from the Secret {kubernetes.TOKEN_SECRET}, key `token`.")
    objects = [kubernetes.deployment(plan, model, gpu, words), kubernetes.service(model)]
    return commented_yaml.dump(objects, reasons=reasons, header=top)


def vlmdeployment(plan: Plan, model: ModelSpec, options: ServeOptions | None = None) -> api.VLMDeployment:
    """The plan as a VLMDeployment, with model, precision and hardware fixed to what was planned."""
    chosen = options or ServeOptions()
    figures, objectives = summary(plan), plan.objectives
    engine = api.Engine(
        trust_remote_code=bool(model.serving.requires_remote_code) and chosen.allow_remote_code,
        needs=tuple(api.Need(need) for need in chosen.needs),
        allowed_media_domains=chosen.media_domains,
    )
    return api.VLMDeployment(
        api_version=api.API_VERSION,
        kind=api.KIND,
        metadata=api.Metadata(
            name=host.object_name(model)[: api.NAME_LENGTH].rstrip("-"), annotations={ANNOTATION: as_json(figures)}
        ),
        spec=api.VLMDeploymentSpec(
            model=api.ModelReference(name=model.id),
            quantization=api.Quantization(plan.placement.precision.value.upper()),
            hardware=api.Hardware(gpu=plan.placement.gpu, count=plan.placement.gpu_count),
            workload=api_workload(plan.workload),
            objectives=api.Objectives(
                ttft=None if objectives.ttft_seconds is None else api.duration(objectives.ttft_seconds),
                tpot=None if objectives.tpot_seconds is None else api.duration(objectives.tpot_seconds),
            ),
            replicas=figures.replicas,
            scaling=api.Scaling(min=figures.replicas, max=figures.replicas),
            engine=None if engine == api.Engine() else engine,
        ),
    )


def api_workload(workload: Workload) -> api.Workload:
    """The request of a workload as the API spells it; the same for the same request."""
    return api.Workload(
        images=tuple(
            api.Images(size=f"{each.width_pixels}x{each.height_pixels}", count=each.count) for each in workload.images
        ),
        videos=tuple(
            api.Video(
                length=api.duration(each.seconds),
                frames_per_second=f"{each.frames_per_second:g}",
                size=f"{each.width_pixels}x{each.height_pixels}",
            )
            for each in workload.videos
        ),
        prompt_tokens=workload.prompt_tokens,
        output_tokens=workload.output_tokens,
    )


def _vlmdeployment(
    plan: Plan, model: ModelSpec, loaded: str, arguments: tuple[ServeArgument, ...], options: ServeOptions
) -> str:
    top = header(plan, model)
    top.append("For the operator (docs/operator.md); --format kubernetes needs none.")
    top.append(f"The operator starts vLLM {ENGINE_VERSION} with {loaded} and these arguments:")
    top.extend(f"  {' '.join(each.words)}  ({each.reason})" for each in arguments)
    document = msgspec.to_builtins(vlmdeployment(plan, model, options))
    return commented_yaml.dump([document], reasons={}, header=top)


def _shell(plan: Plan, model: ModelSpec, loaded: str, arguments: tuple[ServeArgument, ...]) -> str:
    """A command for a POSIX shell. Comments cannot stand between continued lines, so the reasons come first."""
    lines = [COMMENT + as_json(summary(plan))]
    lines.extend(f"# {line}" for line in header(plan, model))
    lines.append(f"# Runs one replica. Arguments, for vLLM {ENGINE_VERSION}:")
    width = max(len(each.flag) for each in arguments)
    lines.extend(f"#   {each.flag.ljust(width)}  {each.reason}" for each in arguments)
    words = [" ".join(shlex.quote(word) for word in each.words) for each in arguments]
    lines.append(" \\\n  ".join([f"vllm serve {shlex.quote(loaded)}", *words]))
    return "\n".join(lines) + "\n"
