"""The operator's configuration: one YAML file that the chart mounts, read once at start. Every field has a default."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from vlm_operator import proxy
from vlm_operator.desired import Monitors
from vlm_operator.network import Prometheus
from vlm_operator.pod_defaults import PodDefaults
from vlm_operator.policy import Policy
from vlm_operator.scalers import ScalingSettings
from vlmctl.errors import InvalidFile
from vlmctl.specs.inventory import DeclaredPool
from vlmctl.specs.record import Record
from vlmctl.version import __version__

PATH_VARIABLE = "VLM_OPERATOR_CONFIG"
POD_NAME, POD_NAMESPACE = "POD_NAME", "POD_NAMESPACE"  # set from the downward API
IMAGE = f"ghcr.io/vlmctl/vlm-operator:{__version__}"  # what the chart of this version installs
_T = TypeVar("_T", bound=Record)


class Lease(Record, frozen=True, kw_only=True):
    """Where it is agreed who leads. `namespace` of None: that of the operator's own pod."""

    name: str = "vlm-operator"
    namespace: str | None = None


class OperatorConfig(Record, frozen=True, kw_only=True):
    """How this operator is to work; in the file, names are in camelCase.

    `namespaces`: whose VLMDeployments are served; none given means the whole cluster, nodes included. `agent_image`: of
    the sidecar, which is this operator's own image. `proxy_image`: HAProxy. `engine_image` of None: the release that
    plans are made for. `hub_endpoint`: a mirror of the Hugging Face hub. `prometheus`: who may ask pods for metrics,
    beside the operator. `monitors`: of engines' PodMonitors, where the cluster has the kind. `pod_defaults`: of
    engines. `workers`: VLMDeployments that are reconciled at once. `port`: of /healthz and /metrics; 0 for none.
    `pod_name`: who holds the Lease; where nobody says, this process and no other.
    """

    namespaces: tuple[str, ...] = ()
    agent_image: str = IMAGE
    proxy_image: str = proxy.IMAGE
    engine_image: str | None = None
    inventory: tuple[DeclaredPool, ...] = ()
    policy: Policy = Policy()
    scaling: ScalingSettings = ScalingSettings()
    hub_endpoint: str | None = None
    prometheus: Prometheus = Prometheus()
    monitors: Monitors = Monitors()
    pod_defaults: PodDefaults = PodDefaults()
    lease: Lease = Lease()
    workers: int = 16
    log_level: str = "INFO"
    port: int = 8080
    pod_name: str = ""
    pod_namespace: str = "default"

    @property
    def lease_namespace(self) -> str:
        """Where the Lease lies."""
        return self.lease.namespace or self.pod_namespace


def read_config(environment: Mapping[str, str] = os.environ) -> OperatorConfig:
    """The file that ``VLM_OPERATOR_CONFIG`` names, or the defaults; raises InvalidFile."""
    path = environment.get(PATH_VARIABLE, "")
    values: Any = {}
    try:
        if path:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        config = _config(values)
    except OSError as error:
        raise InvalidFile(path, f"cannot be read: {error.strerror}.", remedy=f"See {PATH_VARIABLE}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError, TypeError) as error:
        told = " ".join(str(error).split())
        raise InvalidFile(path, told, remedy="See config.py of vlm_operator for its fields.") from error
    if config.log_level not in logging.getLevelNamesMapping():
        raise InvalidFile(path, f"{config.log_level!r} is no log level.", remedy="Write INFO, WARNING or ERROR.")
    return msgspec.structs.replace(
        config,
        pod_name=environment.get(POD_NAME) or config.pod_name or f"{socket.gethostname()}-{os.getpid()}",
        pod_namespace=environment.get(POD_NAMESPACE) or config.pod_namespace,
    )


def _config(values: Any) -> OperatorConfig:
    parts = _fields(values)
    parts["inventory"] = [_record(DeclaredPool, each) for each in parts.get("inventory") or ()]
    parts["policy"] = _record(Policy, parts.get("policy") or {})
    parts["scaling"] = _record(ScalingSettings, parts.get("scaling") or {})
    parts["prometheus"] = _record(Prometheus, parts.get("prometheus") or {})
    parts["monitors"] = _record(Monitors, parts.get("monitors") or {})
    parts["podDefaults"] = _record(PodDefaults, parts.get("podDefaults") or {})
    parts["lease"] = _record(Lease, parts.get("lease") or {})
    return _record(OperatorConfig, parts)


def _record(kind: type[_T], values: Any) -> _T:
    """A record from names in camelCase; what is empty counts as not given, as a chart's values have it."""
    known = {_camel(name): name for name in kind.__struct_fields__}
    given = {known.get(name, name): value for name, value in _fields(values).items() if value not in ("", None)}
    return msgspec.convert(given, kind, strict=False)


def _fields(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError(f"{values!r} has no fields")
    return dict(values)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
