"""What goes before its VLMDeployment does, and what never does."""

from __future__ import annotations

from copy import deepcopy

from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.actions import Verb, actions
from vlm_operator.download import current, done

from tests.vlm_operator.children import CACHED, NAME, SPEC, ApiServer, at_rest, carry_out, of_kind, serving, wanted
from tests.vlm_operator.test_actions import verbs
from vlmctl.api import v1alpha1 as api

GONE = (Verb.DELETE, "Job")


def test_nothing_but_the_scale_is_written_where_nothing_is_wanted() -> None:
    """Without a plan nothing is known of what should be there; how many replicas is the user's word."""
    assert actions((), at_rest().observed(), replicas=1) == ()
    assert [(each.verb, each.replicas) for each in actions((), at_rest().observed(), replicas=2)] == [(Verb.SCALE, 2)]
    assert actions((), ApiServer().observed(), replicas=2) == ()


def test_only_what_may_go_is_deleted() -> None:
    """Children that nobody wants go; pods that serve, data, measurements, revisions and strangers stay."""
    spec = replace(SPEC, cache=api.Cache(pvc=api.CachePvc(size="1Gi", retain=False)))
    server, objects = at_rest(spec), wanted(spec)
    server.apply({**of_kind(objects, "PodMonitor"), "kind": "VLMBenchmark"})
    stranger = deepcopy(of_kind(objects, "Service"))
    stranger["metadata"].update({"name": "strange", "ownerReferences": []})
    server.apply(stranger)
    rest = ("PodMonitor", "Deployment", "ControllerRevision", "PersistentVolumeClaim")
    without = [each for each in objects if each["kind"] not in rest]
    assert verbs(server, without) == [("delete", "PodMonitor")]


def test_revisions_that_are_not_kept_go() -> None:
    """And take their ConfigMaps and Jobs along, which they own."""
    server = at_rest(CACHED)
    old = next(name for kind, name in server.objects if kind == "ControllerRevision")
    objects = wanted()
    carry_out(server, objects)
    (action,) = actions(objects, server.observed(), replicas=1, pruned=[old])
    assert (action.verb, action.kind, action.name) == (Verb.DELETE, "ControllerRevision", old)
    assert action.uid == server.objects["ControllerRevision", old]["metadata"]["uid"]
    assert actions(objects, server.observed(), replicas=1) == ()


def test_a_download_that_nobody_waits_for_goes() -> None:
    """Its Job is not kept with its revision: failing, it would go on to."""
    server = at_rest(CACHED)
    (job,) = [name for kind, name in server.objects if kind == "Job"]
    cached = serving(CACHED).revisions
    objects = wanted(rollout=replace(serving(), revisions=(*cached, *serving().revisions)))
    done = {(each.verb, each.kind, each.name) for each in carry_out(server, objects)}
    assert (Verb.DELETE, "Job", job) in done
    assert not [each for each in done if each[:2] == (Verb.DELETE, "ConfigMap")]
    assert actions(objects, server.observed(), replicas=1) == ()


def test_what_is_leaving_is_waited_for() -> None:
    """An object that is being deleted is neither written nor deleted again."""
    server = at_rest()
    for kind in ("Service", "PodMonitor"):
        server.objects[kind, NAME]["metadata"].update({"deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {}})
    assert verbs(server, [each for each in wanted() if each["kind"] != "PodMonitor"]) == []


def test_a_download_into_a_claim_that_is_gone_is_made_again() -> None:
    """A claim that took its place is empty, whatever the old Job says: that goes, and pods wait for the next one."""
    server = at_rest(CACHED)
    (name,) = [name for kind, name in server.objects if kind == "Job"]
    job, claim = server.objects["Job", name], server.objects["PersistentVolumeClaim", names.cache(NAME)]
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    claim["metadata"]["creationTimestamp"] = "2026-11-20T10:00:00Z"
    (revision,) = serving(CACHED).revisions
    for made, again in (("2026-11-20T10:00:00Z", False), ("2026-11-20T09:59:59Z", True)):
        job["metadata"]["creationTimestamp"] = made
        seen = server.observed()
        deleted = [each.name for each in actions(wanted(CACHED), seen, replicas=1) if (each.verb, each.kind) == GONE]
        assert deleted == ([name] if again else [])
        assert done(revision, current(seen.children, NAME), NAME) is not again
