"""The pocket model, untrained, with a few tasks and a script of what it says: batches of rollouts as a trainer sees
them; and a recipe whose run takes seconds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from armlite.episode import Episode, EpisodeSettings
from armlite.memory import Limits
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.loading import load
from armlite.models.processor import load_processor
from armlite.pocket.model import save_pocket
from armlite.pocket.traces import sample_texts
from armlite.pocket.world import generate
from armlite.protocol.render import Conversation
from armlite.recipe import Recipe, check_recipe
from armlite.train.encode import encode_conversation
from armlite.train.grpo import chat_model, make_trainer
from armlite.train.policy import Policy
from armlite.types import Task

RULES = EpisodeSettings(
    max_calls=3,
    limits=Limits(
        image_max_pixels=3136,
        crop_max_pixels=28224,
        sheet_max_pixels=784,
        page_max_pixels=784,
        pages_per_query=1,
        page_max_characters=60,
        shown_characters=24,
    ),
)
"""As the pocket recipe's, with one call more and larger crops."""
TURN, CONTEXT = 200, 600
"""Tokens of a turn, and of a conversation where nothing is to overflow."""
UNFINISHED = "<|unfinished|>"
"""At the end of a scripted turn: it runs out of tokens there."""

PIXELS = {"image_max_pixels": 3136, "crop_max_pixels": 3136, "sheet_max_pixels": 784, "page_max_pixels": 784}
BUDGET = {"max_new_tokens": 32, "max_context": 512}
COMMON = {"learning_rate": 1e-3, "gradient_checkpointing": False}
GRPO = {
    **COMMON,
    **BUDGET,
    "steps": 2,
    "save_steps": 1,
    "num_generations": 8,
    "tasks_per_step": 1,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "train_overflow": True,
    "temperature": 1.3,
}
TINY = {
    "threads": 1,
    "model": {"path": "pocket"},
    "lora": {"r": 4, "dropout": 0.1},
    "episode": {
        "max_calls": 2,
        "limits": {**PIXELS, "pages_per_query": 1, "page_max_characters": 60, "shown_characters": 24},
    },
    "data": {"n_traces": 40, "n_tasks": 8, "n_evaluation": 6, "expert_share": 0.4, "without_tools": 0.1},
    "stages": {
        # Long enough to end in answers, so that there are rewards to learn from.
        "sft": {
            **COMMON,
            "adapter": "none",
            "train_vision": True,
            "steps": 20,
            "learning_rate": 5e-3,
            "warmup_ratio": 0.1,
            "per_device_train_batch_size": 4,
            "max_length": 512,
            "save_steps": 10,
        },
        "grpo1": {**GRPO, "reward": "accuracy_only"},
        "grpo2": {**GRPO, "filter_rollouts": 1},
    },
    "evaluation": {"batch": 4, **BUDGET, "swap": True},
}
"""A recipe like the pocket one's, in seconds."""


@dataclass(frozen=True)
class Pocket:
    """An untrained pocket model on disk and tasks for it, the families taking turns."""

    folder: Path
    """Of the model; its parent is the tasks' root."""
    tasks: list[Task]
    tight: int
    """A context that all rollouts of `mixed_plans` fit into but the one that is to overflow."""

    @property
    def root(self) -> Path:
        return self.folder.parent


def make_pocket(root: Path, n: int = 30, base: str = "qwen2_5_vl") -> Pocket:
    """Tasks below a folder and a model whose tokenizer was trained on them."""
    tasks = list(generate("train", n, 0, root))
    save_pocket(sample_texts(tasks, RULES, root, 0), 0, root / "model", base)
    return Pocket(root / "model", tasks, _tight(tasks[:3], root, load_processor(root / "model")))


def _tight(tasks: Sequence[Task], root: Path, processor: Any) -> int:
    plans, lengths = mixed_plans(tasks), {}
    for task in tasks:
        for number, turns in enumerate(plans[task.id]):
            episode = Episode.open(task, RULES, root)
            for turn in turns:
                if episode.stop is None and len(turn) < 1000:
                    episode.advance(turn.removesuffix(UNFINISHED))
            row = encode_conversation(episode.conversation, processor)
            assert row is not None
            lengths[task.id, number] = len(row.input_ids)
    too_long = lengths.pop((tasks[0].id, 2))
    room = max(max(lengths.values()) + 16, TURN + 100)
    assert too_long > room + 16, (too_long, lengths)
    return room


def call(task: Task, **changes: Any) -> str:
    """A turn with the expert's call, some of its arguments changed."""
    right = task.meta["expert"]["call"]
    return _call(right["name"], {**right["arguments"], **changes})


def _call(name: str, arguments: dict[str, Any]) -> str:
    wanted = json.dumps({"name": name, "arguments": arguments})
    return f"<think>I look.</think>\n<tool_call>\n{wanted}\n</tool_call>"


def answer(number: int, think: str = "So it is.") -> str:
    return f"<think>{think}</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"


def spelt(vocabulary: Vocabulary, turn: str) -> list[int]:
    """A turn as a model would sample it: control tokens in the text are spelt, never control tokens."""
    ended = not turn.endswith(UNFINISHED)
    pieces = turn.removesuffix(UNFINISHED).replace("<|", "<\0|").split("\0")
    ids = [i for piece in pieces for i in vocabulary.ids(piece)]
    return ids + [vocabulary.end] if ended else ids


def mixed_plans(tasks: Sequence[Task]) -> dict[str, list[list[str]]]:
    """Four rollouts of each of three tasks (zoom, document, instruction): 0 to 4 calls, faults, and bad ends."""
    zoom, document, instruction = tasks
    title = Path(document.document or "").stem
    look = [_call("doc_page_retrieval_by_index", {"filename": title, "image_idx": n}) for n in range(1, 9)]
    crop = [call(zoom, bbox_2d=[x, 0, x + 333, 333]) for x in (0, 333, 666)]
    whole = call(zoom, bbox_2d=[0, 0, 1000, 1000]).replace("I look", "why " * 50)
    malformed = "<think>Hm.</think>\n<tool_call>\n{not json\n</tool_call>"
    wrong = call(instruction, response="resp_9")
    return {
        zoom.id: [
            [answer(1)],
            [crop[0], answer(2)],
            [crop[1], crop[2], whole],  # which does not fit
            [crop[2], malformed, crop[0], crop[1], answer(2)],  # the fourth is over the limit: told to answer now
        ],
        document.id: [
            [look[0], answer(1)],
            [look[1], look[2], look[3], answer(2, "é, <|image_pad|> and <|im_end|>, spelt")],
            [look[4], call(document), answer(1)],
            [look[5], look[6][:30] + UNFINISHED],
        ],
        instruction.id: [
            ["no tags at all"],
            [call(instruction), answer(1)],
            [wrong, call(instruction), answer(2)],
            [call(instruction), answer(1, "why " * 330)],  # more than a turn's tokens
        ],
    }


def script(chat_vocabulary: Vocabulary, plans: Mapping[str, Sequence[Sequence[str]]]) -> Any:
    """Plays turn t of rollout r of a task; the rollouts' numbers go on where the list of plans starts again."""

    def play(conversation: Conversation) -> list[int]:
        own = plans[conversation.task_id]
        return spelt(chat_vocabulary, own[conversation.rollout % len(own)][conversation.turns])

    return play


def make_recipe(tasks: int = 3, rollouts: int = 4, **stage: Any) -> Recipe:
    """A recipe with one GRPO stage on so many tasks a step."""
    settings = {
        "steps": 2,
        "learning_rate": 1e-3,
        "num_generations": rollouts,
        "tasks_per_step": tasks,
        "per_device_train_batch_size": tasks * rollouts,
        "gradient_checkpointing": False,
        "max_new_tokens": TURN,
        "max_context": CONTEXT,
        **stage,
    }
    return check_recipe({"episode": RULES.model_dump(), "stages": {"grpo2": settings}}, "tiny")


def lora(**settings: Any) -> Any:
    """An adapter that changes what the model says from the start."""
    from peft import LoraConfig

    target = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    return LoraConfig(r=4, target_modules=target, task_type="CAUSAL_LM", init_lora_weights=False, **settings)


def trainer_of(pocket: Pocket, folder: Path, plans: Any, tasks: Sequence[Task], recipe: Recipe, **options: Any) -> Any:
    """Our trainer on a fresh copy of the model; `options`: quantize, peft_config, on_rollouts, callbacks."""
    torch.manual_seed(0)
    model, processor = load(pocket.folder, quantize=options.pop("quantize", None))
    stage = recipe.stages.grpo2
    assert stage is not None
    chat = chat_model(recipe, stage, Policy(model, processor))
    chat.script = script(Vocabulary(processor.tokenizer, model.config.text_config.vocab_size), plans) if plans else None
    peft_config = options.pop("peft_config", lora())
    return make_trainer(recipe, stage, chat, peft_config, list(tasks), pocket.root, folder, **options)


def alone(model: Any, processor: Any, ids: list[int], prompt: int, images: Sequence[Any], temperature: float) -> Any:
    """Log-probabilities of a completion by one forward over it alone: real pixels, no padding, no cache."""
    row = torch.tensor([ids])
    inputs: dict[str, Any] = {}
    if images:
        inputs = dict(processor.image_processor(images=list(images), return_tensors="pt"))
        inputs["mm_token_type_ids"] = (row == model.config.image_token_id).int()
    with torch.no_grad():
        logits = model(input_ids=row, **inputs).logits[0].float() / temperature
    return logits[:-1].log_softmax(-1).gather(-1, row[0, 1:, None])[prompt - 1 :, 0]


def shown(episode: Episode) -> list[Any]:
    """All images of a conversation, in order."""
    return [image for message in episode.conversation.messages for image in message.images]
