"""plan and explain: what people see, and the keys that machines may rely on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import CommandLine


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
