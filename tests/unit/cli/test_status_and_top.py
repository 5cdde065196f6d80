"""`vlmctl status` and `vlmctl top` against an API server that answers as scripted, read by the real client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import FORBIDDEN, GROUP, NODES, api_server, kubeconfig, use
from tests.support.command_line import CommandLine
from tests.support.deployments import ALL, CHARTS, NAMESPACE, RECEIPTS, listed, paths
from vlmctl import library
from vlmctl.cli import live
from vlmctl.cli.output import render_text
from vlmctl.cli.status_page import in_full, table
from vlmctl.cli.top_page import blocks
from vlmctl.library.deployments import read_deployment
from vlmctl.library.standing import standing
from vlmctl.library.watching import judge

pytest.importorskip("kubernetes", reason="the package kubernetes is not installed: the extra `cluster` has it")
JSON_KEYS = Path(__file__).parents[3] / "docs" / "json.md"
OWN = f"{GROUP}/namespaces/{NAMESPACE}"


@pytest.fixture
def objects() -> dict[str, Any]:
    """What the API server holds, by path; a test may change it."""
    return {**paths(*ALL), f"{GROUP}/namespaces/empty/vlmdeployments": listed()}


@pytest.fixture(autouse=True)
def _cluster(objects: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with api_server(objects) as address:
        use(kubeconfig(tmp_path / "config", address, NAMESPACE, other="empty"), monkeypatch)
        yield


def keys(section: str) -> set[str]:
    """The keys that docs/json.md names in a section's tables."""
    text = JSON_KEYS.read_text(encoding="utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([a-z0-9_]+)`", cell)}


class TestStatus:
    def test_all_of_a_namespace_in_a_table(self, vlmctl: CommandLine) -> None:
        """The context's namespace; those that are not ready say why, and what to do."""
        ran = vlmctl("status")
        assert ran.code == 0, ran.err
        assert [line.split()[0] for line in ran.out.splitlines()[2:6]] == ["captions", "charts", "forms", "receipts"]
        assert "documents/forms: OverBudget: It costs $9,198 per month" in ran.out

    def test_one_in_full(self, vlmctl: CommandLine) -> None:
        """Conditions, plan beside measurement, scaling, money, the start and a request that can be typed."""
        said = " ".join(vlmctl("status", "receipts").out.split())
        for part in (
            "receipts in namespace documents: Ready",
            "4x L4 bf16, each replica",
            "Operator, Scaling: The operator scales between 1 and 4 replicas.",
            "Target: 7.2 in flight each (measured).",
            "$3.200 per hour, $2,336.00 per month; $0.980 per hour of it idle (31%)",
            "api-key in Secret receipts-api-key",
            "Benchmarked True Measured",
            "usual error 16%",
            "95% interval of the rate 0.58-0.64",
            "image pulled, engine started 2026-11-20T11:54:10Z 2.2 min",
            "kubectl port-forward -n documents service/receipts 8000:80",
            '"model": "qwen3-vl-8b-instruct"',
        ):
            assert part in said, part

    def test_what_is_not_known_is_said_to_be(self, vlmctl: CommandLine) -> None:
        """Not measured, not counted, not planned."""
        charts = " ".join(vlmctl("status", "charts").out.split())
        assert "Nothing is measured yet." in charts
        assert "Really paid, idle time included: not counted yet." in charts
        forms = " ".join(vlmctl("status", "forms").out.split())
        assert "unknown: no price of its GPUs is known" in forms
        assert "Ask it" not in forms

    def test_an_hour_without_requests_is_said(self, vlmctl: CommandLine, objects: dict[str, Any]) -> None:
        """In the place of what was paid for a request."""
        cost = {**RECEIPTS["status"]["cost"], "idle": True}
        objects[f"{OWN}/vlmdeployments/receipts"] = {**RECEIPTS, "status": {**RECEIPTS["status"], "cost": cost}}
        said = " ".join(vlmctl("status", "receipts").out.split())
        assert "Really paid, idle time included: no request was answered in the last hour." in said
        assert "$3.200 per hour of it idle (100%)" in said

    def test_json_has_the_keys_of_its_page(self, vlmctl: CommandLine) -> None:
        """docs/json.md names every key of an object and of its parts, and no other."""
        receipts, forms = vlmctl("status", "receipts", "forms", "-o", "json").json
        assert receipts["figures"]["requests_per_second"]["ratio"] == pytest.approx(0.956, abs=1e-3)
        assert receipts.keys() == forms.keys()
        parts = ("figures", "money", "access")
        assert keys("`vlmctl status`") == set(receipts).union(*(receipts[part] for part in parts))

    def test_a_context_and_a_namespace_can_be_named(self, vlmctl: CommandLine) -> None:
        """The other context's namespace is empty; a namespace that is named comes before it."""
        assert "no VLMDeployment in namespace empty" in vlmctl("status", "--context", "y").err
        assert vlmctl("status", "--context", "y", "-n", NAMESPACE).code == 0
        assert "documents/receipts" in vlmctl("status", "-A").out
        unknown = vlmctl("status", "--context", "z")
        assert (unknown.code, "The kubeconfig has x, y." in unknown.err) == (2, True)

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["none"], 2, "there is no VLMDeployment none in namespace documents"),
            (["receipts", "-A"], 2, "Give -n instead of -A"),
            (["-A", "-n", "x"], 2, "exclude each other"),
            (["-n", "forbidden"], 4, "the cluster does not show vlmdeployments: 403"),
            (["-n", "nowhere"], 4, "Is the operator installed?"),
        ],
    )
    def test_what_cannot_be_shown_is_said(self, vlmctl: CommandLine, words: list[str], code: int, said: str) -> None:
        """One line, with what to do."""
        ran = vlmctl("status", *words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
        assert said in ran.err

    def test_while_one_revision_takes_over_no_figure_is_told(
        self, vlmctl: CommandLine, objects: dict[str, Any]
    ) -> None:
        """The plan and the measurement in the status are of the one that is to be."""
        both = deepcopy(RECEIPTS)
        both["status"]["updateRevision"] = "receipts-0000000000"
        objects[f"{OWN}/vlmdeployments/receipts"] = both
        assert "One revision takes over from another" in " ".join(vlmctl("status", "receipts").out.split())
        found = vlmctl("status", "receipts", "-o", "json").json[0]
        figures = found["figures"]
        assert (found["rolls_out"], figures["ttft_seconds"]["measured"], figures["measured_at"]) == (True, None, None)

    def test_one_that_cannot_be_read_hides_no_other(self, vlmctl: CommandLine, objects: dict[str, Any]) -> None:
        """Another operator's field makes one unreadable."""
        strange = {**CHARTS, "status": {**CHARTS["status"], "surprise": 1}}
        objects[f"{OWN}/vlmdeployments"] = listed(strange, RECEIPTS)
        ran = vlmctl("status")
        assert (ran.code, "operator of another version" in ran.out, "receipts" in ran.out) == (0, True, True)


class TestTop:
    def test_what_each_costs_and_wastes_and_what_would_be_cheaper(self, vlmctl: CommandLine) -> None:
        """The dearest an hour first, the totals, and one change."""
        ran = vlmctl("top")
        assert ran.code == 0, ran.err
        said = " ".join(ran.out.split())
        assert [line.split()[0] for line in ran.out.splitlines()[2:6]] == ["captions", "receipts", "charts", "forms"]
        assert "4 deployments: $13.46 per hour; of it idle $8.327 of $11.60 (72%), 1 of unknown load" in said
        assert "receipts: bf16 on L40S: -46% $/1k, $1.340 per hour less; estimated there, measured here" in said
        assert "captions: 1 replica instead of 2 serves its load, $4.200 per hour less." in said
        assert "charts: no other GPU or precision is cheaper." in said
        assert "forms: no advice, as nothing is planned yet." in said
        assert "Looked at H100-SXM, L4, L40S (the nodes)" in said

    @pytest.mark.parametrize(
        ("order", "names"),
        [
            ("cost", ["captions", "receipts", "charts", "forms"]),
            ("waste", ["captions", "receipts", "charts", "forms"]),
            ("drift", ["captions", "receipts", "charts", "forms"]),
        ],
    )
    def test_what_is_unknown_comes_last(self, vlmctl: CommandLine, order: str, names: list[str]) -> None:
        """Whatever they are sorted by."""
        found = vlmctl("top", "--sort", order, "-o", "json").json["deployments"]
        assert [each["name"] for each in found] == names

    def test_json_has_the_keys_of_its_page(self, vlmctl: CommandLine) -> None:
        """docs/json.md names every key of the object and of its parts, and no other; figures are numbers or null."""
        data = vlmctl("top", "-o", "json").json
        first = data["deployments"][1]
        parts = [first, data["totals"], first["outlook"], first["outlook"]["change"]]
        assert keys("`vlmctl top`") == set(data).union(*parts)
        forms = data["deployments"][-1]
        assert (forms["usd_per_hour"], forms["idle_share"], forms["gpus"]) == (None, None, None)
        assert data["totals"]["saving_usd_per_hour"] == pytest.approx(1.34 + 4.2)

    def test_without_leave_to_read_nodes_it_is_said(self, vlmctl: CommandLine, objects: dict[str, Any]) -> None:
        """GPUs are then those that deployments run on."""
        objects[NODES] = FORBIDDEN
        ran = vlmctl("top")
        said = " ".join(ran.out.split())
        assert (ran.code, "(what the deployments run on)" in said, "The nodes may not be read." in said) == (
            0,
            True,
            True,
        )

    def test_without_measurements_it_is_said(self, vlmctl: CommandLine, objects: dict[str, Any]) -> None:
        """The advice then rests on estimates alone."""
        objects[f"{OWN}/vlmbenchmarks"] = FORBIDDEN
        ran = vlmctl("top")
        said = " ".join(ran.out.split())
        assert (ran.code, "No measurements are taken in: the cluster does not show" in said) == (0, True)

    def test_what_others_pay_is_the_price_of_a_gpu(self, vlmctl: CommandLine, objects: dict[str, Any]) -> None:
        """Whichever namespace is looked at; where all may not be listed, it is what that one pays."""
        dear = deepcopy(CHARTS)
        dear["metadata"] |= {"namespace": "others", "name": "dear"}
        dear["status"]["cost"]["hourlyUSD"] = "50"
        objects[f"{GROUP}/vlmdeployments"] = listed(*ALL, dear)
        assert "receipts: bf16 on L40S" not in " ".join(vlmctl("top").out.split())
        objects[f"{GROUP}/vlmdeployments"] = FORBIDDEN
        assert "receipts: bf16 on L40S: -46% $/1k" in " ".join(vlmctl("top").out.split())

    def test_gpus_can_be_named(self, vlmctl: CommandLine) -> None:
        """Those alone are looked at; one that is none is a mistake."""
        assert vlmctl("top", "--gpus", "l40s,H100", "-o", "json").json["gpus"] == ["H100-SXM", "L40S"]
        assert vlmctl("top", "--gpus", "L44").code == 2

    def test_an_empty_namespace_is_no_mistake(self, vlmctl: CommandLine) -> None:
        """There is nothing to sum up."""
        ran = vlmctl("top", "--context", "y")
        assert (ran.code, ran.out) == (0, "There is no VLMDeployment.\n")

    def test_it_is_shown_anew(
        self, vlmctl: CommandLine, objects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each time as the cluster is then, one after the other where nobody watches a terminal, until interrupted."""
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            objects[f"{OWN}/vlmdeployments"] = listed(RECEIPTS)
            if len(waits) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(live.time, "sleep", wait)
        ran = vlmctl("top", "--watch", "5", "-o", "json")
        decoder, counts, rest = json.JSONDecoder(), [], ran.out
        while rest.strip():
            data, end = decoder.raw_decode(rest)
            counts.append(data["totals"]["deployments"])
            rest = rest[end:].lstrip()
        assert (ran.code, counts) == (130, [4, 1])
        assert 0 < waits[0] <= 5
        assert "\x1b" not in ran.out

    def test_a_cluster_that_does_not_answer_once_ends_no_watch(
        self, vlmctl: CommandLine, objects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is said, and the next look shows all again; at the first look it is an error as without --watch."""
        path = f"{OWN}/vlmdeployments"
        answers = iter([FORBIDDEN, objects[path]])

        def wait(_: float) -> None:
            objects[path] = next(answers, None)
            if objects[path] is None:
                raise KeyboardInterrupt

        monkeypatch.setattr(live.time, "sleep", wait)
        ran = vlmctl("top", "--watch", "5")
        assert (ran.code, ran.out.count("4 deployments: $13.46")) == (130, 2)
        assert ran.err.count("the cluster does not show vlmdeployments: 403") == 1
        objects[path] = FORBIDDEN
        assert vlmctl("top", "--watch", "5").code == 4


@pytest.mark.parametrize("words", [["status"], ["status", "receipts"], ["top"]])
def test_a_cluster_that_is_down_is_one_line(
    vlmctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Nobody listens: exit code 4. Without any kubeconfig it is a mistake of usage."""
    use(kubeconfig(tmp_path / "down", "http://127.0.0.1:9", None), monkeypatch)
    ran = vlmctl(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
    assert "the cluster does not answer" in ran.err
    use(tmp_path / "none", monkeypatch)
    missing = vlmctl(*words)
    assert (missing.code, "KUBECONFIG" in missing.err) == (2, True)


@pytest.mark.parametrize("width", [80, 100])
def test_pages_keep_to_the_width(width: int) -> None:
    """No line but the commands to type is wider, and no figure is broken in two."""
    found = [standing(read_deployment(each)) for each in ALL]
    watch = judge(library.load_catalog(), [read_deployment(each) for each in ALL])
    shown = (table(found, with_namespace=True), in_full(found), blocks(watch, with_namespace=True))
    for each in shown:
        text = render_text(each, width=width)
        lines = [line for line in text.splitlines() if not re.match(r"(kubectl|export|curl|  )", line)]
        assert max(map(len, lines)) <= width
        assert "$8.400" in text
