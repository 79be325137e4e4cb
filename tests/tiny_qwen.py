"""Models of a hundred thousand random parameters with a byte-level tokenizer, and a driver for their sessions."""

from collections.abc import Sequence

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from armlite.models.bases import BASES
from armlite.models.local import LocalModel
from armlite.models.processor import build_processor
from armlite.protocol.render import Conversation, Message

STD = 0.15
"""Of weights: what is sampled is varied, yet not flat."""
CONTROL = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def tokenizer(call_tokens: bool = True):
    """Every byte is a token; the control tokens of Qwen2.5-VL, and its two call tags unless they are to be spelt."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_only.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL),
    )
    if call_tokens:
        made.add_tokens(["<tool_call>", "</tool_call>"])
    return made


def tiny(hidden=64, layers=2, kv_heads=2, call_tokens=True, seed=0, base="qwen2_5_vl", tied=False):
    """Model and processor. A Qwen3-VL's heads are not its hidden size shared out, as in the published 4B."""
    made = tokenizer(call_tokens)
    ids = made.convert_tokens_to_ids
    own, rope, tower = {
        "qwen2_5_vl": ({}, {"mrope_section": [hidden // 8 - 4, 2, 2]}, {"fullatt_block_indexes": [1]}),
        "qwen3_vl": (
            {"head_dim": hidden // 2},
            {"mrope_section": [hidden // 4 - 10, 5, 5], "mrope_interleaved": True},
            {"deepstack_visual_indexes": [0], "num_position_embeddings": 49},
        ),
    }[base]
    kind = getattr(transformers, BASES[base].model_class)
    config = kind.config_class(
        text_config={
            "vocab_size": len(made) + 7,
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, **rope},
            "initializer_range": STD,
            "eos_token_id": ids("<|im_end|>"),
            "bos_token_id": None,
            "pad_token_id": ids("<|endoftext|>"),
            **own,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "initializer_range": STD,
            **tower,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    model = kind(config).eval()
    for name, weight in model.named_parameters():  # norms of ones would hide one that is left out
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    area = BASES[base].cell ** 2
    return model, build_processor(made, base, min_pixels=area, max_pixels=64 * area)


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    """A picture like no other."""
    random = np.random.default_rng([height, width, seed])
    return Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8))


def converse(local: LocalModel, conversations: Sequence[Conversation], observations: Sequence[Sequence[Message]]):
    """Answer each turn of a conversation with its next observation until there is none left.

    Returns:
        The session, and the replies of each conversation.
    """
    session = local.session()
    replies = {id(c): [] for c in conversations}
    plans = {id(c): list(plan) for c, plan in zip(conversations, observations, strict=True)}
    for conversation in conversations:
        session.submit(conversation)
    running = len(conversations)
    while running:
        for conversation, reply in session.wait():
            replies[id(conversation)].append(reply)
            if reply.finish == "overflow":
                conversation.messages.pop()
            else:
                conversation.messages.append(Message("assistant", reply.text))
            if reply.finish == "overflow" or not plans[id(conversation)]:
                session.close(conversation)
                running -= 1
            else:
                conversation.messages.append(plans[id(conversation)].pop(0))
                session.submit(conversation)
    return session, [replies[id(c)] for c in conversations]


def plain(model, processor, record, temperature: float = 1.0):
    """Log-probabilities of a record's completion by one forward pass over it alone, without cache or padding."""
    ids = torch.tensor([record.prompt_ids + record.completion_ids])
    inputs = {}
    if images := record.images:
        inputs = dict(processor.image_processor(images=list(images), return_tensors="pt"))
        inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        logits = model(input_ids=ids, **inputs).logits[0].float() / temperature
    logprobs = logits[:-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return logprobs[len(record.prompt_ids) - 1 :]
