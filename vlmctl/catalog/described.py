"""A model known by its configuration alone: what a measurement file brings along for a model nobody catalogued.

More is read here than `vlmctl models import` accepts, and nothing of it is verified: parameters are counted from the
shape, decoders of unlisted types are read by what the file states, and an image-token rule whose processor is not in
the file is that of a catalogued model of the same class, else of the class's processor, else assumed and said to be.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from vlmctl.catalog.hf_architectures import ARCHITECTURES, Architecture, architecture_name
from vlmctl.catalog.hf_class_rules import ASSUMED, assumed_rule, stated_rule
from vlmctl.catalog.hf_config import (
    context_tokens,
    language_model_from_config,
    precision,
    required_vision,
    vision_section,
)
from vlmctl.catalog.hf_parameters import GATED, PLAIN, count_decoder
from vlmctl.catalog.hf_quantized import stored_weights_of
from vlmctl.catalog.hf_values import Config, integer, shown
from vlmctl.catalog.hf_vision import vision_tower
from vlmctl.catalog.hub import sees_images
from vlmctl.errors import BeyondAnyModel, UnsupportedModel
from vlmctl.specs.model import (
    Context,
    License,
    Modality,
    ModelSpec,
    Parameters,
    Precision,
    Serving,
    TokenRuleFact,
    VisionTower,
)
from vlmctl.specs.tokens import TokenRuleKind

# Classes whose processor is that of another, or that transformers spells otherwise (vllm-project/vllm@v0.32.0
# vllm/model_executor/models: the processing class that each model registers; huggingface/transformers@v5.19.0
# src/transformers/models/auto/image_processing_auto.py).
_PROCESSED_AS: Mapping[str, str] = {
    "BailingMoeV3VLForConditionalGeneration": "Qwen2VLForConditionalGeneration",
    "BeeForConditionalGeneration": "LlavaNextForConditionalGeneration",
    "Cosmos3ForConditionalGeneration": "Qwen3VLForConditionalGeneration",
    "Cosmos3OmniForConditionalGeneration": "Qwen3VLForConditionalGeneration",
    "DeepseekOcr2ForConditionalGeneration": "DeepseekOCR2ForCausalLM",
    "DiffusionGemmaForBlockDiffusion": "Gemma4ForConditionalGeneration",
    "Eagle2_5_VLForConditionalGeneration": "InternVLChatModel",
    "Exaone4_5_ForConditionalGeneration": "Qwen2_5_VLForConditionalGeneration",
    "Glm46VForConditionalGeneration": "Glm4vForConditionalGeneration",
    "Granite4VisionForConditionalGeneration": "LlavaNextForConditionalGeneration",
    "H2OVLChatModel": "InternVLChatModel",
    "HfMoondream": "Moondream3ForCausalLM",
    "HyperCLOVAXVisionV2ForConditionalGeneration": "Qwen2_5_VLForConditionalGeneration",
    "InternS1ForConditionalGeneration": "InternVLChatModel",
    "InternS1ProForConditionalGeneration": "Qwen3VLForConditionalGeneration",
    "InternS2PreviewForConditionalGeneration": "Qwen3VLForConditionalGeneration",
    "InternVLForConditionalGeneration": "InternVLChatModel",
    "KeyeForConditionalGeneration": "KeyeVL1_5ForConditionalGeneration",
    "KimiK3ForConditionalGeneration": "KimiK25ForConditionalGeneration",
    "Kimi_K25ForConditionalGeneration": "KimiK25ForConditionalGeneration",
    "LightOnOCRForConditionalGeneration": "Mistral3ForConditionalGeneration",
    "LightOnOcrForConditionalGeneration": "Mistral3ForConditionalGeneration",
    "LlavaNextVideoForConditionalGeneration": "LlavaNextForConditionalGeneration",
    "MiniCPMV4_7ForConditionalGeneration": "MiniCPMV4_6ForConditionalGeneration",
    "Mistral3ForConditionalGeneration": "PixtralForConditionalGeneration",
    "NemotronH_Omni_Reasoning_V3": "NemotronH_Nano_Omni_Reasoning_V3",
    "NemotronH_Super_Omni_Reasoning_V3": "NemotronH_Nano_Omni_Reasoning_V3",
    "OpenCUAForConditionalGeneration": "Qwen2_5_VLForConditionalGeneration",
    "OpenPanguVLForConditionalGeneration": "Qwen2_5_VLForConditionalGeneration",
    "Ovis2ForConditionalGeneration": "Ovis",
    "Ovis2_6ForCausalLM": "Ovis2_5",
    "Ovis2_6_MoeForCausalLM": "Ovis2_5",
    "QianfanOCRForConditionalGeneration": "InternVLChatModel",
    "Qwen2_5OmniForConditionalGeneration": "Qwen2_5_VLForConditionalGeneration",
    "Qwen2_5OmniModel": "Qwen2_5_VLForConditionalGeneration",
    "Qwen2_5OmniThinkerForConditionalGeneration": "Qwen2_5_VLForConditionalGeneration",
    "Qwen3OmniMoeThinkerForConditionalGeneration": "Qwen3OmniMoeForConditionalGeneration",
    "Qwen4ExpForConditionalGeneration": "Qwen3_5MoeForConditionalGeneration",
    "RForConditionalGeneration": "LlavaNextForConditionalGeneration",
    "SkyworkR1VChatModel": "InternVLChatModel",
}
_GATED_ENCODERS = frozenset({"silu", "swiglu"})  # activations of encoders with a gate, up and down projection
_DEEPSTACK_MERGERS = 4  # Qwen3-VL: after three layers of the encoder and after the last (configuration_qwen3_vl.py)
_IMAGE_CHANNELS = 3
# What reading a value of another type, shape or size than its name promises ends in.
MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
_SQUARED_ATTENTION = 4  # matrices of hidden x hidden: queries, keys, values, output


def described_model(
    repository: str, config: Config, *, processor: Config | None = None, known: Sequence[ModelSpec] = ()
) -> ModelSpec:
    """The model behind a configuration. `known`: catalogued models, whose token rules those of their class share.

    Raises UnsupportedModel where the file does not state the sizes of a decoder, or holds what no such file can hold:
    it comes from others, and one of them must not hide the rest of a measurement file.
    """
    try:
        return _model(repository, config, _image_processor(processor or {}), known)
    except MALFORMED as error:
        raise UnsupportedModel(f"{repository}: its configuration cannot be read: {shown(str(error))}.") from error


def _image_processor(processor: Config) -> Config:
    """The image processor's values, which newer repositories keep among those of all processors."""
    nested = processor.get("image_processor")
    return {**processor, **nested} if isinstance(nested, Mapping) else processor


def _model(repository: str, config: Config, processor: Config, known: Sequence[ModelSpec]) -> ModelSpec:
    source = f"{repository} config.json"
    language = language_model_from_config(config, name=repository, source=source, unlisted=True)
    counted = count_decoder(config, language)
    sibling = _sibling(config, counted.total / 1e9, known) if sees_images(config) else None
    found = _token_rule(config, processor, sibling, source)
    tower = _tower(config, found.rule if found else None, sibling, source) if sees_images(config) else None
    vision = projector = 0.0
    if tower is not None:
        vision = tower.parameters_billions or 0.0
        reader = _reader(config)
        projector = _projector_billions(tower, reader.connector if reader else "", language.hidden_size)
    beside = vision + projector
    return ModelSpec(
        id=repository,
        name=repository.rpartition("/")[2],
        repository=repository,
        family=str(config.get("model_type") or ""),
        modality=Modality.VISION if found is not None or sees_images(config) else Modality.TEXT,
        precision=_precision(config),
        stored=stored_weights_of(config, layers=language.layers, mixture=language.experts is not None),
        parameters=Parameters(
            total_billions=counted.total / 1e9 + beside,
            active_billions=counted.active / 1e9 + beside,
            language_billions=counted.total / 1e9,
            vision_billions=vision,
            projector_billions=projector,
            basis="computed",
            source=source,
        ),
        license=License(name="unknown", source=source),
        context=Context(tokens=context_tokens(config, unlisted=True), source=source),
        serving=Serving(architecture=architecture_name(config) or None, source=source),
        language=language,
        vision=tower,
        image_tokens=found,
    )


def _precision(config: Config) -> Precision:
    try:
        return precision(config)[0]
    except UnsupportedModel:
        return Precision.BF16


def _sibling(config: Config, billions: float, known: Sequence[ModelSpec]) -> ModelSpec | None:
    """The catalogued model of the same class that is nearest in size."""
    name = architecture_name(config)
    for each in (name, _PROCESSED_AS.get(name)):
        alike = [model for model in known if each and model.serving.architecture == each and model.image_tokens]
        if alike:
            return min(alike, key=lambda model: (abs(math.log(model.parameters.total_billions / billions)), model.id))
    return None


def _reader(config: Config) -> Architecture | None:
    name = architecture_name(config)
    return ARCHITECTURES.get(name) or ARCHITECTURES.get(_PROCESSED_AS.get(name, ""))


def _token_rule(config: Config, processor: Config, sibling: ModelSpec | None, source: str) -> TokenRuleFact | None:
    """From the files where they say enough, else the sibling's, else the class's own, else assumed; never verified."""
    reader = _reader(config)
    if reader is not None and (rule := _read(reader.rule, config, processor)) is not None:
        return TokenRuleFact(rule=rule, source=source)
    if sibling is not None and sibling.image_tokens is not None:
        return TokenRuleFact(rule=sibling.image_tokens.rule, source=source, checked_by=f"taken from {sibling.id}")
    name = architecture_name(config)
    if (rule := _read(functools.partial(stated_rule, name), config, processor)) is not None:
        return TokenRuleFact(rule=rule, source=source)
    assumed = functools.partial(assumed_rule, name)
    if sees_images(config) and (rule := _read(assumed, config, processor)) is not None:
        return TokenRuleFact(rule=rule, source=source, checked_by=ASSUMED)
    return None


def _read(
    reader: Callable[[Config, Config], TokenRuleKind | None], config: Config, processor: Config
) -> TokenRuleKind | None:
    try:
        return reader(config, processor)
    except BeyondAnyModel:
        raise
    except UnsupportedModel:
        return None


def _tower(config: Config, rule: TokenRuleKind | None, sibling: ModelSpec | None, source: str) -> VisionTower | None:
    """The encoder with its parameters counted, or the sibling's where the file does not state its sizes."""
    tower = vision_tower(config, rule, parameters=None, source=source)
    if tower is None or not tower.layers or not tower.hidden_size:
        return sibling.vision if sibling is not None else tower
    return replace(tower, parameters_billions=_encoder_billions(tower, config), verified=False)


def _encoder_billions(tower: VisionTower, config: Config) -> float:
    stated = required_vision(config) if vision_section(config) is not None else {}
    hidden, layers = tower.hidden_size or 0, tower.layers or 0
    inner = tower.intermediate_size or _SQUARED_ATTENTION * hidden
    if str(stated.get("model_type") or config.get("model_type")).startswith("glm4v"):
        inner = integer(stated, "out_hidden_size") or inner  # its feed-forward layers are as wide as the decoder
    activation = str(stated.get("hidden_act") or ("silu" if tower.window_pixels else ""))  # windowed: Qwen2.5-VL's
    matrices = GATED if activation in _GATED_ENCODERS else PLAIN
    per_layer = _SQUARED_ATTENTION * hidden * hidden + matrices * hidden * inner
    return (layers * per_layer + _IMAGE_CHANNELS * (tower.patch_pixels or 0) ** 2 * hidden) / 1e9


def _projector_billions(tower: VisionTower, kind: str, decoder: int) -> float:
    """What joins encoder and decoder: two layers from merged patches, one of them where it pools or is linear."""
    hidden = tower.hidden_size or 0
    merged = hidden * tower.merge**2
    if "pooling" in kind:
        return hidden * decoder / 1e9
    if "linear" in kind:
        return merged * decoder / 1e9
    if "merger" in kind:
        mergers = _DEEPSTACK_MERGERS if "deepstack" in kind else 1
        return mergers * merged * (merged + decoder) / 1e9
    return decoder * (merged + decoder) / 1e9
