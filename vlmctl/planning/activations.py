"""Memory that vLLM's profile run takes beside the weights: decoder, sampler and image encoder at their largest.

The run encodes the largest images first and keeps them and their outputs, then sends one full batch of tokens through
the decoder, then samples for as many sequences as may run (vllm-project/vllm@v0.19.0 vllm/v1/worker/gpu_model_runner.py
`profile_run`). What counts is the largest sum that is alive at once. The numbers of tensors below are read off that
code and agree with the "torch peak memory increase" of start-up logs (catalog/measurements/engine_memory.yaml).
"""

from __future__ import annotations

from vlmctl.planning.encoder_profile import EncoderProfile
from vlmctl.specs.model import AttentionKind, LanguageModel, Precision, VisionTower
from vlmctl.specs.record import Record
from vlmctl.specs.tokens import FrameResize, SmartResize, TokenRuleKind
from vlmctl.units import MIB

HALF_BYTES = 2  # bf16 or fp16
FULL_BYTES = 4  # fp32

# Sampler, in bytes per logit beside the logits themselves (vllm/v1/sample/sampler.py, ops/topk_topp_sampler.py):
SAMPLER_BYTES = 12  # their fp32 copy, the probabilities and the exponential noise that they are divided by
SORTING_SAMPLER_BYTES = 36  # up to 0.16: beside those the sorted values, their int64 order and the masks
SORTING_SAMPLER_BEFORE = (0, 17)  # since then top-k and top-p run in a Triton kernel without sorting
TOP_K_PROGRAMS = 132  # rows of fp32 logits that the kernel buffers: one per multiprocessor (132 on H100, 108 to 188)
SAMPLED_HIDDEN_COPIES = 2  # of the last hidden state of each sequence: the model's, and a random one in its place
MATRIX_WORKSPACE_BYTES = 32 * MIB  # cuBLAS on compute capability 9.0 (CUBLAS_WORKSPACE_CONFIG of PyTorch)

# Decoder, in tensors of [tokens, size] alive at once while the feed-forward layer multiplies.
FORWARD_HIDDEN_TENSORS = 4  # residual, normed input, and the same two of the layer's input
GATED_TENSORS, PLAIN_TENSORS = 3, 2  # gate and up projection and their product; projection and activation
ATTENTION_HIDDEN_TENSORS = 3  # residual, normed input, output

# Encoder: PyTorch as written, not compiled, so that the inputs of the calls in progress stay alive as well.
ENCODER_HIDDEN_TENSORS = 4  # embeddings, layer input, normed input, attention output
ENCODER_FUSED_HIDDEN_TENSORS = 5  # beside a gated layer the residual too (qwen2_5_vl.py, fused norm)
ENCODER_ATTENTION_TENSORS = 9  # layer input, normed input, queries, keys and values twice (rotated), output
IMAGE_CHANNELS = 3
DEEPSTACK_LEVELS = 3  # Qwen3-VL: features of three encoder layers beside the last (deepstack_visual_indexes)
DEFAULT_ENCODER_HIDDEN = 1280  # where a tower's width is unknown: that of ViT-H, the widest common one
_GATED_SHARE = 2.5  # matrices per feed-forward layer above which a tower of known size is taken as gated

# Formats whose experts do not go through the workspace of vLLM's modular kernels: MXFP4 runs in Triton's own.
_OWN_BUFFERS = frozenset({Precision.MXFP4})


class Activations(Record, frozen=True, kw_only=True):
    """Bytes on one GPU. `held`: dummy images and encoder outputs, kept to the end; `workspace`: of the experts."""

    forward: float
    sampler: float
    encoder: float
    held: float
    workspace: float

    @property
    def peak(self) -> float:
        """The most that is alive at once; the encoder runs before the workspace exists."""
        return max(self.encoder + self.held, self.held + self.workspace + max(self.forward, self.sampler))


def sampler_bytes(
    language: LanguageModel, *, sequences: int, tokens: int, element_bytes: int = HALF_BYTES, sorting: bool = False
) -> float:
    """Sampling for `sequences` at once after a batch of `tokens`, whose hidden states are still there."""
    rows = min(sequences, tokens)
    per_logit = element_bytes + (SORTING_SAMPLER_BYTES if sorting else SAMPLER_BYTES)
    buffers = 0 if sorting else min(TOP_K_PROGRAMS, rows) * language.vocabulary * FULL_BYTES
    hidden = (tokens + SAMPLED_HIDDEN_COPIES * rows) * language.hidden_size * element_bytes
    return float(per_logit * rows * language.vocabulary + buffers + hidden + MATRIX_WORKSPACE_BYTES)


def forward_bytes(
    language: LanguageModel,
    *,
    tokens: int,
    tensor_parallel: int = 1,
    element_bytes: int = HALF_BYTES,
    precision: Precision = Precision.BF16,
) -> float:
    """The widest layer on a batch of `tokens`: its feed-forward, or its attention where that is wider."""
    hidden = language.hidden_size
    inner = GATED_TENSORS * _widest_feed_forward(language, precision) / tensor_parallel
    width = max(FORWARD_HIDDEN_TENSORS * hidden + inner, _attention_width(language) / tensor_parallel)
    return tokens * width * element_bytes


def workspace_bytes(
    language: LanguageModel,
    *,
    tokens: int,
    tensor_parallel: int = 1,
    element_bytes: int = HALF_BYTES,
    precision: Precision = Precision.BF16,
) -> float:
    """Two buffers that vLLM's fused experts share over all layers, sized for every token's experts at once.

    Shapes: vllm/model_executor/layers/fused_moe/fused_moe.py, `TritonExperts.workspace_shapes`.
    """
    experts = language.experts
    if experts is None or precision in _OWN_BUFFERS:
        return 0.0
    hidden, inner = language.hidden_size, experts.intermediate_size / tensor_parallel
    return tokens * experts.active * (max(hidden, inner) + max(hidden, 2 * inner)) * element_bytes


def encoder_bytes(
    tower: VisionTower | None,
    parameters: float,
    *,
    patches: int,
    tensor_parallel: int = 1,
    element_bytes: int = HALF_BYTES,
) -> float:
    """One encoder layer on `patches`. `parameters`: of the encoder, they tell a gated feed-forward from a plain one."""
    hidden = (tower.hidden_size if tower else None) or DEFAULT_ENCODER_HIDDEN
    inner = (tower.intermediate_size if tower else None) or 4 * hidden
    gated = tower is not None and _is_gated(tower, parameters)
    outer = ENCODER_FUSED_HIDDEN_TENSORS if gated else ENCODER_HIDDEN_TENSORS
    feed_forward = outer * hidden + (GATED_TENSORS if gated else PLAIN_TENSORS) * inner / tensor_parallel
    attention = (2 + (ENCODER_ATTENTION_TENSORS - 2) / tensor_parallel) * hidden
    return patches * max(feed_forward, attention) * element_bytes


def held_bytes(
    profile: EncoderProfile,
    rule: TokenRuleKind,
    language: LanguageModel,
    *,
    patch_pixels: int | None,
    deepstack: bool = False,
    element_bytes: int = HALF_BYTES,
) -> float:
    """The dummy images as the encoder reads them, and its outputs."""
    frames = rule.video.temporal_patch if isinstance(rule, SmartResize) and isinstance(rule.video, FrameResize) else 1
    patch = patch_pixels or getattr(rule, "patch_pixels", None) or 0
    pixels = profile.patches * IMAGE_CHANNELS * patch * patch * frames
    outputs = profile.tokens * language.hidden_size * (1 + (DEEPSTACK_LEVELS if deepstack else 0))
    return float((pixels + outputs) * element_bytes)


def _widest_feed_forward(language: LanguageModel, precision: Precision) -> float:
    """Elements per token of the widest feed-forward layer's inner size; experts with a workspace are not in it."""
    experts = language.experts
    widest = float(language.intermediate_size or 0)
    if experts is None:
        return widest or 4.0 * language.hidden_size
    shared = experts.shared * (experts.shared_intermediate_size or experts.intermediate_size)
    own = experts.active * experts.intermediate_size if precision in _OWN_BUFFERS else 0
    return max(widest, shared, own)


def _attention_width(language: LanguageModel) -> float:
    widest = 0.0
    for group in language.attention:
        if group.kind is AttentionKind.LATENT:  # queries, expanded keys and values, joined keys, output
            width = 5.0 * group.query_heads * group.head_dim
        else:
            width = 2.0 * (group.query_heads + group.kv_heads) * group.head_dim
        widest = max(widest, width)
    return widest + ATTENTION_HIDDEN_TENSORS * language.hidden_size


def _is_gated(tower: VisionTower, parameters: float) -> bool:
    hidden, inner, layers = tower.hidden_size, tower.intermediate_size, tower.layers
    if not hidden or not inner or not layers or not parameters:
        return False
    return (parameters / layers - 4 * hidden * hidden) / (hidden * inner) > _GATED_SHARE
