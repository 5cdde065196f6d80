"""Which GPUs a cluster is said to have: whole ones of known products, declared ones, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gpu_nodes import NVIDIA, PRODUCT, node
from vlmctl import library
from vlmctl.serving.inventory import DECLARED, inventory
from vlmctl.specs.hardware import Catalog, OfferKind
from vlmctl.specs.inventory import DeclaredPool, Inventory, Pool

CATALOG = library.load_catalog()
TYPE, REGION = "node_kubernetes_io__instance-type", "topology_kubernetes_io__region"


def of(*nodes: dict[str, Any], declared: tuple[DeclaredPool, ...] = ()) -> Inventory:
    return inventory(nodes, declared, CATALOG)


def only(found: Inventory) -> Pool:
    (pool,) = found.pools
    return pool


class TestNodes:
    def test_nodes_alike_make_one_pool(self) -> None:
        """By product label and number of GPUs; nodes without GPUs count for nothing."""
        found = of(node(), node(), node(gpus=1), node("NVIDIA-H100-80GB-HBM3", 8), node(None, 0))
        assert [(pool.gpu, pool.gpus_per_node, pool.nodes) for pool in found.pools] == [
            ("H100-SXM", 8, 1),
            ("L4", 1, 1),
            ("L4", 4, 2),
        ]
        assert {(pool.label, pool.resource, pool.declared) for pool in found.pools} == {(PRODUCT, NVIDIA, False)}
        assert found.unknown == ()

    def test_amd_nodes_have_their_own_label_and_resource(self) -> None:
        """As AMD's node labeller and device plugin name them."""
        labels = {"amd_com__gpu.product-name": "AMD_Instinct_MI300X_OAM"}
        pool = only(of(node(None, 8, resource="amd.com/gpu", **labels)))
        assert (pool.gpu, pool.label, pool.resource) == ("MI300X", "amd.com/gpu.product-name", "amd.com/gpu")

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            (node("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", 7), "MIG slices"),
            (node("NVIDIA-L4-SHARED", 16), "several pods share"),
            (node(nvidia_com__gpu_replicas="4"), "several pods share"),
            (node(**{"nvidia_com__gpu_sharing-strategy": "mps"}), "several pods share"),
            (node(gpus=16, resource="nvidia.com/gpu.shared"), "several pods share"),
            (node("NVIDIA-A100-SXM4-40GB", 7, resource="nvidia.com/mig-1g.5gb"), "MIG slices"),
            (node(nvidia_com__vgpu_present="true"), "virtual GPUs"),
            (node(gpus=0), "no nvidia.com/gpu is allocatable"),
            (node("NVIDIA-Quadro-9000"), "no GPU of the catalog"),
            (node(cordoned=True), "cordoned"),
            (node(None, 2), "carry none of the labels"),
            (
                node(
                    None,
                    64,
                    resource="amd.com/gpu",
                    **{
                        "amd_com__gpu.product-name": "AMD_Instinct_MI300X_OAM",
                        "amd_com__compute-memory-partition": "cpx_nps4",
                    },
                ),
                "partitions",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_is_no_whole_gpu_is_told_apart(self, bad: dict[str, Any], why: str) -> None:
        """Slices, partitions, shared and virtual GPUs are never taken for the whole one, and the reason is said."""
        found = of(bad, node("NVIDIA-L40S", 8))
        assert only(found).gpu == "L40S"
        assert why in found.unknown[0]
        assert len(found.unknown) == 1

    def test_whole_gpus_beside_slices_count(self) -> None:
        """MIG strategy `mixed` leaves the GPUs that are not sliced under the product's own name."""
        mixed = node("NVIDIA-A100-SXM4-40GB", 3)
        mixed["status"]["allocatable"]["nvidia.com/mig-1g.5gb"] = "7"
        assert only(of(mixed)).gpus_per_node == 3

    def test_sharing_that_is_off_is_no_sharing(self) -> None:
        """Feature discovery writes its labels on nodes that share nothing as well."""
        labels = {"nvidia_com__gpu_sharing-strategy": "none", "nvidia_com__gpu_replicas": "1"}
        assert only(of(node(**labels))).gpus_per_node == 4

    @given(st.permutations([node(), node(gpus=1), node("NVIDIA-H100-80GB-HBM3", 8), node("NVIDIA-L4-SHARED"), node()]))
    def test_the_order_of_nodes_does_not_matter(self, nodes: list[dict[str, Any]]) -> None:
        """The API server lists them as it likes."""
        assert of(*nodes) == of(*nodes[::-1])


class TestPrices:
    def test_a_declared_price_wins(self) -> None:
        """It is the cluster's own, for nodes of that product whatever their instance type."""
        labelled = node(**{TYPE: "g2-standard-48", REGION: "us-central1"})
        declared = DeclaredPool(gpu="NVIDIA-L4", gpus_per_node=4, usd_per_gpu_hour=0.25, price_as_of="2026-11-01")
        pool = only(of(labelled, declared=(declared,)))
        assert (pool.usd_per_gpu_hour, pool.price_source, pool.price_as_of) == (0.25, DECLARED, "2026-11-01")
        assert not pool.declared

    def test_the_instance_type_has_a_list_price(self) -> None:
        """That of the node's region, divided by its GPUs."""
        offer = next(
            each
            for each in CATALOG.offers
            if each.gpu_count > 1 and each.kind is OfferKind.ON_DEMAND and each.provider == "gcp" and each.gpu == "L4"
        )
        pool = only(of(node(gpus=offer.gpu_count, **{TYPE: offer.instance_type, REGION: offer.region})))
        assert pool.usd_per_gpu_hour == pytest.approx(offer.usd_per_hour / offer.gpu_count)
        assert offer.instance_type in pool.price_source
        assert "not this" not in pool.price_source

    def test_a_spot_machine_has_a_spot_price(self) -> None:
        """Provisioners label machines that may be taken back; the price list has its own price for them."""
        spot = next(each for each in CATALOG.offers if each.kind is OfferKind.SPOT and each.gpu == "L4")
        labels = {TYPE: spot.instance_type, REGION: spot.region}
        pool = only(of(node(gpus=spot.gpu_count, **labels, **{"cloud_google_com__gke-spot": "true"})))
        assert pool.usd_per_gpu_hour == pytest.approx(spot.usd_per_gpu_hour)
        assert "spot" in pool.price_source

    def test_without_either_it_is_a_list_price_and_says_so(self) -> None:
        """Of the cheapest machine with that GPU anywhere, marked as not this cluster's."""
        pool = only(of(node()))
        cheapest = min(
            each.usd_per_gpu_hour for each in CATALOG.offers if each.gpu == "L4" and each.kind is OfferKind.ON_DEMAND
        )
        assert pool.usd_per_gpu_hour == pytest.approx(cheapest)
        assert pool.price_source.endswith("not this cluster's")

    def test_a_gpu_that_nobody_offers_has_no_price(self) -> None:
        """Unknown, and said to be."""
        empty = Catalog(gpus=CATALOG.gpus)
        pool = only(inventory([node()], (), empty))
        assert (pool.usd_per_gpu_hour, pool.price_source) == (None, "unknown")

    def test_nodes_that_no_label_tells_apart_cost_what_the_dearest_does(self) -> None:
        """A pod may land on any of them."""
        prices = {
            offer.region: offer.usd_per_gpu_hour
            for offer in CATALOG.offers
            if offer.instance_type == "g2-standard-48" and offer.kind is OfferKind.ON_DEMAND
        }
        assert len(set(prices.values())) > 1
        pool = only(of(*(node(**{TYPE: "g2-standard-48", REGION: region}) for region in prices)))
        assert (pool.nodes, pool.usd_per_gpu_hour) == (len(prices), max(prices.values()))


class TestDeclared:
    def test_pools_without_nodes_are_there(self) -> None:
        """A node pool at zero nodes can be planned for, and a namespaced operator sees no nodes at all."""
        pool = only(of(declared=(DeclaredPool(gpu="L40S", gpus_per_node=4, usd_per_gpu_hour=1.2),)))
        assert (pool.gpu, pool.product, pool.gpus_per_node, pool.nodes, pool.declared) == (
            "L40S",
            "NVIDIA-L40S",
            4,
            0,
            True,
        )

    def test_a_gpu_with_several_labels_is_declared_under_each(self) -> None:
        """Its nodes may carry any of them; a product label that is named is meant alone."""
        gpu = next(gpu for gpu in CATALOG.gpus if len(gpu.kubernetes_labels) > 1)
        every = of(declared=(DeclaredPool(gpu=gpu.id),)).pools
        assert {pool.product for pool in every} == set(gpu.kubernetes_labels)
        assert only(of(declared=(DeclaredPool(gpu=gpu.kubernetes_labels[1]),))).product == gpu.kubernetes_labels[1]

    def test_other_labels_can_be_declared(self) -> None:
        """A cloud's own label tells its nodes, also those that feature discovery has labelled as well."""
        label = "cloud.google.com/gke-accelerator"
        declared = DeclaredPool(gpu="L4", gpus_per_node=4, label=label, product="nvidia-l4", usd_per_gpu_hour=0.5)
        own = node(None, 4)
        own["metadata"]["labels"][label] = "nvidia-l4"
        both = node("NVIDIA-L4", 4)
        both["metadata"]["labels"][label] = "nvidia-l4"
        pool = only(of(own, both, declared=(declared,)))
        assert (pool.label, pool.product, pool.nodes, pool.usd_per_gpu_hour) == (label, "nvidia-l4", 2, 0.5)

    def test_an_unknown_gpu_is_said_and_does_not_stop_the_rest(self) -> None:
        """A slip in the values must not take the planner down."""
        found = of(node(), declared=(DeclaredPool(gpu="L44"), DeclaredPool(gpu="Gaudi3")))
        assert only(found).gpu == "L4"
        assert "L44: declared, but unknown GPU" in found.unknown[1]
        assert "Gaudi3: declared without the label" in found.unknown[0]
