"""What the cluster's administrator allows, and what a VLMDeployment asks of itself: the stricter holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from vlmctl.api import v1alpha1 as api
from vlmctl.planning.requirements import license_breach
from vlmctl.specs.model import License
from vlmctl.specs.record import Record
from vlmctl.specs.workload import LicensePolicy
from vlmctl.units import HOURS_PER_MONTH, show_usd

DEFAULT_REGISTRY = "docker.io"  # of image names that state none
OFFICIAL = "library"  # whose images are named without an owner there
Pinned = Annotated[str, Meta(pattern="@([0-9a-f]{40}|sha256:[0-9a-f]{64})$")]  # a commit of a repository, or an image


class Policy(Record, frozen=True, kw_only=True):
    """Rules for every VLMDeployment that the operator serves.

    `remote_code`: whose Python code may run, such as ``acme/reader@`` and a commit; none: nobody's. `image_registries`:
    what images that users name must lie below, such as ``ghcr.io/acme``; none: they name none. `media_domains`: hosts
    that engines may fetch pictures from; none: from nowhere.
    """

    license: LicensePolicy = LicensePolicy.ANY
    max_usd_per_1k: float | None = None
    max_usd_per_month: float | None = None
    remote_code: tuple[Pinned, ...] = ()
    image_registries: tuple[str, ...] = ()
    media_domains: tuple[str, ...] = ()


class Limit(Record, frozen=True, kw_only=True):
    """The most USD that may be spent, and who says so."""

    usd: float
    whose: str


class Budget(Record, frozen=True, kw_only=True):
    """The limits that hold for one VLMDeployment; None: there is none."""

    per_1k: Limit | None = None
    per_month: Limit | None = None


def license_denied(license: License, asked: api.LicensePolicy | None, policy: Policy) -> str:
    """Why the licence is not acceptable, and to whom; empty where it is."""
    own = LicensePolicy(asked.value.lower()) if asked is not None else LicensePolicy.ANY
    for wanted, whose in ((policy.license, "the cluster's policy"), (own, "spec.licensePolicy")):
        breach = license_breach(license, wanted)
        if breach is not None:
            return f"the licence is {breach.found}, and {whose} asks for {breach.wanted}"
    return ""


def image_denied(image: str, policy: Policy) -> str:
    """Why an image that a user names may not run; empty where it may."""
    if not policy.image_registries:
        return f"{image}: the cluster's policy names no registry for it (policy.imageRegistries of the chart)"
    name = _with_registry(image)
    if any(_lies_below(name, _place(each)) for each in policy.image_registries):
        return ""
    return f"{image} is not from {' or '.join(policy.image_registries)}, which the cluster's policy asks for"


def code_denied(place: str, policy: Policy) -> str:
    """Why code that lies there, in a repository at a commit or an image by its digest, may not run; else empty."""
    runs, none = "whose code the cluster's policy lets run", "lets no such code run"
    return _unlisted(place, policy.remote_code, "policy.remoteCode", runs, none)


def media_denied(host: str, policy: Policy) -> str:
    """Why no pictures may be fetched from the host; empty where they may. vLLM compares whole names too."""
    named, none = "which the cluster's policy names", "names no host of pictures"
    return _unlisted(host, policy.media_domains, "policy.mediaDomains", named, none)


def _unlisted(asked: str, listed: Sequence[str], field: str, these: str, none: str) -> str:
    """Why what is asked for is not among what a field of the chart lists: `these` and nothing else, or `none`."""
    if asked in listed:
        return ""
    if not listed:
        return f"{asked}: the cluster's policy {none} ({field} of the chart)"
    return f"{asked} is not {' or '.join(listed)}, {these} ({field} of the chart)"


def _lies_below(name: str, place: str) -> bool:
    """Whether it is the place's, or of a place's repository; what follows a host after a colon is a port."""
    if name == place or name.startswith(f"{place}/"):
        return True
    return "/" in place and name.startswith((f"{place}:", f"{place}@"))


def budget(asked: api.Budget | None, policy: Policy) -> Budget:
    """The lower of the cluster's limit and the VLMDeployment's own, for each of them."""
    own = asked or api.Budget()
    return Budget(
        per_1k=_lower(own.max_usd_per_1k, "spec.budget.maxUSDPer1k", policy.max_usd_per_1k),
        per_month=_lower(own.max_usd_per_month, "spec.budget.maxUSDPerMonth", policy.max_usd_per_month),
    )


def most_replicas(spec: api.VLMDeploymentSpec) -> int:
    """How many replicas there may come to be without the spec being changed but through ``/scale``."""
    if spec.scaling.engine is api.ScalingEngine.NONE:
        return spec.replicas
    return max(spec.replicas, spec.scaling.max)


def over_month(held: Budget, usd_per_hour: float, replicas: int) -> str:
    """Why the replicas cost too much for a month of 730 hours; `usd_per_hour`: of each. Empty where they do not."""
    monthly = usd_per_hour * replicas * HOURS_PER_MONTH
    if held.per_month is None or monthly <= held.per_month.usd:
        return ""
    counted = "1 replica costs" if replicas == 1 else f"{replicas} replicas cost"
    return f"{counted} {show_usd(monthly)} a month, above the {show_usd(held.per_month.usd)} of {held.per_month.whose}"


def affordable(held: Budget, usd_per_hour: float, replicas: int) -> int:
    """As many of the replicas as do not cost too much for a month; `usd_per_hour`: of each."""
    return next((count for count in range(replicas, 0, -1) if not over_month(held, usd_per_hour, count)), 0)


def over_budget(held: Budget, *, usd_per_1k: float | None, usd_per_hour: float | None, replicas: int) -> str:
    """Why a plan may not be paid for; empty where it may.

    `usd_per_1k`: for 1,000 requests at the planned load; `usd_per_hour`: of one replica. None for money that is not
    known, which no budget allows.
    """
    if held == Budget():
        return ""
    if usd_per_1k is None or usd_per_hour is None:
        return "a budget is set, and no price of this GPU is known. Declare one in the chart's values"
    if held.per_1k is not None and usd_per_1k > held.per_1k.usd:
        found, limit = show_usd(usd_per_1k), show_usd(held.per_1k.usd)
        return f"1,000 requests cost {found}, above the {limit} of {held.per_1k.whose}"
    return over_month(held, usd_per_hour, replicas)


def _lower(asked: str | None, field: str, cluster: float | None) -> Limit | None:
    limits = [Limit(usd=float(asked), whose=field)] if asked is not None else []
    if cluster is not None:
        limits.insert(0, Limit(usd=cluster, whose="the cluster's policy"))
    return min(limits, key=lambda limit: limit.usd, default=None)


def _with_registry(image: str) -> str:
    """An image's name with its registry, which is Docker Hub's where the first part is no host."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"{DEFAULT_REGISTRY}/{OFFICIAL}/{image}"
    return image if _is_host(first) else f"{DEFAULT_REGISTRY}/{image}"


def _place(allowed: str) -> str:
    """A registry, or one of its owners or repositories, as the policy names it."""
    place = allowed.rstrip("/")
    return place if _is_host(place.partition("/")[0]) else f"{DEFAULT_REGISTRY}/{place}"


def _is_host(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost"
