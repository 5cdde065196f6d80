"""Reading files of start-up figures, and finding the model and the GPU of a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vlmctl.catalog.engine_memory import engine_memory_of, gpu_of, read_engine_memory
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.measurements import read_measurements
from vlmctl.errors import InvalidFile
from vlmctl.library.judging_memory import judge_starts
from vlmctl.specs.engine_memory import SCHEMA, EngineMemoryCase
from vlmctl.specs.measurements import SCHEMA as SERVING

HERE = Path("figures.yaml")
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def _read(**changes: Any) -> EngineMemoryCase:
    raw = {"id": "a", "model": "meta-llama/Llama-3.1-8B", "is_vlm": False, "engine": "V1", "measured": {}, **changes}
    file = engine_memory_of({"schema": SCHEMA, "cases": [raw]}, HERE)
    assert not file.set_aside
    return file.cases[0]


def test_arguments_are_read_however_they_are_written() -> None:
    """Dashes or underscores, people's numbers, nested limits; unknown ones are passed over."""
    case = _read(
        args={
            "--max-model-len": "28k",
            "max-num-seqs": 4,
            "limit_mm_per_prompt": {"image": {"count": 2, "width": 640}, "video": 0},
            "mm_processor_kwargs": {"images_kwargs": {"size": {"longest_edge": 1003520}}},
            "port": 8000,
        }
    )
    given = case.arguments
    assert (given.max_model_len, given.max_num_seqs, given.images, given.videos) == (28000, 4, 2, 0)
    assert given.max_pixels == 1003520
    assert given.unmodelled == ()


@pytest.mark.parametrize("limits", ["image=4,video=0", '{"image": 4, "video": 0}', {"image": 4, "video": 0}])
def test_limits_are_read_as_on_a_command_line(limits: object) -> None:
    """A mapping, JSON, or pairs."""
    given = _read(args={"limit_mm_per_prompt": limits}).arguments
    assert (given.images, given.videos) == (4, 0)


def test_given_arguments_win_over_what_the_engine_resolved() -> None:
    """Defaults that the engine printed fill in; so does the length that it printed its concurrency for."""
    case = _read(
        args={"max_num_seqs": 8},
        effective_defaults={"max_num_seqs": 256, "max_num_batched_tokens": 2048},
        measured={"max_concurrency_at_tokens": 16384, "weights_gib": 14.99, "gpu_blocks": 3},
    )
    assert (case.arguments.max_num_seqs, case.arguments.max_num_batched_tokens) == (8, 2048)
    assert case.arguments.max_model_len == 16384
    assert case.measured.weights_gib == 14.99


def test_drafters_and_unmodelled_arguments_are_noticed() -> None:
    """A resident drafter is in a note or in the arguments."""
    assert _read(args_note="MTP n=4, bf16 KV").drafter
    assert not _read(args_note="arguments of the opening post").drafter
    assert _read(args={"cpu_offload_gb": 4, "enable_lora": False}).arguments.unmodelled == ("cpu_offload_gb",)


def test_a_case_that_cannot_be_read_is_set_aside() -> None:
    """One mistake does not hide the file."""
    cases = [{"id": "good", "model": "a/b"}, {"id": "bad", "model": "a/b", "args": {"max_num_seqs": "many"}}, 7]
    cases.append({"id": "odd", "model": "a/b", "effective_defaults": ["max_num_seqs"]})
    cases.append({"id": "cut", "model": "a/b", "args": {"limit_mm_per_prompt": '{"image": '}})
    file = engine_memory_of({"schema": SCHEMA, "cases": cases}, HERE)
    assert [case.id for case in file.cases] == ["good"]
    assert [each.id for each in file.set_aside] == ["bad", "case 3 of figures.yaml", "odd", "cut"]


@pytest.mark.parametrize(
    "content", [{"schema": "other", "cases": []}, {"schema": SCHEMA}, {"schema": SCHEMA, "cases": {}}]
)
def test_other_documents_are_refused(content: dict[str, Any]) -> None:
    """Another schema, or no list of cases."""
    with pytest.raises(InvalidFile):
        engine_memory_of(content, HERE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "nobody/knows-this"}, "unknown model"),
        ({"model": "Llama-3.1-8B (quantized checkpoint)", "model_exact": False}, "the source states neither"),
    ],
)
def test_models_that_nobody_describes_are_refused(changes: dict[str, Any], reason: str) -> None:
    """An unknown repository, or words that leave open which checkpoint was served."""
    raw = {"id": "a", "model": "meta-llama/Llama-3.1-8B", "engine": "V1", "measured": {"weights_gib": 15.0}, **changes}
    models = {"meta-llama/Llama-3.1-8B": {"hf_config": LLAMA}}
    file = engine_memory_of({"schema": SCHEMA, "cases": [raw], "models": models}, HERE)
    ((_, said),) = judge_starts([file], load_catalog()).refused
    assert reason in said


def test_cases_find_their_model_as_serving_rows_do() -> None:
    """Owner, precision, tuning and publisher in a case's name do not hide the model that the file describes."""
    names = ("RedHatAI/Meta-Llama-3.1-8B-quantized.w8a8", "someone/llama-3.1-8b-instruct-AWQ-4bit")
    cases = [{"id": name, "model": name, "engine": "V1", "measured": {"weights_gib": 15.0}} for name in names]
    models = {"meta-llama/Llama-3.1-8B": {"hf_config": LLAMA}}
    judged = judge_starts(
        [engine_memory_of({"schema": SCHEMA, "cases": cases, "models": models}, HERE)], load_catalog()
    )
    assert not judged.refused
    assert len(judged.predicted) == len(names)


@pytest.mark.parametrize(
    ("name", "total", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", 79.19, "H100-SXM"),
        ("NVIDIA A100 80GB", None, "A100-80GB-SXM"),
        ("NVIDIA A100-PCIE-40GB", 39.38, "A100-40GB-SXM"),
        ("NVIDIA GeForce RTX 5090", 31.4, "RTX5090"),
        ("NVIDIA L40S", None, "L40S"),
        ("NVIDIA A100", None, None),
        ("", 24.0, None),
    ],
)
def test_gpus_are_found_by_the_drivers_name(name: str, total: float | None, gpu: str | None) -> None:
    """One size of memory must be meant."""
    found = gpu_of(_read(gpu=name, gpu_total_gib=total), load_catalog())
    assert (found.id if found else None) == gpu


def test_models_beside_the_file_are_read(tmp_path: Path) -> None:
    """Configurations in the folder of a file serve its cases, and rows of serving runs alike."""
    (tmp_path / "figures.yaml").write_text(f"schema: {SCHEMA}\ncases: []\n", encoding="utf-8")
    (tmp_path / "engine_memory_models.yaml").write_text(
        "models: {toys/llama: {hf_config: {model_type: llama}}}\n", encoding="utf-8"
    )
    assert "toys/llama" in read_engine_memory(tmp_path / "figures.yaml").models
    (tmp_path / "runs.yaml").write_text(f"schema: {SERVING}\nmeasurements: []\n", encoding="utf-8")
    assert "toys/llama" in read_measurements(tmp_path / "runs.yaml").models


def test_arguments_printed_for_another_build_do_not_set_the_cache() -> None:
    """A table's command belongs to one of its rows: what the others kept their cache in is not known from it."""
    raw = {
        "id": "a",
        "model": "meta-llama/Llama-3.1-8B",
        "args": {"--kv-cache-dtype": "fp8", "max_model_len": 4096, "skip_mm_profiling": True},
        "args_note": "command printed for the other build of the same table",
    }
    (case,) = engine_memory_of({"schema": SCHEMA, "cases": [raw]}, HERE).cases
    assert (case.arguments.kv_cache_dtype, case.arguments.max_model_len) == (None, 4096)
    assert case.arguments.skips_encoder_profile


def test_formats_by_part_come_from_the_file_or_the_list_of_checkpoints() -> None:
    """The configuration that a file brings counts first, then what is known of the repository or its publisher."""
    quantized = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["re:.*self_attn.*"]}
    models = {"someone/own": {"hf_config": {**LLAMA, "quantization_config": quantized}}}
    names = ("someone/own", "Inferact/Qwen3.8-27B-NVFP4", "cyankiwi/Any-AWQ-4bit", "nobody/knows-this")
    cases = [{"id": name, "model": name} for name in names]
    own, listed, publisher, unknown = engine_memory_of({"schema": SCHEMA, "cases": cases, "models": models}, HERE).cases
    assert own.stored is not None
    assert own.stored.attention == "bf16"
    assert listed.stored is not None
    assert (listed.stored.attention, listed.stored.linear_inputs) == (None, "bf16")
    assert publisher.stored is not None
    assert (publisher.stored.group_size, publisher.stored.parts_known) == (32, False)
    assert unknown.stored is None
