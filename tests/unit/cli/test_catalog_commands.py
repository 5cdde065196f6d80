"""Commands that show the catalog: what people see, and the keys that machines may rely on."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import CommandLine
from vlmctl.specs.model import ModelSpec

PAGE_WIDTH = 100
LIST_KEYS = {
    "id",
    "name",
    "repository",
    "family",
    "edition",
    "modality",
    "released",
    "parameters",
    "active_parameters",
    "context_tokens",
    "license",
    "license_commercial",
    "license_permissive",
    "resolution_strategy",
    "maximum_images",
    "capabilities",
    "served_by",
    "verified",
}
TOKEN_KEYS = {
    "model",
    "image",
    "images",
    "resized_width_pixels",
    "resized_height_pixels",
    "views",
    "columns",
    "rows",
    "image_tokens",
    "marker_tokens",
    "total_tokens",
    "request_tokens",
    "context_tokens",
    "context_share",
    "kv_cache_bytes",
    "verified",
}
PEOPLE = [
    ["models", "list"],
    ["models", "show", "qwen3-vl-235b-a22b"],
    ["models", "show", "deepseek-vl2"],
    ["models", "compare", "qwen2.5-vl-7b", "internvl3-8b", "llava-1.5-7b", "pixtral-12b", "gemma-3-27b"],
    ["gpus"],
    ["prices"],
    ["benchmarks"],
    ["benchmarks", "MMMU"],
    ["tokens", "qwen2.5-vl", "--image", "1680x2240"],
    ["catalog", "check"],
]


@pytest.mark.parametrize("words", PEOPLE, ids=" ".join)
def test_pages_fit_a_hundred_columns(words: list[str], vlmctl: CommandLine) -> None:
    """Where stdout is no terminal, no line is wider than a page."""
    ran = vlmctl(*words)
    assert (ran.code, ran.err) == (0, "")
    assert max(len(line) for line in ran.out.splitlines()) <= PAGE_WIDTH


@pytest.mark.parametrize("words", PEOPLE[:-1], ids=" ".join)
def test_markdown_tables_are_whole(words: list[str], vlmctl: CommandLine) -> None:
    """Every row of a Markdown table has as many cells as its header."""
    cells = 0
    for line in vlmctl(*words, "-o", "markdown").out.splitlines():
        now = line.replace("\\|", "").count("|")
        assert not (cells and now) or now == cells
        cells = now


def test_list_keys_are_stable(vlmctl: CommandLine) -> None:
    """`models list -o json` is an array of objects with the same keys each."""
    models = vlmctl("models", "list", "-o", "json").json
    assert len(models) > 100
    assert all(set(model) == LIST_KEYS for model in models)
    assert all(isinstance(model["parameters"], int) and isinstance(model["license"], str) for model in models)


def test_list_keys_are_documented() -> None:
    """docs/json.md names every key of `models list` and no other."""
    text = (Path(__file__).parents[3] / "docs" / "json.md").read_text(encoding="utf-8")
    section = text.split("## `vlmctl models list`")[1].split("##")[0]
    keys = {
        key
        for row in section.splitlines()
        if row.startswith("| `")
        for key in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert keys == LIST_KEYS


def test_formats_say_the_same(vlmctl: CommandLine) -> None:
    """JSON, YAML and CSV hold the same rows."""
    words = ("models", "list", "--family", "Pixtral")
    models = vlmctl(*words, "-o", "json").json
    assert yaml.safe_load(vlmctl(*words, "-o", "yaml").out) == models
    rows = list(csv.DictReader(io.StringIO(vlmctl(*words, "-o", "csv").out)))
    assert [row["id"] for row in rows] == [model["id"] for model in models]


def test_filters_narrow_the_list(vlmctl: CommandLine) -> None:
    """Licence, size and verification each leave only models that meet them."""
    models = vlmctl("models", "list", "--license", "permissive", "--max-params", "10", "--verified", "-o", "json").json
    assert models
    assert all(each["license_permissive"] and each["parameters"] <= 10e9 and each["verified"] for each in models)


def test_show_holds_every_field(vlmctl: CommandLine) -> None:
    """`models show -o json` is the whole record, fields at their defaults included."""
    shown = vlmctl("models", "show", "Qwen/Qwen2.5-VL-7B-Instruct", "-o", "json").json
    assert set(shown) == {*ModelSpec.__struct_fields__, "verified"}
    assert shown["id"] == "qwen2.5-vl-7b"


def test_a_family_lists_its_members(vlmctl: CommandLine) -> None:
    """`models show` of a family says who belongs to it."""
    shown = vlmctl("models", "show", "paligemma2", "-o", "json").json
    assert set(shown) == {"family", "members"}
    assert "paligemma2-3b" in vlmctl("models", "show", "paligemma2").out


def test_unverified_facts_are_marked(vlmctl: CommandLine) -> None:
    """A fact that nobody verified carries a mark, and the page says what the mark means."""
    models = vlmctl("models", "list", "-o", "json").json
    doubtful = next(model["id"] for model in models if not model["verified"])
    shown = vlmctl("models", "show", doubtful).out
    assert " *\n" in shown
    assert "* not verified" in shown


def test_compare_sets_scores_of_one_kind_side_by_side(vlmctl: CommandLine) -> None:
    """Each row of scores is one benchmark in one split and mode."""
    compared = vlmctl("models", "compare", "qwen2.5-vl-7b", "internvl3-8b", "-o", "json").json
    assert compared["image"] == "1680x2240"
    assert [model["id"] for model in compared["models"]] == ["qwen2.5-vl-7b", "internvl3-8b"]
    assert all(model["image_tokens"] > 0 and model["encoder"] for model in compared["models"])
    keys = [(row["benchmark"], row["split"], row["mode"]) for row in compared["scores"]]
    assert len(set(keys)) == len(keys)


def test_tokens_of_known_images(vlmctl: CommandLine) -> None:
    """A 1280x720 image is 1,196 tokens and 2 markers for Qwen2.5-VL, 576 whatever its size for LLaVA-1.5."""
    rows = vlmctl("tokens", "qwen2.5-vl-7b", "llava-1.5-7b", "--image", "1280x720", "-o", "json").json
    assert all(set(row) == TOKEN_KEYS for row in rows)
    assert [(row["image_tokens"], row["marker_tokens"]) for row in rows] == [(1196, 2), (576, 0)]
    assert rows[1]["kv_cache_bytes"] == 576 * 524_288


def test_tokens_of_several_images_add_up(vlmctl: CommandLine) -> None:
    """The share of the context and the KV cache are those of all images of a request."""
    one, four = (
        vlmctl("tokens", "qwen2.5-vl-7b", "--image", "1280x720", "--images", count, "-o", "json").json[0]
        for count in ("1", "4")
    )
    assert four["request_tokens"] == 4 * one["request_tokens"]
    assert four["kv_cache_bytes"] == 4 * one["kv_cache_bytes"]


def test_a_family_stands_for_its_members(vlmctl: CommandLine) -> None:
    """`tokens` takes a family where it takes a model."""
    rows = vlmctl("tokens", "pixtral", "--image", "1024x1024", "-o", "json").json
    assert {row["model"] for row in rows} >= {"pixtral-12b", "pixtral-large"}


def test_prices_come_cheapest_first(vlmctl: CommandLine) -> None:
    """Offers are sorted by price per GPU, each with the day it was read."""
    offers = vlmctl("prices", "--gpu", "l4", "--kind", "on-demand", "-o", "json").json
    prices = [offer["usd_per_gpu_hour"] for offer in offers]
    assert prices == sorted(prices)
    assert {offer["gpu"] for offer in offers} == {"L4"}
    assert all(offer["as_of"] and offer["source"] for offer in offers)


def test_gpus_name_their_cheapest_offer(vlmctl: CommandLine) -> None:
    """Each GPU has the price of its cheapest offer, null where there is none."""
    gpus = {gpu["id"]: gpu for gpu in vlmctl("gpus", "-o", "json").json}
    offers = vlmctl("prices", "--gpu", "L4", "--kind", "on-demand", "-o", "json").json
    assert gpus["L4"]["cheapest_on_demand_usd_per_gpu_hour"] == offers[0]["usd_per_gpu_hour"]
    assert any(gpu["cheapest_spot_usd_per_gpu_hour"] is None for gpu in gpus.values())


def test_benchmarks_rank_within_split_and_mode(vlmctl: CommandLine) -> None:
    """Leaders are ranked by score, apart for every split and mode."""
    found = vlmctl("benchmarks", "docvqa", "-o", "json").json
    kinds = [(each["split"], each["mode"]) for each in found["rankings"]]
    assert len(set(kinds)) == len(kinds) > 1
    for each in found["rankings"]:
        values = [row["value"] for row in each["ranking"]]
        assert values == sorted(values, reverse=True)


def test_an_overlay_adds_and_is_checked(tmp_path: Path, vlmctl: CommandLine) -> None:
    """A company's own price is shown beside the shipped ones; a mistake in its file is named with its line."""
    offers = tmp_path / "prices" / "ours.yaml"
    offers.parent.mkdir()
    offer = {
        "provider": "ours",
        "region": "cellar",
        "instance_type": "box",
        "gpu": "L4",
        "gpu_count": 1,
        "kind": "committed",
        "usd_per_hour": 0.11,
        "as_of": "2026-08-01",
        "source": "contract 7",
    }
    offers.write_text(yaml.safe_dump({"offers": [offer]}), encoding="utf-8")
    overlay = ("--catalog", str(tmp_path))
    assert vlmctl("prices", "--provider", "ours", *overlay, "-o", "json").json[0]["usd_per_hour"] == 0.11
    assert vlmctl("catalog", "check", str(tmp_path)).code == 0

    offers.write_text(yaml.safe_dump({"offers": [offer | {"gpu": "L44"}]}), encoding="utf-8")
    checked = vlmctl("catalog", "check", str(tmp_path), "-o", "json")
    assert checked.code == 2
    assert checked.json[0]["file"].endswith("ours.yaml")
    assert checked.json[0]["line"] > 1
    assert set(checked.json[0]) == {"file", "line", "problem", "remedy"}


def test_groups_and_the_top_show_their_help(vlmctl: CommandLine) -> None:
    """Called bare, the program and its groups say what they can do."""
    for words in ((), ("models",), ("catalog",)):
        ran = vlmctl(*words)
        assert ran.code == 0
        assert ran.out.startswith("Usage: vlmctl")


def test_version(vlmctl: CommandLine) -> None:
    """`--version` is one line."""
    from vlmctl.version import __version__

    assert vlmctl("--version").out == f"vlmctl {__version__}\n"
