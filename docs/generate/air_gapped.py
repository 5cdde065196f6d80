"""docs/air-gapped.md: an installation without any network, with the images that this version runs."""

from __future__ import annotations

from vlm_operator import config, proxy

from vlmctl.serving import host

PAGE = "air-gapped.md"
VALUES = """\
# values.yaml
image: {repository: registry.example/vlmctl/vlm-operator, digest: "sha256:..."}
imagePullSecrets: [registry]
engine:
  image: registry.example/vllm/vllm-openai@sha256:...
  imagePullSecrets: [registry]     # in each namespace of VLMDeployments
proxy: {image: "registry.example/library/haproxy@sha256:..."}
hub: {endpoint: "https://hub.registry.example"}  # where there is a mirror of the hub
"""
TEXT = """\
# Without a network

<!-- Written by `make docs` from docs/generate/air_gapped.py, with the images of this version. -->

The operator asks nobody but the API server and its own pods: the catalog of models, GPUs and prices is in its image.
What comes from elsewhere are three images, and the weights.

## Images

| image | for | value of the chart |
|---|---|---|
{images}

Tags move, digests do not. A registry of yours says what it got, and that is what to pin:

```console
$ skopeo copy --all docker://{proxy} docker://registry.example/library/haproxy:3.0  # needs a network
$ skopeo inspect --format '{{{{.Digest}}}}' docker://registry.example/library/haproxy:3.0  # needs a network
```

The operator's own image can be built from this repository instead: `make image` prints an archive that
`skopeo copy docker-archive:FILE docker://...` and `ctr --namespace k8s.io images import FILE` take. In it,
`/opt/vlm-operator/sbom.cdx.json` lists every Debian and Python package (CycloneDX).

```yaml
{values}```

`engine.image` must be of the release in the table: plans are made for its arguments.

## Weights

One of these, in each VLMDeployment or by `hub.endpoint` for all:

- **A mirror of the hub** (`hub.endpoint`): whatever answers as huggingface.co does. With `spec.cache.pvc` one Job reads
  from it, and no pod that serves goes out at all.
- **A volume** that holds the checkpoint: `spec.model.source.pvc`.
- **An image** that holds it, where the cluster mounts images: `spec.model.source.image`. Name the path of weights
  alone, such as `policy.imageRegistries: [registry.example/weights]`. VLMDeployments may take engines from there too:
  whoever may push there may run code in their namespaces. Without that value, as above, they name no image at all.

With a volume or an image the engine's NetworkPolicy lets nothing out. Examples of all three:
[operator.md](operator.md).

## Chart

`helm package charts/vlm-operator` makes one file with the definitions, rules and dashboard in it. It depends on no
other chart.

## Tried

With the network cut: `tests/cluster/node/test_air_gapped.py`, a part of `make test-cluster`, has the whole cluster in a
network namespace where the one device that leads anywhere is the link to the node, and where connecting to any other
address fails at once. API server, containerd, kubelet, pods, `kubectl` and `helm` all run in there. The chart is
packaged and installed from that file with the values above, digests filled in. The node pulls the three images by
digest, with the Secret `registry`, from a registry in the same namespace, and has no other but the one that holds pods
open. A VLMDeployment whose weights are on a volume comes ready, measures itself and answers a question about an image;
`helm test` passes.

What stands in there: a small registry that speaks HTTP, so that `skopeo` and your registry's certificate are not tried;
vLLM's build for CPUs with a tiny model under the image's name; HAProxy {haproxy} as Debian builds it. No test serves
weights from a mirror of the hub or from an image; the manifests of both are tested. vLLM's usage statistics and the
hub's telemetry are off in every pod (`VLLM_NO_USAGE_STATS`, `HF_HUB_DISABLE_TELEMETRY`).
"""


def render() -> str:
    """The page in Markdown."""
    rows = [
        (config.IMAGE, "the operator, the agent beside each engine, and `helm test`", "`image`"),
        *(
            (f"docker.io/{name}:v{host.ENGINE_VERSION}", f"vLLM for {vendor.upper()} GPUs", "`engine.image`")
            for vendor, name in host.IMAGES.items()
        ),
        (proxy.IMAGE, "the proxy before each engine", "`proxy.image`"),
    ]
    images = "\n".join(f"| `{image}` | {why} | {value} |" for image, why, value in rows)
    return TEXT.format(images=images, values=VALUES, proxy=proxy.IMAGE, haproxy=proxy.IMAGE.rpartition(":")[2])
