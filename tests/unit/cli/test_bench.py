"""`vlmctl bench`: its page, its documents for machines, its files, its exit codes, against scripted servers."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.command_line import CommandLine
from tests.support.served import served
from tests.support.servers import MODEL, Fault, Refusal, ScriptedServer

SMALL = ("--image", "64x48", "--prompt-tokens", "20", "--output-tokens", "4")
QUICK = (*SMALL, "--concurrency", "2", "--requests", "12")
KEYS = "url model server workload objectives seed shape steps best drift money notes interrupted measurements"
JSON_KEYS = Path(__file__).parents[3] / "docs" / "json.md"


@pytest.fixture
def url() -> Iterator[str]:
    """A server that answers in 20 ms."""
    with served(ScriptedServer(delay=lambda _: 0.02, gap=lambda _: 0.002)) as address:
        yield address


def test_the_page_holds_rates_latencies_and_tokens(vlmctl: CommandLine, url: str) -> None:
    """Progress is on stderr; figures from too few requests are said to be."""
    ran = vlmctl("bench", url, *QUICK, "--price", "1.20/h")
    assert ran.code == 0, ran.err
    for expected in (f"{MODEL} at {url} (vllm 0.32.0)", "2 in flight", "TTFT", "TPOT", "100 of images, 20 of text"):
        assert expected in ran.out
    assert "per 1,000 requests" in ran.out
    assert "Too few requests to bound a p95" in ran.out
    assert all(len(line) <= 100 for line in ran.out.splitlines())
    assert "preparing images" in ran.err
    assert "step 1, 2 in flight" in ran.err


def test_machines_get_everything(vlmctl: CommandLine, url: str) -> None:
    """JSON has stable keys; CSV a line a step."""
    ran = vlmctl("bench", url, *QUICK, "-o", "json")
    assert ran.code == 0, ran.err
    assert list(ran.json) == KEYS.split()
    step = ran.json["steps"][ran.json["best"]]
    assert step["completed"] == 12
    assert step["ttft"]["p95"]["high"] is None
    assert ran.json["measurements"][0]["load"]["concurrency"] == 2
    rows = list(csv.DictReader(io.StringIO(vlmctl("bench", url, *QUICK, "--concurrency", "3", "-o", "csv").out)))
    assert [row["load"] for row in rows] == ["2 in flight", "3 in flight"]
    assert float(rows[0]["e2e_p95"]) > 0.02


def test_the_keys_are_documented(vlmctl: CommandLine, url: str) -> None:
    """docs/json.md names every key of the object and of a step, and no other; a step says what load it was of."""
    found = vlmctl("bench", url, *QUICK, "-o", "json").json
    section = JSON_KEYS.read_text(encoding="utf-8").split("## `vlmctl bench`")[1].split("\n## ")[0]
    outer, steps = section.split("Each step has")
    for part, keys in ((outer, set(found)), (steps, set(found["steps"][0]))):
        rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
        assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == keys
    shape = {"arrival": "closed", "concurrency": 2, "requests_per_second": None, "burstiness": 1.0}
    assert found["steps"][0]["shape"] == shape
    assert found["shape"] == {"template_tokens": 7.0, "tokens_per_word": 1.0}


def test_headers_go_to_the_server_alone(vlmctl: CommandLine, tmp_path: Path) -> None:
    """They are with every request, and neither on the page nor in the results."""
    server, results = ScriptedServer(), tmp_path / "r.yaml"
    with served(server) as address:
        ran = vlmctl("bench", address, *QUICK, "--header", "X-Token=hidden", "--write", str(results))
    assert ran.code == 0, ran.err
    assert all(headers["X-Token"] == "hidden" for headers in server.headers)
    assert "hidden" not in ran.out + ran.err + results.read_text()


def test_the_seed_sends_the_same_requests_again(vlmctl: CommandLine) -> None:
    """Byte for byte, in an order that may differ; without one they are new."""
    sent = []
    for seed in ("5", "5", "6"):
        server = ScriptedServer()
        with served(server) as address:
            assert vlmctl("bench", address, *QUICK, "--seed", seed).code == 0
        sent.append(sorted(str(body) for body in server.bodies))
    assert sent[0] == sent[1] != sent[2]


def test_a_plan_brings_its_requests_and_is_compared(vlmctl: CommandLine, url: str, tmp_path: Path) -> None:
    """Its workload and knee are taken, and every figure it has is set beside what was measured."""
    plan, results = tmp_path / "plan.json", tmp_path / "results.yaml"
    asked = ("--gpu", "L4", "--image", "64x48", "--output-tokens", "4", "--concurrency", "2")
    plan.write_text(vlmctl("plan", "qwen2.5-vl-7b", *asked, "-o", "json").out)
    limits = ("--requests", "12", "--max-concurrency", "3", "--write", str(results))
    ran = vlmctl("bench", url, "--against", str(plan), *limits)
    assert ran.code == 0, ran.err
    for expected in ("Against the plan, at 2 in flight", "requests per second", "image tokens", "an hour"):
        assert expected in ran.out
    assert f"wrote {results}" in ran.err
    judged = vlmctl("accuracy", str(results))
    assert judged.code == 0, judged.err
    assert "3 of 3 rows answered" in judged.out


def test_results_change_the_next_answer(vlmctl: CommandLine, tmp_path: Path) -> None:
    """What was measured here is `measured` in the next estimate of the same request."""
    with served(ScriptedServer(tokens=4, delay=lambda _: 0.2, gap=lambda _: 0.05, image_tokens=1_196)) as address:
        results, overlay = tmp_path / "results.yaml", tmp_path / "overlay"
        request = ("--image", "1280x720", "--prompt-tokens", "64", "--output-tokens", "4")
        about = ("--catalog-model", "qwen2.5-vl-7b", "--gpu", "L40S", "--write", str(results))
        ran = vlmctl("bench", address, *request, "--concurrency", "4", "--requests", "12", *about)
        assert ran.code == 0, ran.err
    overlay.mkdir()
    assert vlmctl("calibrate", str(results), "--catalog-overlay", str(overlay)).code == 0
    asked = ("explain", "qwen2.5-vl-7b", "--gpu", "L40S", *request, "--concurrency", "4", "--quantization", "bf16")
    assert "measured" in vlmctl(*asked, "--catalog", str(overlay)).out
    assert vlmctl(*asked).out != vlmctl(*asked, "--catalog", str(overlay)).out


@pytest.mark.parametrize("load", [("--rate", "40"), ("--rate", "40", "--burstiness", "0.5")])
def test_open_loads_are_sent_at_their_rate(vlmctl: CommandLine, url: str, load: tuple[str, ...]) -> None:
    """By time or number, whatever the server does."""
    ran = vlmctl("bench", url, *SMALL, *load, "--requests", "20", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json["steps"][0]["completed"] == 20
    assert ran.json["steps"][0]["shape"]["requests_per_second"] == 40.0


def test_a_trace_is_replayed(vlmctl: CommandLine, url: str, tmp_path: Path) -> None:
    """Its sizes and times are the requests."""
    trace = tmp_path / "t.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0,10,1\n0.1,30,2\n0.3,20,3\n")
    ran = vlmctl("bench", url, "--image", "64x48", "--trace", str(trace), "-o", "json")
    assert ran.code == 0, ran.err
    step = ran.json["steps"][0]
    assert (step["completed"], step["tokens"]["output_tokens"]) == (3, 6)
    assert step["tokens"]["prompt_tokens"] - step["tokens"]["image_tokens"] == 60


def test_failures_are_listed_and_too_many_are_an_exit_code(vlmctl: CommandLine) -> None:
    """What was measured is shown all the same, and the last line says why."""
    with served(ScriptedServer(fault=lambda number: Fault.DROPPED if number > 20 else None)) as address:
        ran = vlmctl("bench", address, *SMALL, "--concurrency", "2", "--requests", "500")
    assert ran.code == 4
    assert "closed the connection" in ran.out
    assert "Given up" in ran.out
    assert "requests failed: " in ran.err


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (ScriptedServer(api_key="k"), "answered 401"),
        (ScriptedServer(fault=lambda _: Refusal(500, "no memory")), "no memory"),
    ],
)
def test_a_server_that_does_not_serve_is_one_line(vlmctl: CommandLine, server: ScriptedServer, said: str) -> None:
    """Exit code 4, and why."""
    with served(server) as address:
        ran = vlmctl("bench", address, *QUICK)
    assert ran.code == 4
    assert said in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def test_ctrl_c_keeps_what_was_measured(vlmctl: CommandLine, tmp_path: Path) -> None:
    """The page and the file are written, and the exit code says that it was interrupted."""
    results = tmp_path / "r.yaml"
    server = ScriptedServer(delay=lambda _: 0.02, gap=lambda _: 0.002)

    def interrupt() -> None:
        while server.completed < 200:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    with served(server) as url:
        threading.Thread(target=interrupt, daemon=True).start()
        ran = vlmctl("bench", url, *SMALL, "--concurrency", "4", "--interval", "0.001", "--write", str(results))
    assert ran.code == 130
    assert "Interrupted" in ran.out
    assert "concurrency" in results.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rate", "1", "--concurrency", "1"), "exclude each other"),
        (("--rate", "0"), "--rate is out of range"),
        (("--concurrency", "0"), "--concurrency is out of range"),
        (("--burstiness", "2"), "go with --rate"),
        (("--rate", "1", "--arrival", "normal"), "is unknown"),
        (("--rate", "1", "--arrival", "constant", "--burstiness", "2"), "goes with --arrival gamma"),
        (("--scale", "2x"), "goes with --trace"),
        (("--trace", "nowhere.csv"), "nowhere.csv"),
        (("--requests", "0"), "--requests is out of range"),
        (("--quality", "0"), "JPEG quality"),
        (("--content", "cats"), "photo, document, chart"),
        (("--image-format", "gif"), "jpeg or png"),
        (("--folder", "nowhere"), "nowhere"),
        (("--workload", "nowhere.yaml"), "nowhere.yaml"),
        (("--against", "nowhere.yaml"), "nowhere.yaml"),
        (("--price", "cheap"), "is no price"),
        (("--gpu", "nothing"), "unknown GPU"),
        (("--catalog-model", "nothing"), "unknown model"),
        (("--key", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE"),
        (("--step", "soon"), "is not a duration"),
        (("--deadline", "0s"), "must be above 0"),
        (("--header", "hidden"), "a --header is not NAME=VALUE"),
        (("--model", "other"), f"It serves {MODEL}"),
    ],
)
def test_mistakes_are_one_line(vlmctl: CommandLine, url: str, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, with what to write instead."""
    ran = vlmctl("bench", url, *words)
    assert ran.code == 2, ran.err
    assert said in ran.err.splitlines()[-1]
    assert ran.out == ""


def test_a_result_that_could_not_be_written_is_said_before_the_load(vlmctl: CommandLine, url: str) -> None:
    """Nobody waits ten minutes for that."""
    ran = vlmctl("bench", url, "--write", "no/such/folder/r.yaml")
    assert ran.code == 6
    assert "there is no folder" in ran.err


def test_a_row_of_a_folder_has_the_size_of_its_pictures(vlmctl: CommandLine, url: str, tmp_path: Path) -> None:
    """Not the usual one; and what they were is in the row."""
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    load = ("--concurrency", "1", "--requests", "4", "--output-tokens", "4")
    ran = vlmctl("bench", url, "--folder", str(tmp_path), *load, "-o", "json")
    assert ran.code == 0, ran.err
    row = ran.json["measurements"][0]
    assert [row["workload"][key] for key in ("images", "image_width", "image_height")] == [1, 200, 100]
    assert row["flags"]["folder_sha256"]
    both = vlmctl("bench", url, "--folder", str(tmp_path), "--image", "64x48")
    assert both.code == 2
    assert "exclude each other" in both.err


def test_a_row_of_a_trace_names_it(vlmctl: CommandLine, url: str, tmp_path: Path) -> None:
    """With its scale, and a digest of what was replayed."""
    trace = tmp_path / "t.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens,NumImages\n0,10,1,2\n0.1,30,2,2\n0.3,20,3,2\n")
    load = ("--trace", str(trace), "--scale", "2x", "--seed", "1")
    ran = vlmctl("bench", url, "--image", "64x48", *load, "-o", "json")
    assert ran.code == 0, ran.err
    row = ran.json["measurements"][0]
    assert row["workload"]["images"] == 2
    assert (row["flags"]["trace"]["name"], row["flags"]["trace"]["scale"]) == (str(trace), 2.0)


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_run_without_a_step_says_so(vlmctl: CommandLine, url: str, tmp_path: Path, form: str) -> None:
    """The answer is there and empty, no file is, and the exit code is not that of a success. Where not even the server
    could be looked at in time, there is no answer.
    """
    results = tmp_path / "r.yaml"
    ran = vlmctl("bench", url, *SMALL, "--deadline", "600ms", "--write", str(results), "-o", form)
    assert ran.code == 4
    assert not results.exists()
    if "before anything was measured" in ran.err:  # on a busy machine
        return
    assert "--deadline" in ran.err.splitlines()[-1]
    assert f"did not write {results}" in ran.err
    assert "Nothing was measured" in ran.out or ran.json["steps"] == []


@pytest.mark.parametrize("package", ["aiohttp", "numpy"])
def test_without_the_extra_one_line_says_how_to_have_it(package: str) -> None:
    """Exit code 2, before anything is asked of the server."""
    code = f"import sys; sys.modules[{package!r}] = None; from vlmctl.cli.main import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", code, "bench", "http://127.0.0.1:9"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert f"needs the package {package}" in line
    assert "pip install 'vlmctl[bench]'" in line


def test_a_plan_beside_an_open_load_is_said_to_have_nothing_to_compare(
    vlmctl: CommandLine, url: str, tmp_path: Path
) -> None:
    """No drift, and one remark why; with its own load there is none."""
    plan = tmp_path / "plan.json"
    asked = ("--gpu", "L4", "--image", "64x48", "--output-tokens", "4", "--concurrency", "2")
    plan.write_text(vlmctl("plan", "qwen2.5-vl-7b", *asked, "-o", "json").out)
    for load, said in (("--rate", 1), ("--concurrency", 0)):
        ran = vlmctl("bench", url, "--against", str(plan), load, "20", "--requests", "10", "-o", "json")
        assert ran.code == 0, ran.err
        assert bool(ran.json["drift"]) is not bool(said)
        assert sum("nothing to set beside it" in note for note in ran.json["notes"]) == said


def test_progress_is_json_lines_for_machines(vlmctl: CommandLine, url: str) -> None:
    """Each on its own: phases, and each step with its rate; the answer on stdout is one document."""
    ran = vlmctl("bench", url, *QUICK, "-o", "json")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert [line["phase"] for line in lines][:2] == ["pictures", "probe"]
    ended = lines[-1]["ended"]
    assert (ended["completed"], ended["shape"]["concurrency"]) == (12, 2)
    assert ended["requests_per_second"]["value"] == ran.json["steps"][0]["requests_per_second"]["value"]


def test_every_rate_has_its_interval(vlmctl: CommandLine, url: str) -> None:
    """Goodput, tokens and dollars as the throughput: on the page, in JSON and in CSV."""
    load = (*SMALL, "--concurrency", "4", "--requests", "100", "--ttft", "1s", "--price", "1.20")
    ran = vlmctl("bench", url, *load, "-o", "json")
    step, money = ran.json["steps"][0], ran.json["money"]
    rates = [step[name] for name in ("requests_per_second", "goodput_per_second", "output_tokens_per_second", "met")]
    dollars = [money[name] for name in ("usd_per_1k_requests", "usd_per_1k_images", "usd_per_million_tokens")]
    for each in (*rates, *dollars):
        assert each["low"] <= each["value"] <= each["high"]
    page = vlmctl("bench", url, *load).out
    assert len(re.findall(r"per (?:1,000 requests|1,000 images|million tokens)\s+\(\$", " ".join(page.split()))) == 3
    assert re.search(r"\d ± \d", page)
    row = next(csv.DictReader(io.StringIO(vlmctl("bench", url, *load, "-o", "csv").out)))
    for name in ("requests_per_second", "goodput_per_second", "output_tokens_per_second"):
        assert float(row[f"{name}_low"]) <= float(row[name]) <= float(row[f"{name}_high"])


def test_a_server_without_metrics_is_one_note(vlmctl: CommandLine) -> None:
    """As behind the proxy of a VLMDeployment: every figure that clients see is there, and one line says what is not."""
    with served(ScriptedServer(metrics=False)) as address:
        ran = vlmctl("bench", address, *QUICK)
        told = vlmctl("bench", address, *QUICK, "-o", "json").json
    assert ran.code == 0, ran.err
    assert " ".join(ran.out.split()).count("The server shows no /metrics") == 1
    assert told["steps"][0]["server"] is None
    assert told["steps"][0]["ttft"]["p50"] is not None
