"""What lies in a model's repository: its configuration files and what its weights hold, read from a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vlmctl.catalog.hf_values import Config
from vlmctl.catalog.weights import Tensor, read_header
from vlmctl.errors import InvalidFile
from vlmctl.files import read_whole

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
QUANTIZATION = "hf_quant_config.json"
CARD = "README.md"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
VIDEO_PROCESSOR = "video_processor"
FILES = (CONFIG, *PROCESSOR_FILES, QUANTIZATION, INDEX, CARD)


class Checkpoint(NamedTuple):
    """A repository's files, parsed. `tensors` None: only the size of the weights is known, or not even that.

    `revision`: the commit of the hub that they are of.
    """

    name: str
    source: str
    config: Config
    processor: Config
    card: Config
    tensors: list[Tensor] | None
    weight_bytes: int | None
    gated: bool | None = None
    revision: str | None = None


def read_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a local folder; raises InvalidFile for a file that is missing or damaged."""

    def read(name: str) -> bytes | None:
        path = folder / name
        return read_whole(path) if path.is_file() else None

    index = _json(read(INDEX), folder / INDEX)
    paths = _weight_files(folder, index)
    tensors = [tensor for path in paths for tensor in read_header(path)] if paths else None
    return assemble(folder.resolve().name, f"{folder.resolve().name}/{CONFIG}", str(folder), read, tensors)


def assemble(
    name: str,
    source: str,
    place: str,
    read: Callable[[str], bytes | None],
    tensors: list[Tensor] | None,
    *,
    gated: bool | None = None,
) -> Checkpoint:
    """A checkpoint from files that `read` gives the bytes of. `place`: the folder or repository, for messages."""
    config = _json(read(CONFIG), Path(place, CONFIG))
    if config is None:
        remedy = "Name a folder, or a repository, that holds the model's config.json."
        raise InvalidFile(place, f"holds no {CONFIG}.", remedy=remedy)
    quantized = _json(read(QUANTIZATION), Path(place, QUANTIZATION))
    if quantized is not None and "quantization_config" not in config:
        config = {**config, "quantization_config": {"quant_method": "modelopt", **quantized.get("quantization", {})}}
    size = ((_json(read(INDEX), Path(place, INDEX)) or {}).get("metadata") or {}).get("total_size")
    return Checkpoint(
        name=name,
        source=source,
        config=config,
        processor=_processor({file: _json(read(file), Path(place, file)) for file in PROCESSOR_FILES}),
        card=_front_matter(read(CARD)),
        tensors=tensors,
        weight_bytes=int(size) if isinstance(size, int | float) else None,
        gated=gated,
    )


def _processor(files: Mapping[str, dict[str, Any] | None]) -> Config:
    """One mapping: the image processor's values, those of frames under ``video_processor``."""
    image, both, video = (files[name] or {} for name in PROCESSOR_FILES)
    merged = {**both, **both.get("image_processor", {}), **image}
    frames = {**both.get(VIDEO_PROCESSOR, {}), **video}
    return {**merged, VIDEO_PROCESSOR: frames} if frames else merged


def _weight_files(folder: Path, index: Config | None) -> list[Path]:
    """The files of the weights, each tensor once: those of the index if all are there, else the usual name's."""
    if index is not None and isinstance(index.get("weight_map"), dict):
        named = sorted({str(name) for name in index["weight_map"].values()})
        paths = [folder / name for name in named]
        return paths if all(path.is_file() for path in paths) else []
    return sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))


def _json(content: bytes | None, path: Path) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidFile(str(path), "is not JSON.", remedy="Download it again.") from error
    if not isinstance(value, dict):
        raise InvalidFile(str(path), "is not a JSON object.", remedy="Download it again.")
    return value


def _front_matter(card: bytes | None) -> Config:
    """The YAML between the first two lines of dashes of a model card; empty where there is none that can be read."""
    text = (card or b"").decode(errors="replace")
    if not text.startswith("---"):
        return {}
    from vlmctl.catalog.yaml_nodes import YamlError, compose, plain

    try:
        node = compose(text.split("\n---", 1)[0].encode())
        value = plain(node) if node is not None else {}
    except YamlError:
        return {}
    return value if isinstance(value, dict) else {}
