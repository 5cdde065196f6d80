"""recommend, and advise, which ends in it: what people see, and the keys that machines may rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.command_line import CommandLine
from vlmctl.planning.advise import QUESTIONS
from vlmctl.specs.answers import Answer, Breach, Quality
from vlmctl.specs.workload import Task

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
