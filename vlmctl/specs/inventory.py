"""GPUs of a cluster: nodes of one kind, as they are found or declared."""

from vlmctl.specs.record import Record


class Pool(Record, frozen=True, kw_only=True):
    """Nodes of one kind. `gpu`: its id in the catalog; `label` and `product`: the node label that tells it, `resource`:
    what its device plugin offers. `usd_per_gpu_hour` of None: no price is known.

    `declared`: from the chart's values, where nodes may not exist yet.
    """

    gpu: str
    label: str
    product: str
    resource: str
    gpus_per_node: int
    nodes: int
    usd_per_gpu_hour: float | None = None
    price_source: str = "unknown"
    price_as_of: str = "unknown"
    declared: bool = False


class DeclaredPool(Record, frozen=True, kw_only=True):
    """Nodes of one kind as the chart's values declare them: those at zero nodes, and the price of those that are paid.

    `gpu`: a name of the catalog's, or the product label of its nodes. `label`, `product`, `resource`: where nodes are
    told apart, and GPUs asked for, by other words than the vendor's usual ones.
    """

    gpu: str
    gpus_per_node: int = 1
    nodes: int = 0
    usd_per_gpu_hour: float | None = None
    price_as_of: str = "unknown"
    label: str | None = None
    product: str | None = None
    resource: str | None = None


class Inventory(Record, frozen=True, kw_only=True):
    """GPUs that a pod could be given. `unknown`: product labels that no GPU of the catalog goes by, and why."""

    pools: tuple[Pool, ...] = ()
    unknown: tuple[str, ...] = ()
