"""VLMDeployments of a cluster as contenders: address, key and price from what the operator wrote into their status."""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

from vlmctl.api.records import GROUP, VERSION
from vlmctl.bench.endpoint import Endpoint
from vlmctl.compare.contenders import Contender, FindModel, Price, with_model
from vlmctl.errors import InvalidValue, NotReachable
from vlmctl.kubeconfig import connected, not_answering

PLURAL = "vlmdeployments"
KEY = "api-key"  # in the Secret that the status names
ANSWER_SECONDS = 10.0  # of the API server
LOCAL_PORT = 8000  # in the command that is suggested


class Deployed(NamedTuple):
    """A deployment as a contender, and how to reach it from outside the cluster."""

    contender: Contender
    remedy: str


def deployed(names: list[str], find_model: FindModel) -> list[Deployed]:
    """Contenders from ``NAME[.NAMESPACE]``, the namespace being that of the kubeconfig's context where none is said.

    Raises UsageError without the `kubernetes` package or a kubeconfig, InvalidValue for a deployment that is not there
    or has no address yet, NotReachable where the API server does not answer or refuses.
    """
    kubernetes, usual = connected()
    return [_deployed(kubernetes, text, usual, find_model) for text in names]


def _deployed(kubernetes: Any, text: str, usual: str, find_model: FindModel) -> Deployed:
    name, dot, namespace = text.partition(".")
    namespace = namespace if dot else usual
    if not name or not namespace:
        raise InvalidValue(f"--deployment {text!r} is no deployment.", remedy="Write NAME or NAME.NAMESPACE.")
    where = f"VLMDeployment {name} in namespace {namespace}"
    custom = kubernetes.client.CustomObjectsApi()
    status = _asked(
        kubernetes, where, lambda: custom.get_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, name, _request_timeout=ANSWER_SECONDS
        )
    ).get("status") or {}  # fmt: skip
    url = status.get("url")
    if not url:
        said = status.get("phase") or "without a status"
        raise InvalidValue(f"{where} has no address yet: it is {said}.", remedy="See `kubectl describe`.")
    hourly = (status.get("cost") or {}).get("hourlyUSD")
    secret = status.get("apiKeySecret")
    contender = Contender(
        name=text,
        endpoint=Endpoint(url=url, api_key=_key(kubernetes, secret, namespace) if secret else None),
        price=Price(usd_per_hour=float(hourly)) if hourly is not None else None,
    )
    price = f",price={hourly}/h" if hourly is not None else ""
    remedy = (
        f"Outside the cluster its Service must be made reachable: kubectl port-forward -n {namespace} service/{name} "
        f"{LOCAL_PORT}:80, then --endpoint {name}=http://localhost:{LOCAL_PORT}{price}"
    )
    return Deployed(with_model(contender, find_model(str(status.get("model")))), remedy)


def _key(kubernetes: Any, secret: str, namespace: str) -> str:
    core = kubernetes.client.CoreV1Api()
    where = f"Secret {secret} in namespace {namespace}"
    found = _asked(
        kubernetes, where, lambda: core.read_namespaced_secret(secret, namespace, _request_timeout=ANSWER_SECONDS)
    )
    try:
        return base64.b64decode((found.data or {})[KEY], validate=True).decode()
    except (KeyError, binascii.Error, UnicodeDecodeError) as error:
        raise InvalidValue(f"{where} holds no key under {KEY!r}.") from error


def _asked(kubernetes: Any, where: str, ask: Any) -> Any:
    """What the API server answers; raises InvalidValue for what is not there, NotReachable for what it refuses."""
    from urllib3.exceptions import HTTPError

    try:
        return ask()
    except kubernetes.client.ApiException as error:
        if error.status == 404:
            raise InvalidValue(f"there is no {where}.", remedy=f"See `kubectl get {PLURAL} -A`.") from error
        raise NotReachable(f"the cluster does not show {where}: {error.status} {error.reason}.") from error
    except (HTTPError, OSError) as error:
        raise not_answering(error) from error
