"""VLMDeployments as contenders: read from a scripted API server over HTTP by the real Kubernetes client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import GROUP, api_server, kubeconfig, use
from tests.support.command_line import CommandLine, command_line
from vlmctl import library
from vlmctl.compare.contenders import Price
from vlmctl.compare.deployments import deployed
from vlmctl.errors import InvalidValue, NotReachable, UsageError
from vlmctl.specs.model import ModelSpec

STATUS = {"phase": "Ready", "url": "http://ocr.team.svc", "model": "qwen2.5-vl-7b", "cost": {"hourlyUSD": "2.40"}}
OBJECTS: dict[str, Any] = {
    f"{GROUP}/namespaces/team/vlmdeployments/ocr": {"status": STATUS},
    f"{GROUP}/namespaces/other/vlmdeployments/ocr": {"status": {**STATUS, "apiKeySecret": "ocr-api-key", "cost": None}},
    f"{GROUP}/namespaces/team/vlmdeployments/new": {"status": {"phase": "Planning"}},
    f"{GROUP}/namespaces/team/vlmdeployments/bare": {},
    f"{GROUP}/namespaces/team/vlmdeployments/keyless": {"status": {**STATUS, "apiKeySecret": "empty"}},
    f"{GROUP}/namespaces/team/vlmdeployments/gone": {"status": {**STATUS, "url": "http://127.0.0.1:9"}},
    "/api/v1/namespaces/other/secrets/ocr-api-key": {"data": {"api-key": base64.b64encode(b"hidden").decode()}},
    "/api/v1/namespaces/team/secrets/empty": {"data": {}},
}


def find(name: str) -> ModelSpec | None:
    return library.find_model(name)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kubeconfig whose context is namespace `team` of a scripted API server."""
    with api_server(OBJECTS) as address:
        use(kubeconfig(tmp_path / "config", address, "team"), monkeypatch)
        yield


@pytest.mark.usefixtures("cluster")
def test_address_price_and_model_are_those_of_the_status() -> None:
    """The namespace is the context's unless it is said; a deployment that asks for a key gets it from its Secret."""
    own, other = deployed(["ocr", "ocr.other"], find)
    assert own.contender.endpoint is not None
    assert own.contender.endpoint.url == "http://ocr.team.svc"
    assert own.contender.endpoint.api_key is None
    assert own.contender.price == Price(usd_per_hour=2.4)
    assert own.contender.catalog_id == "qwen2.5-vl-7b"
    assert own.contender.frame is not None
    assert "kubectl port-forward -n team service/ocr 8000:80" in own.remedy
    assert "--endpoint ocr=http://localhost:8000,price=2.40/h" in own.remedy
    assert other.contender.name == "ocr.other"
    assert other.contender.endpoint is not None
    assert other.contender.endpoint.api_key == "hidden"
    assert other.contender.price is None
    assert "hidden" not in repr(other)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("none", InvalidValue, "there is no VLMDeployment none in namespace team"),
        ("ocr.nowhere", InvalidValue, "in namespace nowhere"),
        ("ocr.forbidden", NotReachable, "403"),
        ("new", InvalidValue, "has no address yet: it is Planning"),
        ("bare", InvalidValue, "has no address yet: it is without a status"),
        ("keyless", InvalidValue, "Secret empty in namespace team holds no key"),
        (".team", InvalidValue, "NAME or NAME.NAMESPACE"),
        ("ocr.", InvalidValue, "NAME or NAME.NAMESPACE"),
    ],
)
def test_what_cannot_be_compared_is_said(name: str, error: type[Exception], said: str) -> None:
    """Which object, in which namespace, and why not."""
    with pytest.raises(error, match=said):
        deployed([name], find)


def test_without_a_kubeconfig_the_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a mistake of usage, not of the cluster."""
    use(tmp_path / "none", monkeypatch)
    with pytest.raises(UsageError, match=r"there is no cluster.*KUBECONFIG"):
        deployed(["ocr"], find)


def test_a_cluster_that_is_down_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the address of the kubeconfig, which names no namespace."""
    use(kubeconfig(tmp_path / "config", "http://127.0.0.1:9", None), monkeypatch)
    with pytest.raises(NotReachable, match="the cluster does not answer"):
        deployed(["ocr"], find)


@pytest.fixture
def vlmctl(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


@pytest.mark.usefixtures("cluster")
def test_outside_the_cluster_the_way_in_is_told(vlmctl: CommandLine, tmp_path: Path) -> None:
    """An address that is not reached ends with the command that makes it reachable, before anything is asked."""
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    cases = tmp_path / "cases.yaml"
    case = "{id: a, images: [a.png], question: What?, metric: exact, expected: x}"
    cases.write_text(f"schema: vlmctl.dev/cases/v1\ncases:\n- {case}\n")
    ran = vlmctl("compare", "--cases", str(cases), "--deployment", "gone")
    assert ran.code == 4
    assert "kubectl port-forward -n team service/gone 8000:80" in ran.err
