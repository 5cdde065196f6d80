"""Tiny vision-language models with random weights: real architectures, processors and chat templates, made offline.

Only for the engine's environment: it needs torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from vlmctl.bench.words import TEXT, WORDS

VOCABULARY = 1024  # pieces of bytes: enough for each common word to be one, with a space or without
VOCABULARY_STEP = 64  # the embedding has a multiple of it
CONTEXT_TOKENS = 8192
SEED = 0
SPACE = "Ġ"  # how pieces of bytes write the space before a word
DECODER = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": CONTEXT_TOKENS,
}
TURNS = (
    "{{% for message in messages %}}<|im_start|>{{{{ message['role'] }}}}\n"
    "{{% if message['content'] is string %}}{{{{ message['content'] }}}}{{% else %}}"
    "{{% for part in message['content'] %}}{{% if part['type'] == 'image' %}}{image}"
    "{{% elif part['type'] == 'text' %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}{{% endif %}}{end}\n"
    "{{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
)


def make_tiny_model(kind: str, folder: Path, *, vocabulary: int = VOCABULARY, plain: bool = True) -> None:
    """Write a checkpoint that vLLM serves from disk: `qwen2vl` at native resolution, or `smolvlm` with tiles.

    `vocabulary`: pieces of bytes beside the special tokens. `plain`: its output is printable text throughout.
    """
    torch.manual_seed(SEED)
    model, processor = KINDS[kind](vocabulary)
    if plain:
        _speak_plainly(model, processor.tokenizer)
    text = model.config.get_text_config()
    model.generation_config = hf.GenerationConfig(
        bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)


def _speak_plainly(model: Any, tokenizer: Any) -> None:
    """Let the likeliest token always be of printable text, as a trained model's is.

    Otherwise half the output would be bytes of no letter, special tokens and unused places of the vocabulary, which
    servers hold back, so that times of single tokens would mean nothing.
    """
    weight = model.get_output_embeddings().weight
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    added = tokenizer.get_added_vocab()
    plain = [number for number, piece in enumerate(pieces) if piece.lstrip(SPACE).isascii() and piece not in added]
    kept = torch.zeros(len(weight), 1)
    kept[plain] = 1.0
    with torch.no_grad():
        weight.mul_(kept)


def _tokenizer(end: str, specials: Sequence[str], chat_template: str, vocabulary: int) -> Any:
    """Pieces of bytes, with a token of its own for each common word, and the architecture's special tokens."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    bytes_of_all = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=bytes_of_all, show_progress=False)
    pieces.train_from_iterator([TEXT, *WORDS], trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        bos_token="<|im_start|>",
        eos_token=end,
        pad_token="<|endoftext|>",
        additional_special_tokens=list(specials),
        model_max_length=CONTEXT_TOKENS,
        chat_template=chat_template,
    )


def _decoder(tokenizer: Any) -> dict[str, Any]:
    size = -(-len(tokenizer) // VOCABULARY_STEP) * VOCABULARY_STEP
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return {**DECODER, **ids, "vocab_size": size}


def _qwen2_vl(vocabulary: int) -> tuple[Any, Any]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    template = TURNS.format(image="<|vision_start|><|image_pad|><|vision_end|>", end="<|im_end|>")
    tokenizer = _tokenizer("<|im_end|>", tuple(names.values()), template, vocabulary)
    rope = {"rope_type": "default", "type": "mrope", "mrope_section": [8, 12, 12], "rope_theta": 1e6}
    config = hf.Qwen2VLConfig(
        text_config={**_decoder(tokenizer), "rope_parameters": rope},
        vision_config={"depth": 2, "embed_dim": 64, "hidden_size": 128, "mlp_ratio": 2, "num_heads": 2},
        tie_word_embeddings=False,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()},
    )
    pixels = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
    processor = hf.Qwen2VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(size=pixels),
        chat_template=template,
    )
    return hf.Qwen2VLForConditionalGeneration(config), processor


def _smolvlm(vocabulary: int) -> tuple[Any, Any]:
    tile, sides, patch, merged = 112, 4, 14, 2
    marks = ("<image>", "<fake_token_around_image>", "<global-img>")
    places = [f"<row_{row}_col_{column}>" for row in range(1, sides + 1) for column in range(1, sides + 1)]
    template = TURNS.format(image="<image>", end="<end_of_utterance>")
    tokenizer = _tokenizer("<end_of_utterance>", (*marks, *places), template, vocabulary)
    vision = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": tile,
        "patch_size": patch,
    }
    config = hf.Idefics3Config(
        text_config=hf.LlamaConfig(**_decoder(tokenizer)),
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=merged,
    )
    processor = hf.Idefics3Processor(
        image_processor=hf.Idefics3ImageProcessor(
            size={"longest_edge": sides * tile}, max_image_size={"longest_edge": tile}
        ),
        tokenizer=tokenizer,
        image_seq_len=(tile // patch // merged) ** 2,
        chat_template=template,
    )
    return hf.Idefics3ForConditionalGeneration(config), processor


KINDS: dict[str, Callable[[int], tuple[Any, Any]]] = {"qwen2vl": _qwen2_vl, "smolvlm": _smolvlm}
