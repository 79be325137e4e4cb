"""The pocket models: a genuine Qwen2.5-VL and a Qwen3-VL of about a million parameters, and a byte-level tokenizer
trained in place.

The tokenizer can spell any text; the pocket world's words are one token each, and so are the constant pieces of
prompts and calls ("phrases"), so that a conversation of the real wire format is about 90 tokens long.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from armlite.pocket import words

POCKETS = {"pocket": "qwen2_5_vl", "pocket-qwen3-vl": "qwen3_vl"}
"""What `model.path` of a recipe calls them -> architecture."""
_SPECIAL = """
    <|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"""
SPECIAL = tuple(_SPECIAL.split())
"""Control tokens of both that armlite uses; they get the first ids."""
TAGS = ("<tool_call>", "</tool_call>")
"""Ordinary added tokens, as in the real tokenizer."""
MAX_POSITIONS = 4096
INITIALIZER_RANGE = 0.08
"""About 1 / sqrt(hidden): with the 0.02 of large models so small a model takes three times as many steps to see
anything.
"""


def phrases(texts: Sequence[str]) -> list[str]:
    """The constant pieces of rendered conversations, each to become one token.

    In system and user blocks: runs of lines that stand in at least one text in twenty. Elsewhere: what stands between
    words, numbers and tags, if it has at least 8 characters.
    """
    control = "|".join(map(re.escape, SPECIAL))
    blocks = [block for text in texts for block in re.split(f"({control})", text) if block and block not in SPECIAL]
    given = [b for b in blocks if b.startswith(("system\n", "user\n")) and not b.startswith("user\n<tool_response>")]
    given += [b for b in blocks if "<start_of_question>" in b]
    seen = Counter(line for block in given for line in set(block.splitlines(keepends=True)))
    word = rf"(?<![\w.])(?:{'|'.join(words.ALL)})(?!\w)"
    constant = {t for t, n in seen.items() if n >= len(texts) / 20 and t.strip() not in TAGS and not re.search(word, t)}
    variable = re.compile(
        rf"({word}|(?<!\w)\d+(?!\w)|(?:True|False)(?=[.\n<]|$)|"
        rf"{control}|{'|'.join(map(re.escape, TAGS))})"
    )
    counts: Counter[str] = Counter()
    for block in blocks:
        for fixed, lines in groupby(block.splitlines(keepends=True), key=lambda line: line in constant or line == "\n"):
            pieces = ["".join(lines)] if fixed else [p for line in lines for p in variable.split(line)]
            counts.update({p for p in pieces if len(p.strip()) >= 8 and not variable.fullmatch(p)})
    return sorted(piece for piece, n in counts.items() if n >= 5)


def build_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE tokenizer with Qwen's control tokens.

    Args:
        texts: rendered conversations of the pocket world; their words become single tokens.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    numbers = " ".join(str(n) for n in (*range(41), 0, 333, 667, 1000))
    tokenizer.train_from_iterator([*(f"{numbers} [{n}]" for n in range(41)), *texts], trainer)
    added = [AddedToken(word, normalized=False, special=False, single_word=True) for word in words.ALL]
    added += [AddedToken(piece, normalized=False, special=False) for piece in (*TAGS, *phrases(texts))]
    tokenizer.add_tokens(added)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def build_model(
    tokenizer: Any,
    seed: int,
    base: str = "qwen2_5_vl",
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
) -> Any:
    """A randomly initialised model of an architecture in float32.

    Text: hidden 128, 4 layers, 4 heads of 32 (2 for keys and values); vision: hidden 64, depth 2. About a million
    parameters.

    Args:
        base: its `model_type`.
        text, vision: what is to be otherwise in the configuration.
    """
    import torch
    import transformers

    from armlite.models.bases import BASES

    kind = getattr(transformers, BASES[base].model_class)
    config = kind.config_class(**_sizes(tokenizer, base, text or {}, vision or {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    model.generation_config.pad_token_id = config.text_config.pad_token_id
    return model


OWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "qwen2_5_vl": ({"mrope_section": [4, 6, 6]}, {"window_size": 112, "fullatt_block_indexes": [1]}),
    "qwen3_vl": (
        {"mrope_section": [6, 5, 5], "mrope_interleaved": True},
        {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
    ),
}
"""What each has for itself: of the rotary rule, and of the tower."""


def _sizes(tokenizer: Any, base: str, text: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    rope, tower = OWN[base]
    return {
        "text_config": {
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "initializer_range": INITIALIZER_RANGE,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": MAX_POSITIONS,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, **rope},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
            **({"head_dim": 32} if base == "qwen3_vl" else {}),
            **text,
        },
        "vision_config": {
            "depth": 2,
            "initializer_range": INITIALIZER_RANGE,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 128,
            "spatial_merge_size": 1,
            **tower,
            **vision,
        },
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }


def save_pocket(texts: list[str], seed: int, folder: Path, base: str = "qwen2_5_vl") -> None:
    """Write an untrained pocket model of an architecture with its processor, loadable like any other model folder."""
    from armlite.models.bases import BASES
    from armlite.models.processor import build_processor

    tokenizer = build_tokenizer(texts)
    area = BASES[base].image["patch_size"] ** 2
    processor = build_processor(tokenizer, base, merge_size=1, min_pixels=4 * area, max_pixels=256 * area)
    build_model(tokenizer, seed, base).save_pretrained(folder)
    processor.save_pretrained(folder)
