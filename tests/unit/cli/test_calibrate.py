"""`vlmctl calibrate` from a results file to the answers that it changes, and what it says to files with mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.configs import LLAMA_8B
from vlmctl.catalog.load import load_catalog
from vlmctl.library.calibration import calibration_of

REQUEST = ("--image", "1280x720", "--prompt-tokens", "64", "--output-tokens", "256", "--concurrency", "8")
ROW = """\
schema: vlmctl.dev/measurements/v1
measurements:
- id: ours-l4-c8
  source: our cluster, 2026-11-20
  model: Qwen/Qwen2.5-VL-7B-Instruct
  weights: bf16
  gpu: L4
  gpu_count: 1
  parallelism: {tensor: 1}
  engine: vllm
  engine_version: 0.32.0
  workload: {images: 1, image_width: 1280, image_height: 720, prompt_tokens: 64, output_tokens: 256}
  load: {kind: closed, concurrency: 8}
  measured: {ttft_ms: 1900.0, tpot_ms: 90.0, requests_per_second: 0.32}
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One measured run of a 7B model on an L4, slower than estimated."""
    path = tmp_path / "results.yaml"
    path.write_text(ROW)
    return path


def _options(vlmctl: CommandLine, model: str, *words: str) -> dict[str, dict[str, object]]:
    """What `vlmctl cost` says of a model, by GPU; its cheapest option on each."""
    ran = vlmctl("cost", model, *REQUEST, "-o", "json", *words)
    assert ran.code == 0, ran.err
    found: dict[str, dict[str, object]] = {}
    for option in ran.json["models"][0]["options"]:
        found.setdefault(option["gpu"], option)
    return found


def test_the_loop_closes(vlmctl: CommandLine, results: Path) -> None:
    """After it, the measured answer says what was measured, near ones move a little, and others not at all."""
    before = _options(vlmctl, "qwen2.5-vl-7b", "--quantization", "bf16")
    other = _options(vlmctl, "internvl3-8b")
    ran = vlmctl("calibrate", str(results), "-o", "json")
    assert ran.code == 0, ran.err
    assert [point["id"] for point in ran.json["points"]] == ["ours-l4-c8"]
    assert ran.json["refused"] == []
    assert Path(ran.json["path"]).is_file()
    after = _options(vlmctl, "qwen2.5-vl-7b", "--quantization", "bf16")

    assert before["L4"]["basis"] == "estimated"
    assert after["L4"]["basis"] == "measured"
    assert after["L4"]["requests_per_second"] == pytest.approx(0.32, rel=0.05)
    own = after["L4"]["requests_per_second"] / before["L4"]["requests_per_second"]  # type: ignore[operator]
    assert after["L40S"]["basis"] == "calibrated"
    near = after["L40S"]["requests_per_second"] / before["L40S"]["requests_per_second"]  # type: ignore[operator]
    assert own < near < 1.0
    assert _options(vlmctl, "internvl3-8b") == other

    point = ran.json["points"][0]
    for name in ("requests_per_second", "ttft_seconds", "tpot_seconds"):
        wrong = abs(point["estimated"][name] - point["measured"][name])
        assert abs(point["calibrated"][name] - point["measured"][name]) < 0.3 * wrong, name
    answer = next(each for each in ran.json["answers"] if each["gpu"] == "L4")
    assert answer["before"]["basis"] == "estimated"
    assert answer["after"]["usd_per_1k_requests"] > answer["before"]["usd_per_1k_requests"]


def test_recommend_plan_and_explain_take_it_in(vlmctl: CommandLine, results: Path) -> None:
    """The basis reaches every command that answers, and explain names the measurement that moved it."""
    assert vlmctl("calibrate", str(results)).code == 0
    narrowed = ("--gpu", "L4", "--family", "Qwen2.5-VL", "--max-params", "9", *REQUEST)
    ran = vlmctl("recommend", *narrowed, "-o", "json", "--top", "20")
    assert ran.code == 0, ran.err
    bases = {answer["model"]: answer["basis"] for answer in ran.json["answers"]}
    assert bases["qwen2.5-vl-7b"] == "measured"
    assert bases["qwen2.5-vl-3b"] == "calibrated"
    shown = vlmctl("recommend", *narrowed).out
    assert "measured by your own runs" in " ".join(shown.split())
    plan = vlmctl("plan", "qwen2.5-vl-7b", "--gpu", "L4", *REQUEST, "-o", "json").json["plan"]
    assert plan["speed"]["basis"] == "measured"
    explained = vlmctl("explain", "qwen2.5-vl-7b", "--gpu", "L4", *REQUEST, "-o", "json").json
    (section,) = (each for each in explained["sections"] if each["title"] == "Your measurements nearby")
    assert "ours-l4-c8" in [term["name"] for term in section["terms"]]


def test_an_overlay_of_its_own(vlmctl: CommandLine, results: Path, tmp_path: Path) -> None:
    """Kept in a named overlay, it counts where that overlay is read, and nowhere else; removed, it is taken back."""
    overlay = tmp_path / "ours"
    assert vlmctl("calibrate", str(results), "--catalog-overlay", str(overlay)).code == 0
    assert _options(vlmctl, "qwen2.5-vl-7b")["L4"]["basis"] == "estimated"
    assert _options(vlmctl, "qwen2.5-vl-7b", "--catalog", str(overlay))["L4"]["basis"] == "measured"
    assert vlmctl("catalog", "check", str(overlay)).code == 0
    (overlay / "calibration" / "measured.yaml").unlink()
    assert _options(vlmctl, "qwen2.5-vl-7b", "--catalog", str(overlay))["L4"]["basis"] == "estimated"


def test_taken_in_again_it_changes_nothing(vlmctl: CommandLine, results: Path) -> None:
    """The same file twice counts once, and a second file adds to the first."""
    path = Path(vlmctl("calibrate", str(results), "-o", "json").json["path"])
    once, content = _options(vlmctl, "qwen2.5-vl-7b"), path.read_text()
    again = vlmctl("calibrate", str(results), "-o", "json").json
    assert again["answers"] == []
    assert path.read_text() == content
    assert _options(vlmctl, "qwen2.5-vl-7b") == once
    results.write_text(ROW.replace("ours-l4-c8", "ours-l40s").replace("gpu: L4\n", "gpu: L40S\n"))
    assert vlmctl("calibrate", str(results)).code == 0
    assert path.read_text().count('"id":') == 2


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "yaml"])
def test_every_form(vlmctl: CommandLine, results: Path, form: str) -> None:
    """Each form names the measurement and its figures."""
    ran = vlmctl("calibrate", str(results), "-o", form)
    assert ran.code == 0, ran.err
    assert "ours-l4-c8" in ran.out
    assert "0.32" in ran.out


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("tpot_ms: 90.0", "tpot_ms: -90.0", 14, "'tpot_ms' is -90.0, which cannot be"),
        ("ttft_ms: 1900.0", "ttft_ms: .nan", 14, "'ttft_ms' is nan, which cannot be"),
        ("requests_per_second: 0.32", "requests_per_second: 0", 14, "'requests_per_second' is 0"),
        ("ttft_ms: 1900.0", "ttft: 1900.0", 14, "unknown field 'ttft'"),
        ("prompt_tokens: 64", "prompt: 64", 12, "unknown field 'prompt'"),
        ("  engine: vllm\n", "", 3, "the field 'engine' is missing"),
        ("gpu_count: 1", "gpu_count: one", 8, "'gpu_count' must be int, not str"),
        ("schema: vlmctl.dev/measurements/v1", "schema: v2", 1, "is not of schema vlmctl.dev/measurements/v1"),
        ("measurements:\n", "models: [a]\nmeasurements:\n", 2, "needs a mapping under 'models'"),
    ],
    ids=["negative", "not a number", "zero", "field", "input", "missing", "type", "schema", "models"],
)
def test_mistakes_are_told_with_their_line(
    vlmctl: CommandLine, results: Path, old: str, new: str, line: int, says: str
) -> None:
    """A file with a mistake is refused whole, with the line, and nothing is written."""
    assert old in ROW
    results.write_text(ROW.replace(old, new))
    ran = vlmctl("calibrate", str(results), "--catalog-overlay", str(results.parent / "ours"))
    assert ran.code == 2
    assert f"results.yaml:{line}: " in ran.err
    assert says in ran.err
    assert not (results.parent / "ours").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl-7c", "unknown model 'qwen2.5-vl-7c'"),
        ("gpu: L4", "gpu: L44", "unknown GPU 'L44'"),
        ("tpot_ms: 90.0, requests_per_second: 0.32", "tpot_p95_ms: 90.0", "no throughput was measured"),
        ("image_width: 1280, ", "", "the size of its images is not stated"),
    ],
    ids=["model", "GPU", "no throughput", "image size"],
)
def test_what_cannot_be_predicted_hides_nothing_else(
    vlmctl: CommandLine, results: Path, old: str, new: str, says: str
) -> None:
    """A row of an unknown model or GPU, or with too little in it, is named, and the others are kept; alone it ends."""
    odd = ROW.replace(old, new).replace("ours-l4-c8", "odd")
    results.write_text(ROW + odd.partition("measurements:\n")[2])
    ran = vlmctl("calibrate", str(results), "-o", "json")
    assert ran.code == 0, ran.err
    assert [point["id"] for point in ran.json["points"]] == ["ours-l4-c8"]
    assert [each["id"] for each in ran.json["refused"]] == ["odd"]
    assert says in ran.json["refused"][0]["reason"]
    assert '"odd"' not in Path(ran.json["path"]).read_text()
    results.write_text(odd)
    ran = vlmctl("calibrate", str(results))
    assert ran.code == 2
    assert f"no row can be used; odd: {says}" in ran.err


def test_a_file_brings_its_models(vlmctl: CommandLine, results: Path, tmp_path: Path) -> None:
    """A model that only the file describes is kept with its rows: later files and answers find it in the overlay."""
    config = {**LLAMA_8B, "rms_norm_eps": 1e-5, "pad_token_id": -1, "rope_scaling": None}
    text = "workload: {prompt_tokens: 1000, output_tokens: 200}"
    row = ROW.replace("Qwen/Qwen2.5-VL-7B-Instruct", "ours/Tuned-8B").replace("0.32}", "2.0}")
    row = re.sub("workload: .*", text, row).replace("weights: bf16", "weights: bfloat16\n  note: passed over")
    described = row.replace(
        "measurements:", f"models:\n  ours/Tuned-8B: {{hf_config: {json.dumps(config)}}}\nmeasurements:"
    )
    results.write_text(described)
    overlay = tmp_path / "ours"
    ran = vlmctl("calibrate", str(results), "--catalog-overlay", str(overlay), "-o", "json")
    assert ran.code == 0, ran.err
    assert [(point["model"], point["weights"]) for point in ran.json["points"]] == [("ours/Tuned-8B", "bf16")]
    assert ran.json["answers"] == []
    assert vlmctl("catalog", "check", str(overlay)).code == 0

    kept = load_catalog([overlay])
    assert kept.described["ours/Tuned-8B"].config == config
    calibration = calibration_of(kept)
    assert calibration is not None
    assert [each.ids for each in calibration.evidence] == [("ours-l4-c8",)]

    results.write_text(row.replace("ours-l4-c8", "later").replace("concurrency: 8", "concurrency: 16"))
    assert vlmctl("accuracy", str(results), "-o", "json").json["answered"] == 0
    assert vlmctl("accuracy", str(results), "--catalog", str(overlay), "-o", "json").json["answered"] == 1
    ran = vlmctl("calibrate", str(results), "--catalog-overlay", str(overlay))
    assert ran.code == 0, ran.err
    assert load_catalog([overlay]).described == kept.described
    assert len(load_catalog([overlay]).measurements) == 2


def test_it_counts_what_it_keeps(vlmctl: CommandLine, results: Path) -> None:
    """One measurement is one, and two are two."""
    assert "1 measurement is kept" in " ".join(vlmctl("calibrate", str(results)).out.split())
    results.write_text(ROW + ROW.replace("ours-l4-c8", "second").partition("measurements:\n")[2])
    assert "2 measurements are kept" in " ".join(vlmctl("calibrate", str(results)).out.split())


def test_rows_without_an_estimate_are_left_out(vlmctl: CommandLine, results: Path) -> None:
    """A row that the planner cannot answer, or cannot believe, is named; the others count. Alone it is an error."""
    unbelievable = ROW.replace("requests_per_second: 0.32", "requests_per_second: 320").replace("ours-l4-c8", "slip")
    results.write_text(ROW + unbelievable.partition("measurements:\n")[2])
    ran = vlmctl("calibrate", str(results), "-o", "json")
    assert ran.code == 0, ran.err
    assert [each["id"] for each in ran.json["points"]] == ["ours-l4-c8"]
    assert [each["id"] for each in ran.json["refused"]] == ["slip"]
    assert "more than tenfold" in ran.json["refused"][0]["reason"]
    results.write_text(unbelievable)
    ran = vlmctl("calibrate", str(results))
    assert ran.code == 2
    assert "no row can be used; slip: " in ran.err


def test_open_loads_are_passed_over_and_counted(vlmctl: CommandLine, results: Path) -> None:
    """Their rate is the client's: they are told with their number and the reason, and fail no file, not even alone."""
    opened = ROW.replace("{kind: closed, concurrency: 8}", "{kind: open, requests: 40}").partition("measurements:\n")[2]
    rows = "".join(opened.replace("ours-l4-c8", f"rate-{number}") for number in range(5))
    results.write_text(ROW + rows)
    ran = vlmctl("calibrate", str(results))
    assert ran.code == 0, ran.err
    shown = " ".join(ran.out.split())
    assert "Left out: 5 of 6 rows" in shown
    assert "rate-0 and 4 more: its load is open" in shown
    assert "1 measurement is kept" in shown
    results.write_text("schema: vlmctl.dev/measurements/v1\nmeasurements:\n" + rows)
    overlay = results.parent / "ours"
    alone = vlmctl("calibrate", str(results), "--catalog-overlay", str(overlay))
    assert alone.code == 0, alone.err
    assert "Left out: 5 of 5 rows" in alone.out
    assert "Nothing was taken in." in alone.out
    assert not overlay.exists()
    found = vlmctl("calibrate", str(results), "--catalog-overlay", str(overlay), "-o", "json").json
    assert (found["points"], found["answers"], len(found["refused"])) == ([], [], 5)


def test_a_file_that_is_not_there(vlmctl: CommandLine, tmp_path: Path) -> None:
    """A name that is no file, and a file without rows, are said to be so."""
    ran = vlmctl("calibrate", str(tmp_path / "none.yaml"))
    assert ran.code == 2
    assert "none.yaml: cannot be read" in ran.err
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    ran = vlmctl("calibrate", str(empty))
    assert ran.code == 2
    assert "holds no measurements" in ran.err


def test_measurements_do_not_change_what_is_found(vlmctl: CommandLine, results: Path) -> None:
    """With measurements too, the search that passes over dear placements finds what looking at all of them does."""
    from vlmctl import library
    from vlmctl.planning.recommend import recommend

    results.write_text(ROW.replace("0.32}", "0.9}").replace("1900.0", "400.0").replace("90.0", "40.0"))
    assert vlmctl("calibrate", str(results)).code == 0
    question = library.Question({"image": "1280x720", "rps": 3, "family": "Qwen2.5-VL", "min_score": None})
    assert question.calibration is not None
    whole = recommend(question.catalog, question.requirements, exhaustive=True, calibration=question.calibration)
    assert question.recommend().answers == whole.answers
    assert {answer.basis for answer in whole.answers} >= {"calibrated"}
