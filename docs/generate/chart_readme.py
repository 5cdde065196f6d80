"""README of the chart: how it is installed and removed, and all its values."""

from __future__ import annotations

import json

from tabulate import tabulate

from docs.generate import _chart

PAGE = "../charts/vlm-operator/README.md"
TEXT = """# vlm-operator

Runs open vision-language models on your GPUs: `kubectl apply` a `VLMDeployment`, and get vLLM pods that benchmark
themselves with images before they take traffic, with measured speed and cost in `.status`.
[docs/operator.md](../../docs/operator.md) takes you from nothing to a served model.

    helm install vlm-operator charts/vlm-operator --namespace vlm-system --create-namespace

Uninstalling leaves the CustomResourceDefinitions and so all VLMDeployments and their measurements
(`crds.keep`); their pods go on serving. To remove everything:

    kubectl delete vlmdeployments,vlmbenchmarks --all --all-namespaces
    helm uninstall vlm-operator --namespace vlm-system
    kubectl delete crd vlmdeployments.vlmctl.dev vlmbenchmarks.vlmctl.dev
    kubectl delete namespace vlm-system

The CustomResourceDefinitions that stay are marked as those of the old release. By the same name in the same namespace
it can be installed again; by another name, or in another namespace, Helm refuses with `invalid ownership metadata`
unless `--take-ownership` (Helm 3.17 or newer) or `--set crds.install=false` is given. A second release beside the first
one needs `--set crds.install=false`, and `watchNamespaces` of its own: two releases must not serve the same namespace.
Keep them on one version, and upgrade first the one that has the definitions.

## Values

Written from the comments in `values.yaml`; values that are not in this list are refused.

"""


def render() -> str:
    """The page in Markdown."""
    rows = [
        (f"`{'.'.join(value.path)}`", value.description.replace("|", "\\|"), f"`{json.dumps(value.default)}`")
        for value in _chart.values()
    ]
    table = tabulate(rows, headers=("Value", "What it is", "Default"), tablefmt="pipe", disable_numparse=True)
    # Padding says nothing and makes every change touch every line.
    lean = "\n".join("|".join(f" {cell.strip()} " for cell in line.split("|")).strip() for line in table.splitlines())
    return TEXT + lean + "\n"
