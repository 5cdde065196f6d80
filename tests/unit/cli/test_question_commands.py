"""recommend, cost, fit, plan, explain and advise: what people see, and the keys that machines may rely on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import CommandLine
from vlmctl.planning.advise import QUESTIONS
from vlmctl.specs.answers import Answer, Breach, FitReport, Quality
from vlmctl.specs.workload import Task

PAGE_WIDTH = 100
INVOICES = ("--task", "document-ocr", "--language", "ja", "--image", "1680x2240", "--rps", "2", "--ttft", "2s")
RECOMMEND_KEYS = {
    "requirements",
    "assumptions",
    "notes",
    "answers",
    "pareto",
    "near_misses",
    "rejected",
    "smaller_tools",
    "why",
    "prices_as_of",
}
PROMISED_ANSWER_KEYS = {
    "model",
    "gpu",
    "gpu_count",
    "quantization",
    "usd_per_1k_requests",
    "ttft_seconds",
    "requests_per_second",
    "quality",
    "basis",
}
OPTION_KEYS = {
    "model",
    "gpu",
    "gpu_count",
    "replicas",
    "quantization",
    "provider",
    "region",
    "instance_type",
    "kind",
    "usd_per_hour",
    "usd_per_1k_requests",
    "saturated_usd_per_1k_requests",
    "usd_per_1k_images",
    "usd_per_1k_pages",
    "usd_per_million_tokens",
    "usd_per_month",
    "utilization",
    "requests_per_second",
    "ttft_seconds",
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "tpot_seconds",
    "tpot_p50_seconds",
    "tpot_p95_seconds",
    "e2e_seconds",
    "e2e_p50_seconds",
    "e2e_p95_seconds",
    "goodput",
    "basis",
    "error_median",
    "error_p90",
    "as_of",
    "source",
}


@pytest.mark.parametrize(
    "words",
    [
        ("recommend", *INVOICES, "--license", "commercial", "--why", "internvl3-8b"),
        ("recommend", "--task", "transcription", "--include-unverified", "--top", "30"),
        ("cost", "qwen2.5-vl-7b", "--image", "336..2048", "--rps", "2", "--compare-apis"),
        ("fit", "qwen2.5-vl-7b", "--gpu", "L4"),
        ("fit", "qwen2.5-vl-7b"),
        ("explain", "qwen2.5-vl-7b", "--rps", "2"),
    ],
    ids=" ".join,
)
def test_pages_fit_a_hundred_columns(words: tuple[str, ...], vlmctl: CommandLine) -> None:
    """Where stdout is no terminal, no line is wider than a page."""
    ran = vlmctl(*words)
    assert (ran.code, ran.err) == (0, "")
    assert max(len(line) for line in ran.out.splitlines()) <= PAGE_WIDTH


class TestRecommend:
    def test_keys_are_stable(self, vlmctl: CommandLine) -> None:
        """The JSON object, its answers, near misses and rejections have the keys that are documented."""
        found = vlmctl("recommend", *INVOICES, "--max-params", "8", "-o", "json").json
        assert set(found) == RECOMMEND_KEYS
        assert set(Answer.__struct_fields__) >= PROMISED_ANSWER_KEYS
        assert all(set(answer) == set(Answer.__struct_fields__) for answer in found["answers"])
        assert all(set(answer["quality"]) == set(Quality.__struct_fields__) for answer in found["answers"])
        assert all(set(near) == {"model", "breach", "answer"} for near in found["near_misses"])
        assert all(set(near["breach"]) == set(Breach.__struct_fields__) for near in found["near_misses"])
        assert all(set(each) == {"model", "breaches"} for each in found["rejected"])

    def test_keys_are_documented(self) -> None:
        """docs/json.md names every key of the object, no other, and what each answer is sure to have."""
        text = (Path(__file__).parents[3] / "docs" / "json.md").read_text(encoding="utf-8")
        section = text.split("## `vlmctl recommend`")[1].split("## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert {row.split("`")[1] for row in rows} == RECOMMEND_KEYS
        answer = section.split("Each answer has")[1]
        assert [key for key in PROMISED_ANSWER_KEYS if f"`{key}`" not in answer] == []

    def test_seven_is_more_than_eight(self, vlmctl: CommandLine) -> None:
        """A "7B" of 8.29 billion parameters misses --max-params 8, by 0.29, and says so."""
        found = vlmctl("recommend", *INVOICES, "--max-params", "8", "-o", "json").json
        near = next(each for each in found["near_misses"] if each["model"] == "qwen2.5-vl-7b")
        assert near["breach"]["requirement"] == "max-params"
        assert near["breach"]["by"] == "0.29 billion over"

    def test_top_cuts_answers_only(self, vlmctl: CommandLine) -> None:
        """--top bounds the answers, the best of them; near misses and rejections stay."""
        few, many = (vlmctl("recommend", *INVOICES, "--top", n, "-o", "json").json for n in ("2", "9"))
        assert few["answers"] == many["answers"][:2]
        assert few["near_misses"] == many["near_misses"]

    def test_options_of_a_file_and_the_line(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """--require reads options by name; what stands on the line wins."""
        file = tmp_path / "needs.yaml"
        options = {"task": "chart", "image": "1280x720", "rps": 2, "ttft": "2s", "top": 3}
        file.write_text(yaml.safe_dump(options), encoding="utf-8")
        from_file = vlmctl("recommend", "--require", str(file), "--top", "4", "-o", "json").json
        line = ("--task", "chart", "--image", "1280x720", "--rps", "2", "--ttft", "2s", "--top", "4")
        assert from_file == vlmctl("recommend", *line, "-o", "json").json

    def test_a_mistake_in_the_file_has_a_line(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """An unknown option in a file is named with its line and the closest known one."""
        file = tmp_path / "needs.yaml"
        file.write_text("task: chart\nmax_param: 8\n", encoding="utf-8")
        ran = vlmctl("recommend", "--require", str(file))
        assert ran.code == 2
        assert ran.err == f"error: {file}:2: unknown field 'max_param'. Did you mean 'max_params'?\n"

    def test_impossible_requirements_name_what_to_relax(self, vlmctl: CommandLine) -> None:
        """Nothing is that fast: the document is whole, the exit code 3, and the error names --ttft."""
        ran = vlmctl("recommend", "--task", "chart", "--ttft", "1ms", "-o", "json")
        assert ran.code == 3
        assert ran.json["answers"] == []
        assert "Relax --ttft" in ran.err

    def test_why_tells_of_any_model(self, vlmctl: CommandLine) -> None:
        """--why explains answers, near misses and the rejected alike, under any of their names."""
        names = ("qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-72B-Instruct", "llava-1.5-7b", "gemma-3-1b")
        words = [word for name in names for word in ("--why", name)]
        why = vlmctl("recommend", *INVOICES, *words, "-o", "json").json["why"]
        assert len(why) == len(names)
        assert all(model in text for model, text in why.items())

    def test_the_smaller_tool_is_named(self, vlmctl: CommandLine) -> None:
        """Plain transcription needs no VLM: an OCR engine is named, and what it would lose."""
        ran = vlmctl("recommend", "--task", "transcription")
        assert "OCR engine" in ran.out
        assert "What is lost" in ran.out

    def test_owned_gpus_need_no_offer(self, vlmctl: CommandLine) -> None:
        """With --owned every answer runs on the owned GPUs, and an unknown purchase price is said."""
        owned = ("--owned", "4xL40S", "--task", "chart", "--rps", "1", "-o", "json")
        found = vlmctl("recommend", *owned).json
        assert {answer["gpu"] for answer in found["answers"]} == {"L40S"}
        assert all(answer["gpu_count"] * answer["replicas"] <= 4 for answer in found["answers"])
        assert any("--purchase-usd" in text for text in found["assumptions"])
        dearer = vlmctl("recommend", "--purchase-usd", "9000", *owned).json
        assert not any("--purchase-usd" in text for text in dearer["assumptions"])
        assert dearer["answers"][0]["usd_per_month"] > found["answers"][0]["usd_per_month"]

    def test_help_names_every_task(self, vlmctl: CommandLine) -> None:
        """A reader of the help sees what --task takes."""
        said = vlmctl("recommend", "--help").out.replace("\n", " ")
        assert all(task.value in said for task in Task)

    def test_every_documented_option_exists(self, vlmctl: CommandLine) -> None:
        """The options that people were promised are there."""
        promised = (
            "--task --language --license --max-params --min-context --multi-image --needs --image --images --video "
            "--prompt-tokens --output-tokens --rps --concurrency --ttft --tpot --max-usd-per-1k --max-usd-per-month "
            "--gpu --max-gpus --provider --region --spot --quantization --min-score --family --include-unverified "
            "--owned --top --require --why --catalog --output"
        )
        said = vlmctl("recommend", "--help").out
        assert [name for name in promised.split() if name not in said] == []


class TestCost:
    def test_keys_are_stable(self, vlmctl: CommandLine) -> None:
        """Each option of each model has the documented keys, on demand and spot, cheapest first."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--rps", "2", "-o", "json").json
        assert set(found) == {"requirements", "assumptions", "owned", "models", "prices_as_of"}
        (model,) = found["models"]
        assert set(model) == {"model", "options", "scale_to_zero", "sweep", "apis", "problem"}
        assert all(set(option) == OPTION_KEYS for option in model["options"])
        assert {option["kind"] for option in model["options"]} >= {"on-demand", "spot"}
        prices = [option["usd_per_1k_requests"] for option in model["options"]]
        assert prices == sorted(prices)

    def test_more_images_never_cost_less(self, vlmctl: CommandLine) -> None:
        """The sweep over image counts goes from 1 to 8, and its price never falls."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--image", "1280x720", "--images", "1..8", "-o", "json").json
        sweep = found["models"][0]["sweep"]
        assert [point["images"] for point in sweep] == list(range(1, 9))
        prices = [point["option"]["usd_per_1k_requests"] for point in sweep]
        assert prices == sorted(prices)

    def test_sizes_sweep_between_their_ends(self, vlmctl: CommandLine) -> None:
        """The sweep over sizes starts and ends where it was asked to."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--image", "336..2048", "-o", "json").json
        images = [point["image"] for point in found["models"][0]["sweep"]]
        assert (images[0], images[-1]) == ("336x336", "2048x2048")

    def test_apis_are_compared_on_shared_benchmarks(self, vlmctl: CommandLine) -> None:
        """Hosted APIs have a price or a reason, and scores stand side by side with their split and mode."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--rps", "2", "--compare-apis", "-o", "json").json
        apis = found["models"][0]["apis"]
        assert all((api["usd_per_1k_requests"] is None) == bool(api["problem"]) for api in apis)
        shared = [score for api in apis for score in api["shared_scores"]]
        assert shared
        assert all(set(score) == {"benchmark", "split", "mode", "own", "api"} for score in shared)

    def test_owning_is_shown_in_parts(self, vlmctl: CommandLine) -> None:
        """Purchase, power and operations of an owned GPU are given apart and add up to its hourly cost."""
        words = ("--owned", "4xL40S", "--purchase-usd", "8760", "--years", "2", "--pue", "1.4", "--kwh-usd", "0.2")
        found = vlmctl("cost", "qwen2.5-vl-7b", *words, "-o", "json").json
        (parts,) = found["owned"]
        assert parts["gpu"] == "L40S"
        assert parts["purchase_usd_per_hour"] == pytest.approx(0.5)
        assert parts["power_usd_per_hour"] == pytest.approx(0.350 * 0.7 * 1.4 * 0.2)
        assert {option["provider"] for option in found["models"][0]["options"]} == {"owned"}

    def test_one_model_that_cannot_be_served_hides_no_other(self, vlmctl: CommandLine) -> None:
        """Of two models, the one without an engine has its reason, the other its prices."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "gemma-3-1b", "-o", "json").json
        served, text_only = found["models"]
        assert served["options"]
        assert not served["problem"]
        assert text_only["options"] == []
        assert "text only" in text_only["problem"]


class TestFit:
    def test_keys_are_stable(self, vlmctl: CommandLine) -> None:
        """Each report is the documented record."""
        found = vlmctl("fit", "qwen2.5-vl-7b", "--gpu", "L4", "-o", "json").json
        assert set(found) == {"models", "assumptions", "reports"}
        assert all(set(report) == set(FitReport.__struct_fields__) for report in found["reports"])

    def test_bars_are_drawn_to_one_scale(self, vlmctl: CommandLine) -> None:
        """Each item's bar is its share of the GPU's memory; the whole GPU is the longest."""
        lines = vlmctl("fit", "qwen2.5-vl-7b", "--gpu", "L4").out.splitlines()
        whole = next(line for line in lines if line.startswith("GPU memory")).count("#")
        weights = next(line for line in lines if line.startswith("language weights"))
        gib = float(weights.split("GiB")[0].split()[-1])
        assert weights.count("#") == pytest.approx(whole * gib / 22.5, abs=1)

    def test_ways_out_are_shown_where_it_does_not_fit(self, vlmctl: CommandLine) -> None:
        """A model too large for the GPU ends with 3, the shortfall and the nearest way out."""
        ran = vlmctl("fit", "qwen2.5-vl-72b", "--gpu", "L4")
        assert ran.code == 3
        assert "It does not fit" in ran.out
        assert "short per GPU" in ran.err

    def test_a_model_without_an_engine_is_warned_of(self, vlmctl: CommandLine) -> None:
        """Fitting the memory is not enough where no engine serves the model: both are said."""
        assert "it cannot be served" in vlmctl("fit", "idefics2-8b", "--gpu", "L40S").out
        assert "it cannot be served" in vlmctl("fit", "idefics2-8b").out

    def test_without_a_gpu_all_are_tried(self, vlmctl: CommandLine) -> None:
        """Each GPU of the catalog has one report, with the fewest that hold the model."""
        found = vlmctl("fit", "qwen2.5-vl-72b", "-o", "json").json
        gpus = vlmctl("gpus", "-o", "json").json
        assert [report["gpu"] for report in found["reports"]] == [gpu["id"] for gpu in gpus]
        assert {report["gpu_count"] for report in found["reports"] if report["fits"]} > {1}


class TestPlan:
    def test_the_manifest_is_yaml(self, vlmctl: CommandLine) -> None:
        """Without more options the answer is a VLMDeployment with its figures as comments."""
        ran = vlmctl("plan", "qwen2.5-vl-7b", "--rps", "2")
        assert yaml.safe_load(ran.out)["kind"] == "VLMDeployment"
        assert ran.out.startswith("#")

    @pytest.mark.parametrize("form", ["vlmdeployment", "vllm", "compose", "kubernetes"])
    def test_a_plan_equals_itself(self, form: str, tmp_path: Path, vlmctl: CommandLine) -> None:
        """--diff reads every format that plan writes, and finds no change against the same plan."""
        file = tmp_path / "plan"
        same = ("plan", "qwen2.5-vl-7b", "--rps", "2", "--format", form)
        assert vlmctl(*same, "--write", str(file)).code == 0
        change = vlmctl(*same, "--diff", str(file), "-o", "json").json["diff"]
        assert change["gpus"] == change["reserved_bytes"] == change["usd_per_1k_requests"] == 0
        assert change["changed"] == []

    def test_it_explains_itself_before_it_is_applied(self, vlmctl: CommandLine) -> None:
        """--explain shows every argument that the written command holds, and the terms of `explain`."""
        words = ("qwen2.5-vl-7b", "--rps", "2", "--gpu", "L4")
        command = shlex.split(vlmctl("plan", *words, "--format", "vllm").out.replace("\\\n", ""), comments=True)
        found = vlmctl("plan", *words, "--explain", "-o", "json").json
        arguments = [
            word
            for each in found["arguments"]
            for word in ([f"{each['flag']}={each['values'][0]}"] if each["values"] else [each["flag"]])
        ]
        assert command == ["vllm", "serve", found["plan"]["placement"]["repository"], *arguments]
        assert found["sections"] == vlmctl("explain", *words, "-o", "json").json["sections"]
        assert vlmctl("plan", *words, "-o", "json").json["sections"] is None
        shown = vlmctl("plan", *words, "--explain").out
        assert "--max-num-seqs=" in shown
        assert "KV cache" in shown
        assert "kind: VLMDeployment" not in shown

    def test_a_larger_load_differs(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """Ten times the load takes more GPUs and dollars, and the table says how many."""
        file = tmp_path / "plan.yaml"
        vlmctl("plan", "qwen2.5-vl-7b", "--gpu", "L4", "--rps", "1", "--write", str(file))
        ran = vlmctl("plan", "qwen2.5-vl-7b", "--gpu", "L4", "--rps", "10", "--diff", str(file), "-o", "json")
        assert ran.json["diff"]["gpus"] > 0
        assert ran.json["diff"]["usd_per_hour"] > 0

    def test_a_budget_guards(self, vlmctl: CommandLine) -> None:
        """Above the limit the exit code is 5, with the plan still on stdout; below it 0."""
        words = ("plan", "qwen2.5-vl-7b", "--rps", "2")
        over = vlmctl(*words, "--max-usd-per-1k", "0.0001")
        assert over.code == 5
        assert yaml.safe_load(over.out)["kind"] == "VLMDeployment"
        assert vlmctl(*words, "--max-usd-per-1k", "100", "--max-usd-per-month", "1000000").code == 0
        assert vlmctl(*words, "--max-usd-per-month", "1").code == 5

    def test_without_a_model_the_best_is_planned(self, vlmctl: CommandLine) -> None:
        """`plan` alone takes what `recommend` ranks first; models that bring code of their own only where allowed."""
        words = ("--task", "document-ocr", "--image", "1680x2240", "--rps", "2")
        best = vlmctl("recommend", *words, "-o", "json").json["answers"]
        allowed = vlmctl("plan", *words, "--allow-remote-code", "-o", "json").json["plan"]["placement"]
        assert allowed["model"] == best[0]["model"]
        careful = vlmctl("plan", *words, "-o", "json").json["plan"]["placement"]
        first = next(each for each in best if not any("trust_remote_code" in text for text in each["warnings"]))
        assert careful["model"] == first["model"]

    def test_a_file_that_is_no_plan(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """--diff against anything else names the file."""
        file = tmp_path / "notes.txt"
        file.write_text("shopping: [milk]\n", encoding="utf-8")
        ran = vlmctl("plan", "qwen2.5-vl-7b", "--diff", str(file))
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert str(file) in ran.err

    def test_a_file_that_cannot_be_written(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """Where the plan cannot be written the exit code is 6 and nothing is left."""
        ran = vlmctl("plan", "qwen2.5-vl-7b", "--write", str(tmp_path / "no" / "plan.yaml"))
        assert ran.code == 6
        assert list(tmp_path.iterdir()) == []


class TestExplain:
    def test_every_term_has_formula_and_source(self, vlmctl: CommandLine) -> None:
        """No number stands without how it was worked out and where it is from."""
        found = vlmctl("explain", "qwen2.5-vl-7b", "--rps", "2", "-o", "json").json
        assert set(found) == {"model", "assumptions", "placement", "sections"}
        terms: list[dict[str, Any]] = [term for section in found["sections"] for term in section["terms"]]
        assert len(terms) > 20
        assert all(set(term) == {"name", "value", "unit", "formula", "source"} for term in terms)
        assert all(term["formula"] and term["source"] for term in terms)

    def test_it_explains_what_plan_chose(self, vlmctl: CommandLine) -> None:
        """The placement is that of `plan`."""
        words = ("qwen2.5-vl-7b", "--rps", "2", "-o", "json")
        assert vlmctl("explain", *words).json["placement"] == vlmctl("plan", *words).json["plan"]["placement"]


class TestAdvise:
    def test_answers_of_a_file_end_in_an_answer(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """Answers by question, in YAML's own types, lead to the requirements they mean."""
        file = tmp_path / "answers.yaml"
        answers = {"vision": True, "task": "document-ocr", "images": 2, "language": ["ja", "en"], "size": False}
        file.write_text(yaml.safe_dump(answers), encoding="utf-8")
        found = vlmctl("advise", "--answers", str(file), "-o", "json").json
        assert set(found) == RECOMMEND_KEYS
        assert found["requirements"]["languages"] == ["ja", "en"]
        assert found["requirements"]["multiple_images"] is True
        assert found["requirements"]["workload"]["images"][0]["count"] == 2
        assert found["assumptions"] == [
            "image 1280x720",
            "license commercial",
            "grounding no",
            "answers of 512 tokens",
        ]

    def test_no_images_need_no_vlm(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """Without images a text model is named."""
        file = tmp_path / "answers.yaml"
        file.write_text("vision: no\n", encoding="utf-8")
        assert "text language model" in vlmctl("advise", "--answers", str(file)).out

    def test_an_answer_that_is_none(self, tmp_path: Path, vlmctl: CommandLine) -> None:
        """A wrong answer says which would be right."""
        file = tmp_path / "answers.yaml"
        file.write_text("license: free\n", encoding="utf-8")
        ran = vlmctl("advise", "--answers", str(file))
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "permissive" in ran.err

    def test_questions_are_asked_on_a_terminal(self, vlmctl: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each question is put once, and again where its answer is none; empty answers take the default."""
        asked: list[str] = []
        replies = iter(["maybe", *("" for _ in QUESTIONS)])

        def prompt(text: str, default: str, err: bool) -> str:
            asked.append(text)
            return next(replies) or default

        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("typer.prompt", prompt)
        ran = vlmctl("advise", "-o", "json")
        assert ran.code == 0
        assert len(asked) == len(QUESTIONS) + 1
        assert ran.json["requirements"]["license"] == "commercial"

    def test_without_a_terminal_it_asks_for_a_file(self, vlmctl: CommandLine) -> None:
        """A pipe cannot answer: it is told how to."""
        ran = vlmctl("advise")
        assert ran.code == 2
        assert "--answers FILE" in ran.err
