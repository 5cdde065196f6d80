"""What an agent is told when its pod is made: the planned request, and what the results are to say of the replica.

Everything in it follows from the plan, so that it is the same as long as the revision is; what may change while pods
run is said in an annotation (`results.Word`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from vlm_operator import names
from vlm_operator.proxy import CONFIG_FOLDER, ENGINE_HOST, ENGINE_PORT
from vlm_operator.records import Planned
from vlm_operator.template import AGENT_PORT, POD_FOLDER, RUN_FOLDER, WORD_FOLDER
from vlmctl.bench.about import About
from vlmctl.errors import InvalidFile
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Workload

CONFIG_PATH = Path(CONFIG_FOLDER, "agent.json")


class Pace(Record, frozen=True, kw_only=True):
    """How long things take, in seconds.

    `poll`: between looks at the engine and at files. `word`: from the engine's readiness, for the operator to say what
    to do. `probe`: a probe, in all. `first_retry`, `last_retry`: pauses after a smoke request that failed, doubling.
    `again`: before a probe that was too slow is repeated; `below`: from then on. `request`: for the first output of a
    request while nothing else runs. `budget`: of a ladder, if not said. `open`: between looks at the engine once it
    takes traffic, `confirm`: before it counts as gone, `progress`: between looks at its counters; `stuck`: without a
    token while requests wait; `canary`: for a request that tells a hung engine from a client that does not read its
    answer.
    """

    poll: float = 0.5
    word: float = 30.0
    probe: float = 10.0
    first_retry: float = 2.0
    last_retry: float = 60.0
    again: float = 5.0
    below: float = 60.0
    request: float = 300.0
    budget: float = 90.0
    open: float = 2.0
    confirm: float = 0.5
    progress: float = 10.0
    stuck: float = 120.0
    canary: float = 60.0


class AgentConfig(Record, frozen=True, kw_only=True):
    """One replica as it was planned.

    `workload`: of one request, reasoning included in its answer. `image_tokens`: of all its images, without and with
    the markers around and between them; None: not known. `about`: what measurements say of the replica. `word_path`:
    what this pod is told to do; `standing_word_path`: what to do where nobody says anything.
    """

    served_name: str
    about: About
    workload: Workload
    objectives: Objectives = Objectives()
    concurrency: int = 1
    maximum_concurrency: int = 256
    image_tokens: tuple[int, int] | None = None
    engine_url: str = f"http://{ENGINE_HOST}:{ENGINE_PORT}"
    port: int = AGENT_PORT
    run_folder: str = RUN_FOLDER
    word_path: str = f"{POD_FOLDER}/{names.WORD_FILE}"
    standing_word_path: str = f"{WORD_FOLDER}/{names.WORD_FILE}"
    pace: Pace = Pace()


def agent_config(planned: Planned) -> AgentConfig:
    """What the agents of a revision are told."""
    plan = planned.plan
    placement, asked = plan.placement, plan.workload
    tokens = plan.image_tokens
    markers = plan.marker_tokens
    output_tokens = asked.output_tokens
    if markers is not None:
        output_tokens = max(output_tokens, plan.request_tokens - asked.prompt_tokens - tokens - markers)
    return AgentConfig(
        served_name=planned.served_name,
        about=About(
            model=placement.model,
            model_revision=planned.revision,
            weights=placement.precision.value,
            gpu=placement.gpu,
            gpu_count=placement.gpu_count,
            arguments=tuple(word for argument in planned.arguments for word in argument.words),
        ),
        workload=Workload(
            images=asked.images, videos=asked.videos, prompt_tokens=asked.prompt_tokens, output_tokens=output_tokens
        ),
        objectives=plan.objectives,
        concurrency=plan.speed.concurrency,
        maximum_concurrency=max(placement.settings.max_num_seqs, plan.speed.concurrency),
        image_tokens=(tokens, tokens + markers) if markers is not None and not asked.videos else None,
    )


def encode_config(config: AgentConfig) -> str:
    """The text of ``agent.json``, the same for the same plan."""
    return msgspec.json.encode(config, order="deterministic").decode()


def read_config(path: Path = CONFIG_PATH) -> AgentConfig:
    """The configuration in a file; raises InvalidFile."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=AgentConfig)
    except OSError as error:
        raise InvalidFile(str(path), f"cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise InvalidFile(str(path), f"is no configuration of an agent: {error}.") from error
