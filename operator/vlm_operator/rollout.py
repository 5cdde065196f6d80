"""Which revision's pods are to run, how they replace each other, and what became of each revision."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from vlm_operator import download, names
from vlm_operator.reasons import AvailableReason
from vlm_operator.records import Finding, KubernetesObject, Revision, Verdict
from vlm_operator.reported import condition, holds, is_of_engine, revision_of
from vlm_operator.scheduling import lacks_room, over_quota
from vlmctl.specs.record import Record

HISTORY = 5  # revisions that are kept
CRASHES = 3  # restarts of an engine that never took traffic: the kubelet then pauses for 40 s and more between them

# Another try ends the same way.
HOPELESS = frozenset(
    {
        AvailableReason.INVALID_ARGUMENT,
        AvailableReason.UNSUPPORTED_ARCHITECTURE,
        AvailableReason.UNSUPPORTED_BY_GPU,
        AvailableReason.REMOTE_CODE_DENIED,
        AvailableReason.KV_CACHE_TOO_SMALL,
        AvailableReason.ENCODER_CACHE_TOO_SMALL,
        AvailableReason.INVALID_IMAGE_NAME,
    }
)


class Rollout(Record, frozen=True, kw_only=True):
    """`wanted`: what the spec asks for; None: nothing was planned for it. `carried`: whose template the Deployment is
    to have; None: it stays as it is, or unmade. `revisions`: all that are kept, the newest last; `running`: those of
    them that pods are of; `pruned`: names of the others. `surge`: whether a new pod comes before an old one goes.
    `present`: the digest that the Deployment carries now; None: that of `carried`.
    """

    wanted: Revision | None = None
    carried: Revision | None = None
    revisions: tuple[Revision, ...] = ()
    running: tuple[Revision, ...] = ()
    pruned: tuple[str, ...] = ()
    surge: bool = True
    present: str | None = None

    @property
    def goes_back(self) -> bool:
        """Whether what is wanted failed, and an earlier revision is to run instead."""
        return self.wanted is not None and _has_failed(self.wanted) and self.carried != self.wanted

    @property
    def went_back(self) -> bool:
        """Whether it does: a Deployment that is paused, or cannot be written, stays what it is."""
        is_there = self.carried is not None and self.present in (None, self.carried.digest)
        return self.goes_back and is_there


def target(
    name: str,
    revisions: Iterable[Revision],
    digest: str,
    *,
    deployment: KubernetesObject | None,
    pods: Sequence[KubernetesObject] = (),
    jobs: Mapping[str, KubernetesObject] | None = None,
    finding: Finding | None = None,
    unreadable: Collection[str] = (),
) -> Rollout:
    """Where the VLMDeployment `name` goes from here.

    `digest`: of its spec. `deployment`, `pods`, `jobs` (by name): its children. `finding`: what is wrong with pods of
    the revision that the Deployment carries. `unreadable`: digests of revisions that are there and cannot be read: a
    Deployment that carries one stays as it is until another one is wanted and ready.
    """
    now, pods = carried_digest(deployment), [pod for pod in pods if is_of_engine(pod)]
    known = _judged(_numbered(revisions, digest), now, deployment, pods, finding)
    by_digest = {each.digest: each for each in known}
    wanted, present = by_digest.get(digest), by_digest.get(now)
    good = _last_good(known)
    back = None if now in unreadable else good
    stay = present if present is not None and not _has_failed(present) else back or present
    goal = stay if wanted is None else (back or stay) if _has_failed(wanted) else wanted
    carried = goal if goal is None or _is_ready(goal, present, jobs or {}, name) else stay
    kept = _kept(known, {each.digest for each in (wanted, present, carried) if each is not None} | _running(pods))
    return Rollout(
        wanted=wanted,
        carried=carried,
        revisions=kept,
        running=tuple(each for each in kept if each.digest in _running(pods)),
        pruned=tuple(each.name for each in known if each not in kept),
        surge=not _is_short(deployment, pods, carried),
        present=now,
    )


def carried_digest(deployment: KubernetesObject | None) -> str:
    """Digest of the revision whose template the Deployment has; empty where there is none."""
    if deployment is None:
        return ""
    return str(deployment["spec"]["template"]["metadata"].get("labels", {}).get(names.REVISION, ""))


def is_complete(deployment: KubernetesObject) -> bool:
    """Whether all replicas are of the present template and available, and no other pod is left."""
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas")]
    return _is_seen(deployment) and all(count == replicas for count in counts)


def _numbered(revisions: Iterable[Revision], digest: str) -> list[Revision]:
    """By number; what is wanted gets the highest, be it new or asked for again."""
    known = sorted(revisions, key=lambda each: (each.number, each.name))
    highest = max((each.number for each in known if each.digest != digest), default=0)
    numbered = [
        msgspec.structs.replace(each, number=highest + 1) if each.digest == digest and each.number <= highest else each
        for each in known
    ]
    return sorted(numbered, key=lambda each: (each.number, each.name))


def _judged(
    revisions: Sequence[Revision],
    now: str,
    deployment: KubernetesObject | None,
    pods: Sequence[KubernetesObject],
    finding: Finding | None,
) -> list[Revision]:
    """With new verdicts, which stay: GOOD once a pod took traffic, FAILED where it cannot, or did not in time."""
    serving = {revision_of(pod) for pod in pods if _is_serving(pod)}
    judged = [_with(each, Verdict.GOOD) if each.digest in serving else each for each in revisions]
    if _last_good(judged) is None or deployment is None:
        return judged
    failed = _is_late(deployment) or _is_hopeless(finding) or _crashes([pod for pod in pods if revision_of(pod) == now])
    return [_with(each, Verdict.FAILED) if failed and each.digest == now else each for each in judged]


def _with(revision: Revision, verdict: Verdict) -> Revision:
    is_open = revision.verdict is Verdict.UNKNOWN
    return msgspec.structs.replace(revision, verdict=verdict) if is_open else revision


def _has_failed(revision: Revision) -> bool:
    return revision.verdict is Verdict.FAILED


def _last_good(revisions: Sequence[Revision]) -> Revision | None:
    return next((each for each in reversed(revisions) if each.verdict is Verdict.GOOD), None)


def _is_ready(revision: Revision, present: Revision | None, jobs: Mapping[str, KubernetesObject], name: str) -> bool:
    """Whether pods of it can be made: it is kept in the cluster, and its weights are there."""
    if not revision.uid:
        return False
    served = revision == present or revision.verdict is Verdict.GOOD
    return served or download.done(revision, jobs, name)


def _kept(revisions: Sequence[Revision], needed: set[str]) -> tuple[Revision, ...]:
    """The newest, the last good one, and those in use."""
    good = _last_good(revisions)
    needed = needed | ({good.digest} if good is not None else set())
    newest = {each.digest for each in revisions[-HISTORY:]}
    return tuple(each for each in revisions if each.digest in newest | needed)


def _is_short(deployment: KubernetesObject | None, pods: Sequence[KubernetesObject], carried: Revision | None) -> bool:
    """Whether old pods have to make room for new ones: once a new one found none (of GPUs, CPU, memory, places for
    pods, or of the namespace's quota), until all are new.
    """
    if deployment is None or carried is None:
        return False
    surge = deployment["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge")
    if surge == 0 and not is_complete(deployment):
        return True
    new = [pod for pod in pods if revision_of(pod) == carried.digest]
    return len(new) < len(pods) and (any(map(_lacks_room, new)) or over_quota(deployment))


def _lacks_room(pod: KubernetesObject) -> bool:
    """Whether the scheduler found a node that would take the pod if others were gone."""
    scheduled = condition(pod, "PodScheduled")
    return scheduled.get("status") == "False" and lacks_room(scheduled.get("message", ""))


def _is_late(deployment: KubernetesObject) -> bool:
    progressing = condition(deployment, "Progressing")
    return _is_seen(deployment) and progressing.get("reason") == "ProgressDeadlineExceeded"


def _is_hopeless(finding: Finding | None) -> bool:
    return finding is not None and finding.reason in HOPELESS


def _crashes(pods: Sequence[KubernetesObject]) -> bool:
    counts = [
        container.get("restartCount", 0)
        for pod in pods
        for container in pod.get("status", {}).get("containerStatuses", ())
        if container["name"] == names.ENGINE
    ]
    return max(counts, default=0) >= CRASHES


def _is_seen(deployment: KubernetesObject) -> bool:
    """Whether the status is of the present spec."""
    observed = deployment.get("status", {}).get("observedGeneration", 0)
    return bool(observed >= deployment["metadata"].get("generation", 0))


def _is_serving(pod: KubernetesObject) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and holds(pod, "Ready")


def _running(pods: Sequence[KubernetesObject]) -> set[str]:
    return {revision_of(pod) for pod in pods}
