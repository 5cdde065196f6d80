"""Write a tiny vision-language model of Qwen2-VL's architecture with random weights, to serve on a CPU.

    ENGINE/bin/python benchmarks/tiny_vlm.py DIRECTORY

Nothing is downloaded: the tokenizer learns from the words of the load generator. It runs in the engine's environment.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

WORDS = Path(__file__).parents[1] / "vlmctl" / "bench" / "words.py"
VOCABULARY = 1024
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIALS = (END_OF_TEXT, START, END, VISION_START, VISION_END, IMAGE, VIDEO)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] in ('image', 'image_url') %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> Qwen2Tokenizer:
    """One of byte pairs, in which each common word with the space before it is a token."""
    words = runpy.run_path(str(WORDS))["WORDS"]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIALS), initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator([" " + " ".join(words)] * 2, trainer)
    learnt = json.loads(learner.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(merge) for merge in learnt["merges"]],
        unk_token=None,
        bos_token=None,
        eos_token=END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(SPECIALS),
        chat_template=TEMPLATE,
    )


def configuration(names: Qwen2Tokenizer) -> Qwen2VLConfig:
    """Two layers of each kind, as narrow as the kernels allow."""
    place = dict(zip(SPECIALS, names.convert_tokens_to_ids(list(SPECIALS)), strict=True))
    text = {
        "vocab_size": -(-len(names) // 64) * 64,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6},
        "bos_token_id": place[END_OF_TEXT],
        "eos_token_id": place[END],
        "pad_token_id": place[END_OF_TEXT],
    }
    return Qwen2VLConfig(
        text_config=text,
        vision_config={"depth": 2, "embed_dim": 64, "hidden_size": 128, "mlp_ratio": 2, "num_heads": 2},
        image_token_id=place[IMAGE],
        video_token_id=place[VIDEO],
        vision_start_token_id=place[VISION_START],
        vision_end_token_id=place[VISION_END],
        tie_word_embeddings=False,
    )


def make(folder: Path) -> None:
    """Write weights, configuration, tokenizer and processor, the same each time."""
    torch.manual_seed(0)
    names = tokenizer()
    pixels = {"min_pixels": 56 * 56, "max_pixels": 1280 * 28 * 28}
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        video_processor=Qwen2VLVideoProcessor(**pixels),
        tokenizer=names,
        chat_template=TEMPLATE,
    )
    Qwen2VLForConditionalGeneration(configuration(names)).to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
