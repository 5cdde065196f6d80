"""Parameters of a checkpoint by component, counted from the headers of its safetensors files."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from vlmctl.errors import InvalidFile

# The format: 8 bytes of little-endian header length, then JSON of at most 100 MB (huggingface/safetensors README).
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_PACKED_BITS = 32  # of an I32 element that holds several quantized weights
_WEIGHTS_PER_BYTE = 2  # of a U8 element that holds 4-bit weights

# Tensors beside the weights: scales, zero points and permutations of quantized ones, and buffers.
_NOT_WEIGHTS = re.compile(
    r"(scales?|scale_inv|scale_2|zeros|zero_point|g_idx|weight_shape|input_scale|[kv]_scale|absmax|rotary_emb\.inv_freq"
    r"|masked_bias|num_batches_tracked|position_ids)$"
)
_SPECULATIVE = re.compile(r"(^|\.)mtp(\.|_)|(^|\.)nextn\.|(^|\.)eagle")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_EXPERTS = re.compile(r"\.experts?\.(\d+\.|gate_up_proj|down_proj|gate_proj|up_proj|w[123]\b)")
_PER_LAYER_EMBEDDING = "embed_tokens_per_layer"
_PROJECTOR = re.compile(
    r"(^|\.)(multi_modal_projector|mm_projector|mlp1|connector|resampler|aligner|projector|qformer|query_tokens"
    r"|language_projection|img_projection|img_projection_norm|image_projector|image_pooling_2d|embed_vision|vte"
    r"|merger|merger_list|deepstack_merger_list|linear_proj|perceiver_resampler|mlp_AR|mm_input_projection\w*"
    r"|vit_large_projector|vision_projection|image_newline|view_seperator|glb_GN|sub_GN)(\.|$)"
)
_VISION = re.compile(
    r"(^|\.)(visual|vision_tower|vision_model|vision_encoder|vision_backbone|vision|vit|vpm|visual_tokenizer|image_vit"
    r"|img_processor|image_encoder|vision_transformer|sam_model|patch_embed_vision)\."
)
_AUDIO = re.compile(r"(^|\.)(audio_tower|audio_model|audio_encoder|audio_embed|apm|embed_audio|token2wav|talker)\.")
_LANGUAGE = re.compile(r"(^|\.)(language_model|llm|text_model)\.")


class Tensor(NamedTuple):
    """One line of a header."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Counts(NamedTuple):
    """Parameters of a checkpoint. `experts`: routed experts; `looked_up`: embeddings that are read, not multiplied."""

    language: int
    vision: int
    projector: int
    other: int  # audio
    experts: int
    looked_up: int

    @property
    def total(self) -> int:
        """All parameters that are loaded."""
        return self.language + self.vision + self.projector + self.other


def read_header(path: Path) -> list[Tensor]:
    """The tensors that a safetensors file says it holds; raises InvalidFile where it is damaged or no such file."""
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH_BYTES else 0
            if not 0 < length <= _MAX_HEADER_BYTES:
                raise InvalidFile(str(path), "is not a safetensors file.", remedy="Download it again.")
            content = json.loads(file.read(length))
    except OSError as error:
        raise InvalidFile(str(path), f"cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidFile(str(path), "has a damaged safetensors header.", remedy="Download it again.") from error
    return tensors_of(content, str(path))


def tensors_of(header: Mapping[str, Any], path: str) -> list[Tensor]:
    """The tensors in a parsed header; raises InvalidFile for lines that are not as the format says."""
    try:
        return [
            Tensor(name, str(entry["dtype"]), tuple(int(side) for side in entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidFile(path, "has a damaged safetensors header.", remedy="Download it again.") from error


def count(tensors: Iterable[Tensor], *, layers: int, bits: int | None = None) -> Counts:
    """Parameters by component. `layers`: of the decoder, what lies beyond them serves speculative decoding and is not
    loaded; `bits`: of packed weights.
    """
    sums = dict.fromkeys(Counts._fields, 0)
    for tensor in tensors:
        parameters = _parameters(tensor, bits)
        component = component_of(tensor.name)
        layer = _LAYER.search(tensor.name) if component == "language" else None
        if not parameters or _SPECULATIVE.search(tensor.name) or (layer is not None and int(layer[1]) >= layers):
            continue
        sums[component] += parameters
        if _EXPERTS.search(tensor.name):
            sums["experts"] += parameters
        if _PER_LAYER_EMBEDDING in tensor.name:
            sums["looked_up"] += parameters
    return Counts(**sums)


def component_of(name: str) -> str:
    """``language``, ``vision``, ``projector`` or ``other``, from the name of a tensor."""
    if _AUDIO.search(name):
        return "other"
    if _LANGUAGE.search(name) and not _VISION.search(name):
        return "language"
    if _PROJECTOR.search(name):
        return "projector"
    return "vision" if _VISION.search(name) else "language"


def _parameters(tensor: Tensor, bits: int | None) -> int:
    if _NOT_WEIGHTS.search(tensor.name):
        return 0
    elements = prod(tensor.shape)
    if tensor.dtype == "I32":
        return elements * (_PACKED_BITS // (bits or 4))
    return elements * _WEIGHTS_PER_BYTE if tensor.dtype == "U8" else elements
