"""All deployments of a cluster judged: what each costs and leaves idle, and what would make it cheaper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from vlmctl.api import reading
from vlmctl.catalog.names import resolve_model
from vlmctl.errors import InvalidValue, NotReachable, UnknownName, UnsupportedModel
from vlmctl.kubeconfig import Cluster
from vlmctl.library.calibration import calibration_of
from vlmctl.library.cluster_objects import listed, nodes
from vlmctl.library.deployments import Deployment, cluster_deployments, running
from vlmctl.library.exported import PLURAL as BENCHMARKS
from vlmctl.library.exported import KeptBenchmark, kept_benchmarks
from vlmctl.library.market import Market, market
from vlmctl.planning.changes import Outlook, Verdict, outlook
from vlmctl.planning.choices import Choice, Setting
from vlmctl.planning.requirements import planned_demand, serving_breach
from vlmctl.planning.running import Running, Totals, totals
from vlmctl.planning.search import cheapest_placement, checkpoints
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Requirements, Workload

_Asked = tuple[str, tuple[Precision, ...], Workload, Objectives, tuple[str, ...]]


class Watched(Record, frozen=True, kw_only=True):
    """A deployment, what runs of it, and what could be done about its price."""

    deployment: Deployment
    running: Running | None
    outlook: Outlook


class Watch(Record, frozen=True, kw_only=True):
    """All deployments at one moment. `gpus`: that changes were looked for on, and where that choice is from."""

    deployments: tuple[Watched, ...]
    totals: Totals
    gpus: tuple[str, ...]
    gpus_from: str
    measurements: int
    notes: tuple[str, ...] = ()


def watch(catalog: Catalog, cluster: Cluster, namespace: str | None, *, gpus: Sequence[str] = ()) -> Watch:
    """What the cluster's API server tells at this moment, of one namespace or of all.

    `gpus`: names of those to look for changes on, `all` for every one of the catalog. Raises NotReachable where
    the deployments cannot be read, UnknownName for a GPU that is none.
    """
    found = cluster_deployments(cluster, namespace)
    everyone = found
    if namespace is not None:
        with suppress(NotReachable):  # what others pay is the price of a GPU too, where it may be seen
            everyone = cluster_deployments(cluster, None)
    try:
        kept, unread = kept_benchmarks([listed(cluster, BENCHMARKS, namespace)]), ""
    except (NotReachable, InvalidValue) as error:
        kept, unread = (), f"No measurements are taken in: {error.message}"
    there = nodes(cluster)
    judged = judge(catalog, found, everyone=everyone, benchmarks=kept, nodes=there, gpus=gpus)
    unlisted = "" if there is not None or gpus else "The nodes may not be read."
    return replace(judged, notes=tuple(note for note in (unread, unlisted) if note))


def judge(
    catalog: Catalog,
    deployments: Sequence[Deployment],
    *,
    everyone: Sequence[Deployment] | None = None,
    benchmarks: Iterable[KeptBenchmark] = (),
    nodes: Iterable[Mapping[str, object]] | None = None,
    gpus: Sequence[str] = (),
) -> Watch:
    """The same from objects that were read. `everyone`: those of which GPUs' prices are; None: the same ones.

    Raises UnknownName.
    """
    runs = [running(each) for each in deployments]
    payers = runs if everyone is None else [running(each) for each in everyone]
    offered = market(catalog, asked=gpus, nodes=nodes, runs=[each for each in payers if each is not None])
    ids = {model.id for model in catalog.models}
    rows = [row for each in benchmarks if each.spec.key.model in ids for row in each.rows]
    search = _Search(replace(catalog, measurements=(*catalog.measurements, *rows)), offered)
    return Watch(
        deployments=tuple(
            Watched(deployment=each, running=run, outlook=search.outlook(each, run))
            for each, run in zip(deployments, runs, strict=True)
        ),
        totals=totals(runs),
        gpus=tuple(offered.offers),
        gpus_from=offered.source,
        measurements=len(rows),
    )


class _Search:
    """Placements on a market. Deployments that ask for the same have the same."""

    def __init__(self, catalog: Catalog, offered: Market) -> None:
        self._catalog = catalog
        self._market = offered
        self._gpus = {gpu.id: gpu for gpu in catalog.gpus}
        self._calibration = calibration_of(catalog)
        self._found: dict[_Asked, tuple[Choice, ...]] = {}

    def outlook(self, deployment: Deployment, run: Running | None) -> Outlook:
        """What could be done about a deployment's price."""
        spec = deployment.spec
        if spec is None or run is None:
            return _unknown(deployment.unreadable or "nothing is planned yet")
        try:
            model = resolve_model(self._catalog, deployment.model or "")
            asked = Requirements(
                workload=reading.planned_workload(spec.workload),
                objectives=reading.objectives(spec.objectives),
                needs=tuple(need.value for need in spec.engine.needs) if spec.engine is not None else (),
            )
            choices = self._choices(model, _precisions(model, deployment, run), asked)
        except UnknownName:
            return _unknown("the catalog does not hold the model")
        except (UnsupportedModel, InvalidValue) as error:
            return _unknown(error.message.rstrip("."))
        return outlook(run, choices, most_gpus=self._market.most_gpus)

    def _choices(self, model: ModelSpec, precisions: tuple[Precision, ...], asked: Requirements) -> tuple[Choice, ...]:
        """The cheapest placement in each precision on each GPU, where there is one."""
        key = (model.id, precisions, asked.workload, asked.objectives, asked.needs)
        if key not in self._found:
            self._found[key] = tuple(self._placed(model, precisions, asked))
        return self._found[key]

    def _placed(self, model: ModelSpec, precisions: Iterable[Precision], asked: Requirements) -> list[Choice]:
        if (breach := serving_breach(model)) is not None:
            raise UnsupportedModel(f"{model.id} cannot be planned: {breach.found}.")
        demand = planned_demand(model, asked.workload, needs=asked.needs)
        found = []
        for precision in precisions:
            for gpu, offers in self._market.offers.items():
                setting = Setting(
                    requirements=replace(asked, quantizations=(precision.value,)),
                    gpus=self._gpus,
                    offers={gpu: offers},
                    calibration=self._calibration,
                    error_bands=self._catalog.error_bands,
                )
                choice, _ = cheapest_placement(model, demand, setting)
                if choice is not None:
                    found.append(choice)
        return found


def _precisions(model: ModelSpec, deployment: Deployment, run: Running) -> tuple[Precision, ...]:
    """Those that a plan would take by itself, and the present one; that alone for a checkpoint of the user's own."""
    present = [Precision(run.precision)] if run.precision is not None else []
    if deployment.spec is not None and deployment.spec.model.source is not None:
        return tuple(present)
    return tuple(dict.fromkeys([*(precision for precision, _ in checkpoints(model, ())), *present]))


def _unknown(reason: str) -> Outlook:
    return Outlook(verdict=Verdict.UNKNOWN, reason=reason)
