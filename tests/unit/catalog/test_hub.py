"""Importing: public checkpoints become entries that agree with the catalog; what is not known is refused."""

from __future__ import annotations

import json
import struct
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlmctl.catalog.add import add_model, model_file
from vlmctl.catalog.check import check
from vlmctl.catalog.folders import shipped_folder
from vlmctl.catalog.hf_architectures import ARCHITECTURES
from vlmctl.catalog.hub import import_model
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_model
from vlmctl.errors import InvalidFile, NotReachable, UnknownName, UnsupportedModel, UsageError
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import AttentionKind, Commercial, Edition, Modality, ModelSpec, Precision

CHECKPOINTS = yaml.safe_load(Path(__file__).with_name("checkpoints.yaml").read_text())
BY_MODEL = {checkpoint["model"]: checkpoint for checkpoint in CHECKPOINTS}
PARAMETER_TOLERANCE = 0.02


def header(tensors: list[list[Any]], dtype: str = "BF16") -> dict[str, dict[str, Any]]:
    """A safetensors header from the compact list in checkpoints.yaml."""
    lines: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}
    for name, shape, count in tensors:
        for index in range(count):
            lines[name.replace("*", str(index))] = {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
    return lines


def write_safetensors(path: Path, lines: Mapping[str, Any]) -> None:
    content = json.dumps(lines).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content)


def folder_of(
    folder: Path,
    config: Mapping[str, Any],
    *,
    processor: Mapping[str, Any] | None = None,
    video: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if video is not None:
        (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    if tensors is not None:
        write_safetensors(folder / "model.safetensors", tensors)
    return folder


def imported(folder: Path, model: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> ModelSpec:
    """The import of a checkpoint of checkpoints.yaml, after a change to its configuration."""
    checkpoint = json.loads(json.dumps(BY_MODEL[model]))
    change(checkpoint["config"])
    name = checkpoint["repository"].rpartition("/")[2]
    path = folder_of(
        folder / name,
        checkpoint["config"],
        processor=checkpoint["processor"],
        video=checkpoint.get("video"),
        tensors=header(checkpoint["tensors"]),
    )
    return import_model(str(path), download=False)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.mark.parametrize("model", BY_MODEL)
def test_an_import_agrees_with_the_catalog(tmp_path: Path, catalog: Catalog, model: str) -> None:
    """What is read from a checkpoint is what the catalog says of it: parameters within 2%, everything else exactly."""
    found, known = imported(tmp_path, model), resolve_model(catalog, model)
    for part in ("total_billions", "language_billions", "vision_billions"):
        counted, published = getattr(found.parameters, part), getattr(known.parameters, part)
        assert counted == pytest.approx(published, rel=PARAMETER_TOLERANCE, abs=0.01), part
    assert found.parameters.basis == "from-headers"
    assert found.language is not None
    assert known.language is not None
    for field in ("layers", "hidden_size", "intermediate_size", "experts"):
        assert getattr(found.language, field) == getattr(known.language, field), field
    assert set(found.language.attention) == set(known.language.attention)
    assert found.image_tokens is not None
    assert known.image_tokens is not None
    assert found.image_tokens.rule == known.image_tokens.rule
    assert found.serving.architecture == known.serving.architecture
    assert found.context.tokens >= known.context.tokens
    assert found.connector is not None
    assert known.connector is not None
    assert found.connector.kind == known.connector.kind
    assert found.resolution is not None
    assert known.resolution is not None
    assert (found.resolution.strategy, found.resolution.effective_pixels) == (
        known.resolution.strategy,
        known.resolution.effective_pixels,
    )
    assert found.vision is not None
    assert known.vision is not None
    for field in ("layers", "hidden_size", "intermediate_size", "patch_pixels", "merge", "image_pixels"):
        assert getattr(found.vision, field) == getattr(known.vision, field), field
    assert (found.vision.window_pixels, found.vision.full_attention_layers) == (
        known.vision.window_pixels,
        known.vision.full_attention_layers,
    )


def test_an_imported_entry_is_a_sound_catalog_file(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an import writes into an overlay passes the check and is read back the same."""
    entry = imported(tmp_path, "qwen3.5-27b")
    path = add_model(tmp_path / "ours", entry)
    assert path == tmp_path / "ours" / "models" / "qwen3.5-27b.yaml"
    assert check([tmp_path / "ours"]) == []
    assert resolve_model(load_catalog([tmp_path / "ours"]), "Qwen3.5-27B") == entry
    assert model_file(entry) == path.read_text()


def test_a_mixture_of_experts_counts_what_is_active(tmp_path: Path) -> None:
    """Active parameters leave out the experts that a token does not use: 30B-A3B has 3.3 billion without its tables."""
    found = imported(tmp_path, "qwen3-vl-30b-a3b").parameters
    assert 3.0 < found.active_billions < 4.0


def test_a_folder_with_an_index_alone_gives_the_total(tmp_path: Path) -> None:
    """Where only the index of the weights is there, their size gives the total, and the parts are unknown."""
    checkpoint = BY_MODEL["qwen2-vl-2b"]
    folder = folder_of(tmp_path / "m", checkpoint["config"], processor=checkpoint["processor"])
    index = {"metadata": {"total_size": 4417971200}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    parameters = import_model(str(folder), download=False).parameters
    assert (parameters.total_billions, parameters.language_billions, parameters.basis) == (2.209, None, "computed")


def test_the_model_card_gives_licence_and_languages(tmp_path: Path) -> None:
    """Licence and languages come from the card's front matter, unverified; without a card they are unknown."""
    folder = Path(tmp_path / "Qwen2-VL-2B-Instruct")
    bare = imported(tmp_path, "qwen2-vl-2b")
    assert (bare.license.name, bare.license.commercial, bare.languages) == ("unknown", Commercial.UNKNOWN, None)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage:\n- en\n- no\n---\n# Hello\n")
    found = import_model(str(folder), download=False)
    assert (found.license.spdx, found.license.permissive, found.license.verified) == ("Apache-2.0", True, False)
    assert found.languages is not None
    assert found.languages.text == ("en", "no")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert import_model(str(folder), download=False).license.commercial is Commercial.NO


def test_quantized_weights_are_counted_unpacked(tmp_path: Path) -> None:
    """Eight 4-bit weights lie in one 32-bit element; scales and zero points are no parameters."""
    checkpoint = BY_MODEL["qwen2-vl-2b"]
    config = {**checkpoint["config"], "quantization_config": {"quant_method": "awq", "bits": 4}}
    lines = header([["model.embed_tokens.weight", [100, 8], 1], ["visual.blocks.*.attn.qkv.weight", [8, 8], 2]])
    lines["model.layers.0.mlp.up_proj.qweight"] = {"dtype": "I32", "shape": [1_000_000, 100]}
    lines["model.layers.0.mlp.up_proj.qzeros"] = {"dtype": "I32", "shape": [1000, 100]}
    lines["model.layers.0.mlp.up_proj.scales"] = {"dtype": "F16", "shape": [1000, 800]}
    found = import_model(
        str(folder_of(tmp_path / "m-AWQ", config, processor=checkpoint["processor"], tensors=lines)), download=False
    )
    assert found.precision is Precision.AWQ
    assert found.parameters.total_billions == 0.8


def test_layers_for_speculative_decoding_are_left_out(tmp_path: Path) -> None:
    """Layers beyond those of the decoder, and tensors of multi-token prediction, are not loaded and not counted."""
    found = imported(tmp_path, "qwen2-vl-2b").parameters
    checkpoint = BY_MODEL["qwen2-vl-2b"]
    more = [["model.language_model.layers.28.mlp.up_proj.weight", [9000, 9000], 1], ["mtp.fc.weight", [9000, 9000], 1]]
    folder = folder_of(
        tmp_path / "m",
        checkpoint["config"],
        processor=checkpoint["processor"],
        tensors=header(checkpoint["tensors"] + more),
    )
    assert import_model(str(folder), download=False).parameters.total_billions == found.total_billions


def test_a_text_model_is_imported_as_such(tmp_path: Path) -> None:
    """A model without an image encoder becomes an entry of text modality without a token rule."""
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 8192}
    tensors = header(
        [["model.embed_tokens.weight", [32000, 4096], 1], ["model.layers.*.self_attn.all.weight", [4096, 8192], 32]]
    )
    folder = folder_of(tmp_path / "Tiny-Base", config, tensors=tensors)
    found = import_model(str(folder), download=False)
    assert (found.modality, found.edition, found.image_tokens) == (Modality.TEXT, Edition.BASE, None)
    assert found.language is not None
    assert [group.kind for group in found.language.attention] == [AttentionKind.FULL]


REFUSED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    (
        "qwen2-vl-2b",
        lambda c: c.update(architectures=["NewVLForConditionalGeneration"]),
        "NewVLForConditionalGeneration",
    ),
    ("qwen2-vl-2b", lambda c: c.pop("architectures"), "how this model turns images"),
    ("qwen3-vl-2b", lambda c: c["text_config"].update(model_type="novel"), "'novel' are not known"),
    ("qwen3-vl-2b", lambda c: c["text_config"].update(hidden_size="many"), "not a whole number"),
    ("qwen2-vl-2b", lambda c: c.update(quantization_config={"quant_method": "exotic"}), "quantized by 'exotic'"),
    ("qwen2-vl-2b", lambda c: c.update(num_attention_heads=7), "cannot be divided among 7 heads"),
    ("qwen3.5-27b", lambda c: c["text_config"].update(layer_types=["warp"] * 64), "layers of the type 'warp'"),
    ("qwen3.5-27b", lambda c: c["text_config"].update(layer_types=["full_attention"]), "of 1 of 64 layers"),
    ("llava-1.5-7b", lambda c: c["vision_config"].update(model_type="novel_vit"), "'novel_vit' is not known"),
]


@pytest.mark.parametrize(("model", "change", "problem"), REFUSED)
def test_what_is_not_known_is_refused(
    tmp_path: Path, model: str, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    """An unknown architecture, decoder, kind of layer or quantization is told in one line, never filled in."""
    with pytest.raises(UnsupportedModel) as caught:
        imported(tmp_path, model, change)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_processor_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Limits that only the processor's file states are never assumed."""
    checkpoint = BY_MODEL["qwen2-vl-2b"]
    folder = folder_of(tmp_path / "m", checkpoint["config"], tensors=header(checkpoint["tensors"]))
    with pytest.raises(UnsupportedModel, match="shortest_edge"):
        import_model(str(folder), download=False)
    (folder / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 336, "longest_edge": 336}}')
    with pytest.raises(UnsupportedModel, match="not areas"):
        import_model(str(folder), download=False)


def test_damaged_folders_are_told_in_a_line(tmp_path: Path) -> None:
    """A folder without a configuration, broken JSON and a broken header name the file."""
    with pytest.raises(InvalidFile, match=r"holds no config\.json"):
        import_model(str(tmp_path), download=False)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidFile, match="not JSON"):
        import_model(str(tmp_path), download=False)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    for content in (b"", b"garbage!garbage", struct.pack("<Q", 4) + b"oops", struct.pack("<Q", 8) + b'{"a": 1}'):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(InvalidFile, match="safetensors"):
            import_model(str(tmp_path), download=False)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match="count its parameters"):
        import_model(str(folder_of(tmp_path, {"model_type": "llama", "max_position_embeddings": 1})), download=False)


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    """A folder with one of several weight files is an error, not a smaller model."""
    checkpoint = BY_MODEL["qwen2-vl-2b"]
    part = header([[name, shape, min(count, 1)] for name, shape, count in checkpoint["tensors"]])
    folder = folder_of(tmp_path / "part", checkpoint["config"], processor=checkpoint["processor"], tensors=part)
    with pytest.raises(InvalidFile, match="Download all"):
        import_model(str(folder), download=False)


def test_the_hub_is_read_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is no folder is refused unless the hub was asked for; without its client the remedy is told."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        import_model("Qwen/Qwen2-VL-2B-Instruct", download=False)
    with pytest.raises(UsageError, match="neither a folder nor a repository"):
        import_model("just-a-name", download=True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"vlmctl\[catalog\]"):
        import_model("Qwen/Qwen2-VL-2B-Instruct", download=True)


class FakeHub(types.ModuleType):
    """The part of huggingface_hub that is used, answering from a folder or with an error."""

    def __init__(self, folder: Path, failure: str | None = None) -> None:
        super().__init__("huggingface_hub")
        names = (
            "HfHubHTTPError",
            "RepositoryNotFoundError",
            "GatedRepoError",
            "NotASafetensorsRepoError",
            "SafetensorsParsingError",
            "OfflineModeIsEnabled",
        )
        self.errors = types.SimpleNamespace(**{name: type(name, (Exception,), {}) for name in names})
        self.folder = folder
        self.failure = failure
        self.HfApi = lambda: self

    def model_info(self, repository: str) -> types.SimpleNamespace:
        if self.failure is not None:
            raise getattr(self.errors, self.failure)(f"{repository} failed\nand more")
        siblings = [types.SimpleNamespace(rfilename=path.name) for path in self.folder.iterdir()]
        return types.SimpleNamespace(siblings=siblings, sha="0123456789abcdef", gated=False)

    def hf_hub_download(self, _repository: str, name: str, *, revision: str) -> str:
        assert revision == "0123456789abcdef"
        return str(self.folder / name)

    def get_safetensors_metadata(self, _repository: str, *, revision: str) -> types.SimpleNamespace:
        assert revision
        lines = header(BY_MODEL["qwen2-vl-2b"]["tensors"])
        tensors = {name: types.SimpleNamespace(**line) for name, line in lines.items() if name != "__metadata__"}
        return types.SimpleNamespace(files_metadata={"model.safetensors": types.SimpleNamespace(tensors=tensors)})


def test_a_repository_is_read_without_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub come the small files and the headers, at one revision, which the entry names as its source."""
    monkeypatch.chdir(tmp_path)
    local = imported(tmp_path, "qwen2-vl-2b")
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "Qwen2-VL-2B-Instruct"))
    found = import_model("Qwen/Qwen2-VL-2B-Instruct", download=True)
    assert found.repository == "Qwen/Qwen2-VL-2B-Instruct"
    assert found.parameters.total_billions == local.parameters.total_billions
    assert found.context.source == "Qwen/Qwen2-VL-2B-Instruct@0123456 config.json"
    assert found.license.gated is False


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ("GatedRepoError", UsageError),
        ("RepositoryNotFoundError", UnknownName),
        ("NotASafetensorsRepoError", InvalidFile),
        ("HfHubHTTPError", NotReachable),
        ("OfflineModeIsEnabled", NotReachable),
    ],
)
def test_failures_of_the_hub_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str, expected: type[Exception]
) -> None:
    """Whatever the hub answers, the user reads one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path, failure))
    with pytest.raises(expected) as caught:
        import_model("Some/Model", download=True)
    assert "\n" not in str(caught.value)


def test_every_architecture_is_one_that_the_catalog_knows() -> None:
    """Each architecture that can be imported stands in the shipped catalog too, where its rule is checked."""
    text = "".join(path.read_text() for path in (shipped_folder() / "models").glob("*.yaml"))
    only_by_class = {
        "InternVLForConditionalGeneration",
        "Mistral3ForConditionalGeneration",
    }
    assert {name for name in ARCHITECTURES if name not in text} <= only_by_class
