"""Every value of the chart does something, and the chart's own tests would tell if it did not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from vlm_operator.config import PATH_VARIABLE, OperatorConfig, read_config
from vlm_operator.desired import Monitors
from vlm_operator.network import Prometheus
from vlm_operator.pod_defaults import PodDefaults
from vlm_operator.policy import Policy
from vlm_operator.scalers import RETRY_PORT, ScalingSettings

from docs.generate import air_gapped
from docs.generate._chart import CHART, Value, values
from vlmctl.specs.inventory import DeclaredPool
from vlmctl.specs.workload import LicensePolicy

DEFAULTS = OperatorConfig()
CODE = f"acme/reader@{40 * 'a'}"


def used_in(folder: Path) -> Iterator[Path]:
    """The templates, of which one may use a value."""
    yield from sorted(path for path in (folder / "templates").rglob("*") if path.suffix in (".yaml", ".tpl", ".txt"))


def fixed(value: Value, folder: Path) -> int:
    """Put the value's default in the place of the value in every template; gives how often it was there."""
    name = re.compile(rf"(?:\$|(?<=[ (]))\.Values\.{re.escape('.'.join(value.path))}(?![\w.])")
    default = f'(index (fromJson {json.dumps(json.dumps({"v": value.default}))}) "v")'
    count = 0
    for path in used_in(folder):
        text, times = name.subn(lambda _: default, path.read_text())
        path.write_text(text)
        count += times
    return count


def rendered(program: Path, folder: Path) -> str:
    """All that is installed by default."""
    told = subprocess.run((program, "template", "vlm-operator", folder), capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout


def suites(program: Path, folder: Path) -> bool:
    """Whether the chart's unit tests pass."""
    done = subprocess.run((program, "--strict", folder), capture_output=True, text=True, timeout=60)
    return done.returncode == 0


@pytest.mark.parametrize("value", values(), ids=lambda value: ".".join(value.path))
def test_each_value_is_used_and_tested(value: Value, cluster_bin: Path, tmp_path: Path) -> None:
    """With the default in its place everywhere, as if it were not read, a unit test of the chart fails."""
    folder = tmp_path / CHART.name
    shutil.copytree(CHART, folder)
    assert fixed(value, folder) > 0
    assert rendered(cluster_bin / "helm", folder) == rendered(cluster_bin / "helm", CHART)
    assert not suites(cluster_bin / "helm-unittest", folder)


def test_the_chart_passes(cluster_bin: Path) -> None:
    """As it is."""
    assert suites(cluster_bin / "helm-unittest", CHART)


def test_the_operator_reads_what_the_chart_writes(cluster_bin: Path, tmp_path: Path) -> None:
    """Each value arrives in the operator's configuration under its own name."""
    policy = {"license": "commercial", "maxUSDPer1k": "2.5", "maxUSDPerMonth": "1000", "remoteCode": [CODE]}
    given = {
        "image": {"repository": "registry.example/operator", "tag": "v9"},
        "watchNamespaces": ["team-a"],
        "inventory": [{"gpu": "l4", "nodes": 2, "usdPerGpuHour": 0.7}],
        "policy": {**policy, "imageRegistries": ["ghcr.io"], "mediaDomains": ["images.example"]},
        "engine": {"image": "vllm:1", "imagePullSecrets": ["registry"], "priorityClassName": "serving"},
        "proxy": {"image": "haproxy:1"},
        "scaling": {
            "prometheus": "http://p:9090",
            "externalMetric": "m",
            "externalMetricLabel": "example.com/of",
            "httpScaler": "s:1",
            "clusterDomain": "corp.example",
            "intervalSeconds": 5,
        },
        "hub": {"endpoint": "https://hub.example"},
        "prometheus": {"namespaceLabels": {"name": "monitoring"}, "podLabels": {"app": "prometheus"}},
        "podMonitor": {"labels": {"release": "prometheus"}, "interval": "10s"},
        "operator": {"workers": 4, "logLevel": "DEBUG"},
    }
    (tmp_path / "values.yaml").write_text(json.dumps(given))
    told = subprocess.run(
        (cluster_bin / "helm", "template", "vlm-operator", CHART, "-f", tmp_path / "values.yaml",
         "--namespace", "vlm-system", "--show-only", "templates/configmap.yaml"),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_load(told.stdout)["data"]["config.yaml"])
    expected = OperatorConfig(
        namespaces=("team-a",),
        agent_image="registry.example/operator:v9",
        proxy_image="haproxy:1",
        engine_image="vllm:1",
        inventory=(DeclaredPool(gpu="l4", nodes=2, usd_per_gpu_hour=0.7),),
        policy=Policy(
            license=LicensePolicy.COMMERCIAL,
            max_usd_per_1k=2.5,
            max_usd_per_month=1000,
            remote_code=(CODE,),
            image_registries=("ghcr.io",),
            media_domains=("images.example",),
        ),
        scaling=ScalingSettings(
            prometheus="http://p:9090",
            external_metric="m",
            external_metric_label="example.com/of",
            http_scaler="s:1",
            retry_host="vlm-operator.vlm-system.svc.corp.example",
            interval_seconds=5,
        ),
        hub_endpoint="https://hub.example",
        prometheus=Prometheus(namespace_labels={"name": "monitoring"}, pod_labels={"app": "prometheus"}),
        monitors=Monitors(labels={"release": "prometheus"}, interval="10s"),
        pod_defaults=PodDefaults(image_pull_secrets=("registry",), priority_class_name="serving"),
        workers=4,
        log_level="DEBUG",
        pod_name="one",
        pod_namespace="vlm-system",
    )
    environment = {PATH_VARIABLE: str(tmp_path / "config.yaml"), "POD_NAME": "one", "POD_NAMESPACE": "vlm-system"}
    assert read_config(environment) == expected
    fields = {name for name in OperatorConfig.__struct_fields__ if getattr(expected, name) != getattr(DEFAULTS, name)}
    assert fields == set(OperatorConfig.__struct_fields__) - {"lease", "port"}


def test_whoever_waited_for_too_long_is_led_to_where_the_operator_listens(cluster_bin: Path) -> None:
    """The Service's port and the container's are the one that is written into routes."""
    made = [each for each in yaml.safe_load_all(rendered(cluster_bin / "helm", CHART)) if each]
    found = {each["kind"]: each["spec"] for each in made if each["kind"] in ("Service", "Deployment")}
    (container,) = found["Deployment"]["template"]["spec"]["containers"]
    (port,) = (each for each in found["Service"]["ports"] if each["name"] == "retry")
    assert (port["port"], port["targetPort"]) == (RETRY_PORT, "retry")
    assert [each["containerPort"] for each in container["ports"] if each["name"] == "retry"] == [RETRY_PORT]


def test_the_values_for_no_network_are_rendered(cluster_bin: Path, tmp_path: Path) -> None:
    """Those of docs/air-gapped.md, with digests in their place: no image of a pod is from elsewhere."""
    (tmp_path / "values.yaml").write_text(air_gapped.VALUES.replace("sha256:...", "sha256:" + "0" * 64))
    told = subprocess.run(
        (cluster_bin / "helm", "template", "vlm-operator", CHART, "-f", tmp_path / "values.yaml"),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    images = re.findall(r"[iI]mage: \W*([\w./:@-]+)", told.stdout)
    assert len(images) >= 4  # the operator's, the agent's, the engine's and the proxy's
    assert {each.partition("/")[0] for each in images} == {"registry.example"}
    assert "hub.registry.example" in told.stdout
