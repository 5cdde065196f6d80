"""`vlmctl simulate`: its page, its documents for machines, its drawing, and its refusals."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.command_line import CommandLine
from vlmctl.api.spec import ScalingEngine
from vlmctl.cli.simulate_options import Engine

QUICK = ("simulate", "qwen2.5-vl-7b", "--rate", "0h:0.2,12h:2", "--days", "0.1", "--gpu", "L40S", "--ttft", "3s")
NARROW = ("--target", "0.8", "--min-replicas", "1")
KEYS = (
    "model plan ladder_concurrency assumptions traffic replica cold_start_seconds cold_start_unknown seed policies "
    "cheapest prices_as_of"
)


def test_the_page_names_the_cheapest(vlmctl: CommandLine) -> None:
    """The page holds the traffic, the policies, the answer and its course over time."""
    ran = vlmctl(*QUICK, "--cold-start", "90s")
    assert ran.code == 0, ran.err
    for expected in ("requests in 2.4 h", "Cold start  90.0 s", "always on, 1", "Cheapest that keeps", "Over time"):
        assert expected in ran.out
    assert all(len(line) <= 100 for line in ran.out.splitlines())


def test_machines_get_every_policy(vlmctl: CommandLine) -> None:
    """JSON has stable keys, and the cheapest is one of the policies, with a course over time."""
    ran = vlmctl(*QUICK, *NARROW, "-o", "json")
    assert ran.code == 0, ran.err
    assert list(ran.json) == KEYS.split()
    (best,) = [each for each in ran.json["policies"] if each["name"] == ran.json["cheapest"]]
    assert best["keeps"]
    assert best["served"] + best["unfinished"] == best["requests"] == ran.json["traffic"]["requests"]
    assert {"seconds", "replicas", "waiting"} <= best["timeline"][0].keys()
    assert {"target_in_flight", "minimum_replicas", "up", "down"} <= best["policy"].keys()


def test_csv_has_a_line_a_policy(vlmctl: CommandLine) -> None:
    """Each policy is a row of plain values."""
    ran = vlmctl(*QUICK, *NARROW, "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(rows) >= 2
    assert all(float(row["usd_per_day"]) > 0 for row in rows)
    assert "timeline" not in rows[0]


def test_the_target_is_told_as_a_vlmdeployment_takes_it(vlmctl: CommandLine) -> None:
    """The share of targetUtilization is of the best step of a ladder, not of what random arrivals have in flight."""
    words = (*QUICK, *NARROW, "--max-replicas", "3")
    concurrency = vlmctl(*words, "-o", "json").json["ladder_concurrency"]
    rows = list(csv.DictReader(io.StringIO(vlmctl(*words, "-o", "csv").out)))
    for row in rows:
        if row["utilization"]:
            target = float(row["policy_target_in_flight"]) / concurrency
            assert float(row["policy_target_utilization"]) == pytest.approx(min(max(target, 0.05), 1.0), abs=0.005)
        else:
            assert row["policy_target_utilization"] == ""
    (shown,) = re.findall(r'targetUtilization "(\S+)"', " ".join(vlmctl(*words).out.split()))
    assert shown in {row["policy_target_utilization"] for row in rows}


def test_the_seed_decides(vlmctl: CommandLine) -> None:
    """The same seed gives the same document, another one other traffic."""
    first, again, other = (vlmctl(*QUICK, *NARROW, "--seed", seed, "-o", "json") for seed in ("5", "5", "6"))
    assert first.out == again.out
    assert first.json["traffic"]["requests"] != other.json["traffic"]["requests"]


def test_a_trace_is_scaled(vlmctl: CommandLine) -> None:
    """Half a trace is about half its requests."""
    trace = ("simulate", "qwen2.5-vl-7b", "--trace", "azure-code-2023", "--gpu", "L40S", "--ttft", "20s")
    ran = vlmctl(*trace, *NARROW, "--scale", "0.05x", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json["traffic"]["requests"] == pytest.approx(0.05 * 8819, rel=0.2)


def test_the_drawing_is_an_svg(vlmctl: CommandLine, tmp_path: Path) -> None:
    """The file is well-formed XML with a line for each curve."""
    path = tmp_path / "plot.svg"
    ran = vlmctl(*QUICK, *NARROW, "--plot", str(path))
    assert (ran.code, f"wrote {path}" in ran.err) == (0, True)
    paths = ElementTree.parse(path).getroot().findall("{http://www.w3.org/2000/svg}path")
    assert len(paths) == 3 + 4  # an axis a panel, and four curves


def test_who_scales_is_said_in_its_own_words(vlmctl: CommandLine) -> None:
    """With KEDA and the HPA no policy looks ahead; the names are those of a VLMDeployment, however they are written."""
    assert {each.value for each in Engine} == {each.value for each in ScalingEngine} - {"Auto", "None"}
    found = {
        engine: json.loads(vlmctl(*QUICK, *NARROW, "--cold-start", "3m", "--engine", engine, "-o", "json").out)[
            "policies"
        ]
        for engine in ("operator", "KEDA", "hpa")
    }
    leads = {engine: {each["policy"]["lead_seconds"] for each in tried} for engine, tried in found.items()}
    assert 180.0 in leads["operator"]
    assert leads["KEDA"] == leads["hpa"] == {0.0}
    lowest = {
        engine: min(
            each["policy"]["minimum_replicas"]
            for each in vlmctl(*QUICK, "--target", "0.8", "--engine", engine, "-o", "json").json["policies"]
        )
        for engine in ("keda", "HPA")
    }
    assert lowest == {"keda": 0, "HPA": 1}


def test_no_policy_is_exit_code_3(vlmctl: CommandLine) -> None:
    """Where nothing keeps the objectives the policies are shown, and the exit code says so."""
    ran = vlmctl(*QUICK, "--max-replicas", "1", "--scale", "40x", "--days", "0.02")
    assert ran.code == 3
    assert "No policy keeps the objectives" in ran.out
    assert ran.err.strip().endswith("or loosen --ttft or --tpot.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "needs --trace or --rate"),
        (("--rate", "1", "--trace", "x.csv"), "needs --trace or --rate"),
        (("--rate", "quick"), "is not a rate"),
        (("--rate", "1", "--days", "0"), "--days is 0"),
        (("--rate", "1", "--days", "nan"), "--days is nan"),
        (("--rate", "9999"), "more than the 3,000,000"),
        (("--rate", "1", "--bursts", "-1"), "0 or more"),
        (("--rate", "1", "--scale", "big"), "is not a factor"),
        (("--trace", "azure-code-2023", "--days", "2"), "go with --rate"),
        (("--trace", "missing.csv"), "missing.csv: cannot be read"),
        (("--rate", "1", "--target", "80"), "--target is out of range"),
        (("--rate", "1", "--min-replicas", "3", "--max-replicas", "2"), "are no range"),
        (("--rate", "1", "--min-replicas", "-1"), "--min-replicas is out of range"),
        (("--rate", "1", "--look-ahead", "2h"), "0 to 3,600 seconds"),
        (("--rate", "1", "--look-ahead", "1m", "--engine", "keda"), "goes with --engine Operator"),
        (("--rate", "1", "--min-replicas", "0", "--engine", "HPA"), "the HPA keeps 1"),
        (("--rate", "1", "--idle", "5m", "--engine", "HPA"), "the HPA keeps it"),
        (("--rate", "1", "--idle", "5m", "--min-replicas", "2", "--engine", "HPA"), "the HPA keeps it"),
        (("--rate", "1", "--idle", "5m", "--min-replicas", "1"), "--min-replicas keeps it"),
        (("--rate", "1", "--idle", "soon"), "is not a duration"),
    ],
)
def test_mistakes_are_one_line(vlmctl: CommandLine, words: tuple[str, ...], said: str) -> None:
    """Each mistake ends with exit code 2 and one line that says what to do."""
    ran = vlmctl("simulate", "qwen2.5-vl-7b", *words)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert said in ran.err
