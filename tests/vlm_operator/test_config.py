"""The operator's configuration file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from vlm_operator.config import OperatorConfig, read_config
from vlm_operator.desired import Monitors
from vlm_operator.network import Prometheus

from vlmctl.errors import InvalidFile
from vlmctl.specs.inventory import DeclaredPool
from vlmctl.specs.workload import LicensePolicy

WHOLE = """
namespaces: [team]
agentImage: registry.example/vlm-operator:1
proxyImage: registry.example/haproxy@sha256:0123
prometheus: {namespaceLabels: {name: monitoring}, podLabels: {}}
monitors: {labels: {release: prometheus}, interval: ""}
engineImage: ""
inventory:
- {gpu: l4, gpusPerNode: 2, usdPerGpuHour: "0.71"}
policy:
  license: commercial
  maxUsdPer1k: ""
  maxUsdPerMonth: 900
  remoteCode: [acme/reader@0123456789012345678901234567890123456789]
  imageRegistries: [ghcr.io]
  mediaDomains: [images.example]
lease: {name: ours}
workers: 4
"""


def written(folder: Path, text: str) -> dict[str, str]:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return {"VLM_OPERATOR_CONFIG": str(path)}


def test_no_file_means_defaults() -> None:
    """Without a file the whole cluster is served, and the Lease lies in the pod's namespace."""
    config = read_config({"POD_NAME": "operator-0", "POD_NAMESPACE": "system"})
    assert config == OperatorConfig(pod_name="operator-0", pod_namespace="system")
    assert config.lease_namespace == "system"


def test_an_empty_file_means_defaults(tmp_path: Path) -> None:
    """A chart without values writes an empty file."""
    config = read_config(written(tmp_path, ""))
    assert replace(config, pod_name="") == OperatorConfig()


def test_two_operators_that_nobody_named_are_two() -> None:
    """Each process is its own holder of the Lease: with one name for both, both would lead."""
    own = read_config({}).pod_name
    told = subprocess.run(
        [sys.executable, "-c", "from vlm_operator.config import read_config; print(read_config({}).pod_name)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert own
    assert told.stdout.strip() not in ("", own)


def test_names_are_camel_case_and_empty_is_not_given(tmp_path: Path) -> None:
    """Fields are written as in Kubernetes; an empty text is what a chart has for nothing."""
    config = read_config(written(tmp_path, WHOLE))
    assert config.namespaces == ("team",)
    assert config.engine_image is None
    assert config.proxy_image == "registry.example/haproxy@sha256:0123"
    assert config.prometheus == Prometheus(namespace_labels={"name": "monitoring"})
    assert config.monitors == Monitors(labels={"release": "prometheus"}, interval="30s")
    assert config.inventory == (DeclaredPool(gpu="l4", gpus_per_node=2, usd_per_gpu_hour=0.71),)
    assert config.policy.license is LicensePolicy.COMMERCIAL
    assert (config.policy.max_usd_per_1k, config.policy.max_usd_per_month) == (None, 900.0)
    assert config.policy.remote_code == (f"acme/reader@{4 * '0123456789'}",)
    assert config.policy.media_domains == ("images.example",)
    assert config.lease.name == "ours"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policy: {licence: any}", "licence"),
        ("policy: {remoteCode: [acme/reader@main]}", "remote_code[0]"),
        ("workers: many", "workers"),
        ("inventory: [l4]", "l4"),
        ("logLevel: LOUD", "LOUD"),
        ("[", "while parsing"),
        ("text", "config.yaml"),
    ],
)
def test_mistakes_are_told_with_the_file(tmp_path: Path, text: str, told: str) -> None:
    """A mistake names the file and what is wrong, in one line."""
    with pytest.raises(InvalidFile) as caught:
        read_config(written(tmp_path, text))
    assert "config.yaml" in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A path that leads nowhere is an error, and no reason for defaults."""
    with pytest.raises(InvalidFile, match="cannot be read"):
        read_config({"VLM_OPERATOR_CONFIG": str(tmp_path / "none.yaml")})
