"""Which GPUs a pod of this cluster could be given: nodes by product label, and what the chart's values declare.

Slices, partitions and shared GPUs are never taken for the whole GPU: plans are for whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from vlmctl.catalog.names import resolve_gpu
from vlmctl.errors import UnknownName
from vlmctl.serving.kubernetes import GPU_RESOURCES, PRODUCT_LABELS
from vlmctl.serving.node_prices import Price, dearer, list_price, node_price
from vlmctl.specs.hardware import Catalog, GpuSpec
from vlmctl.specs.inventory import DeclaredPool, Inventory, Pool

DECLARED = "declared in the chart's values"

# How NVIDIA's feature discovery tells GPUs that are not given whole (k8s-device-plugin, docs of gpu-feature-discovery).
MIG_IN_PRODUCT = "-MIG-"  # strategy `single`: every slice is offered as nvidia.com/gpu
MIG_RESOURCES = "nvidia.com/mig-"  # strategy `mixed`
SHARED_PRODUCT = "-SHARED"
SHARED_RESOURCE = ".shared"  # appended to the resource's name, where `renameByDefault` is set
SHARING_LABEL, NOT_SHARED = "nvidia.com/gpu.sharing-strategy", ("", "none")
REPLICAS_LABEL, ONE_REPLICA = "nvidia.com/gpu.replicas", ("", "0", "1")
VGPU_LABEL = "nvidia.com/vgpu.present"
# How AMD's node labeller tells partitions (ROCm/k8s-device-plugin): only `spx` offers the whole GPU.
PARTITION_LABEL, WHOLE_PARTITION = "amd.com/compute-memory-partition", "spx"

Labels = Mapping[str, str]
Node = Mapping[str, Any]  # as the API server writes it


class _Known(NamedTuple):
    """What a product label stands for, and what its device plugin offers."""

    gpu: GpuSpec
    resource: str


def inventory(nodes: Iterable[Node], declared: Sequence[DeclaredPool], catalog: Catalog) -> Inventory:
    """Every pool of whole GPUs, nodes with the same product and number of GPUs together, sorted.

    `nodes`: Node objects; none where the operator may not read them. A declared price holds for the nodes of its
    product, those with as many GPUs first; where several could be meant, the dearest is taken.
    """
    unknown: set[str] = set()
    from_values = _declared(declared, catalog, unknown)
    known = _known(catalog, from_values)
    keys = tuple(dict.fromkeys(label for label, _ in known))  # those of the values first
    from_nodes: list[Pool] = []
    for node in nodes:
        pool = _pool(node, known, keys)
        if isinstance(pool, str):
            unknown.add(pool)
        elif pool is not None:
            price = _declared_price(pool, from_values) or node_price(_labels(node), pool.gpu, catalog)
            from_nodes.append(_priced(pool, price))
    found = {**_together(from_values), **_together(from_nodes)}
    pools = [
        pool if pool.usd_per_gpu_hour is not None else _priced(pool, list_price(pool.gpu, catalog))
        for pool in found.values()
    ]
    pools.sort(key=lambda pool: (pool.gpu, pool.label, pool.product, pool.gpus_per_node))
    return Inventory(pools=tuple(pools), unknown=tuple(sorted(unknown)))


def declared_pools(declared: Sequence[DeclaredPool], catalog: Catalog) -> tuple[Pool, ...]:
    """Those that the values name a price for, with the dearest where they say several of the same nodes."""
    pools = [pool for pool in _declared(declared, catalog, set()) if pool.usd_per_gpu_hour is not None]
    return tuple(_together(pools).values())


def _declared(declared: Sequence[DeclaredPool], catalog: Catalog, unknown: set[str]) -> tuple[Pool, ...]:
    """Pools of the values; a GPU whose nodes may carry one of several labels is declared under each of them."""
    pools: list[Pool] = []
    for each in declared:
        try:
            gpu = resolve_gpu(catalog, each.gpu)
        except UnknownName as error:
            unknown.add(f"{each.gpu}: declared, but {error}")
            continue
        label = each.label or PRODUCT_LABELS.get(gpu.vendor)
        resource = each.resource or GPU_RESOURCES.get(gpu.vendor)
        named = each.product or (each.gpu if each.gpu in gpu.kubernetes_labels else None)
        products = (named,) if named else gpu.kubernetes_labels
        if label is None or resource is None or not products:
            unknown.add(f"{each.gpu}: declared without the label, product and resource of its nodes")
            continue
        pools.extend(
            Pool(
                gpu=gpu.id,
                label=label,
                product=product,
                resource=resource,
                gpus_per_node=each.gpus_per_node,
                nodes=each.nodes,
                usd_per_gpu_hour=each.usd_per_gpu_hour,
                price_source=DECLARED if each.usd_per_gpu_hour is not None else "unknown",
                price_as_of=each.price_as_of,
                declared=True,
            )
            for product in products
        )
    return tuple(pools)


def _known(catalog: Catalog, declared: Sequence[Pool]) -> dict[tuple[str, str], _Known]:
    """GPU and resource by label and product, the values' own first."""
    gpus = {gpu.id: gpu for gpu in catalog.gpus}
    known = {(pool.label, pool.product): _Known(gpus[pool.gpu], pool.resource) for pool in declared}
    for gpu in catalog.gpus:
        label = PRODUCT_LABELS.get(gpu.vendor)
        for product in gpu.kubernetes_labels if label is not None else ():
            known.setdefault((str(label), product), _Known(gpu, GPU_RESOURCES[gpu.vendor]))
    return known


def _pool(node: Node, known: Mapping[tuple[str, str], _Known], keys: Sequence[str]) -> Pool | str | None:
    """The pool that a node makes by itself, why its GPUs do not count, or None where it has none."""
    labels, allocatable = _labels(node), _allocatable(node)
    carried = [(key, labels[key]) for key in keys if key in labels]
    pair = next((pair for pair in carried if pair in known), None)
    if pair is None:
        if carried:
            return f"{carried[0][1]}: {_not_whole(labels, carried[0][1]) or 'no GPU of the catalog has this label'}"
        offered = sorted({resource for _, resource in known.values() if allocatable.get(resource, 0) > 0})
        return f"{offered[0]}: its nodes carry none of the labels {', '.join(keys)}" if offered else None
    gpu, resource = known[pair]
    gpus = allocatable.get(resource, 0)
    reason = _not_whole(labels, pair[1]) or ("" if gpus else _none_allocatable(allocatable, resource))
    if not reason and (node.get("spec") or {}).get("unschedulable"):
        reason = "cordoned nodes are left out"
    if reason:
        return f"{pair[1]}: {reason}"
    return Pool(gpu=gpu.id, label=pair[0], product=pair[1], resource=resource, gpus_per_node=gpus, nodes=1)


def _not_whole(labels: Labels, product: str) -> str:
    """Why the node's GPUs are not given whole; empty where they are."""
    if MIG_IN_PRODUCT in product:
        return "MIG slices, and plans are for whole GPUs"
    shared = labels.get(SHARING_LABEL, "") not in NOT_SHARED or labels.get(REPLICAS_LABEL, "") not in ONE_REPLICA
    if shared or product.endswith(SHARED_PRODUCT):
        return "GPUs that several pods share, and plans are for whole GPUs"
    if labels.get(VGPU_LABEL) == "true":
        return "virtual GPUs, and plans are for whole GPUs"
    if not labels.get(PARTITION_LABEL, WHOLE_PARTITION).startswith(WHOLE_PARTITION):
        return "partitions of a GPU, and plans are for whole GPUs"
    return ""


def _none_allocatable(allocatable: Mapping[str, int], resource: str) -> str:
    if any(name.startswith(MIG_RESOURCES) and count for name, count in allocatable.items()):
        return "MIG slices, and plans are for whole GPUs"
    if allocatable.get(resource + SHARED_RESOURCE):
        return "GPUs that several pods share, and plans are for whole GPUs"
    return f"no {resource} is allocatable, as where the device plugin does not run"


def _declared_price(pool: Pool, declared: Sequence[Pool]) -> Price | None:
    alike = [each for each in declared if (each.label, each.product) == (pool.label, pool.product)]
    exact = [each for each in alike if each.gpus_per_node == pool.gpus_per_node]
    prices = [_price(each) for each in exact or alike]
    return max((price for price in prices if price is not None), key=lambda price: price.usd_per_gpu_hour, default=None)


def _price(pool: Pool) -> Price | None:
    if pool.usd_per_gpu_hour is None:
        return None
    return Price(pool.usd_per_gpu_hour, pool.price_source, pool.price_as_of)


def _priced(pool: Pool, price: Price | None) -> Pool:
    if price is None:
        return pool
    usd, source, as_of = price
    return replace(pool, usd_per_gpu_hour=usd, price_source=source, price_as_of=as_of)


def _together(pools: Iterable[Pool]) -> dict[tuple[str, str, int], Pool]:
    """One pool of all nodes that a pod cannot tell apart, at the price of the dearest."""
    found: dict[tuple[str, str, int], Pool] = {}
    for pool in pools:
        key = (pool.label, pool.product, pool.gpus_per_node)
        one = found.get(key)
        if one is not None:
            pool = replace(_priced(one, dearer(_price(one), _price(pool))), nodes=one.nodes + pool.nodes)
        found[key] = pool
    return found


def _labels(node: Node) -> dict[str, str]:
    return (node.get("metadata") or {}).get("labels") or {}


def _allocatable(node: Node) -> dict[str, int]:
    """Extended resources by name; they are whole numbers, so what is none (memory, say) is none of ours."""
    return dict(_whole_numbers((node.get("status") or {}).get("allocatable") or {}))


def _whole_numbers(quantities: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, quantity in quantities.items():
        text = str(quantity)
        if text.isdecimal():
            yield name, int(text)
