"""Use armlite's tasks, tools and rewards in a GRPO trainer of TRL's own, here on an untrained pocket model.

Run: python examples/own_trl_trainer.py 2
"""

import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from trl import GRPOConfig

from armlite import EpisodeSettings, tell_mistakes_in_a_line
from armlite.models.loading import load
from armlite.pocket.model import save_pocket
from armlite.pocket.traces import sample_texts
from armlite.pocket.world import generate
from armlite.rewards import hierarchical
from armlite.train.environment import environment_factory, reward_functions
from armlite.train.stock import StockGRPOTrainer

tell_mistakes_in_a_line()
steps, rules, folder = int(sys.argv[1] if sys.argv[1:] else 2), EpisodeSettings(max_calls=2), Path(tempfile.mkdtemp())
tasks = list(generate("train", 30, 0, folder, family="zoom"))
save_pocket(sample_texts(tasks, rules, folder, 0), 0, folder / "model")  # or a Qwen2.5-VL of yours
model, processor = load(folder / "model")
args = GRPOConfig(str(folder / "out"), max_steps=steps, num_generations=4, use_cpu=not torch.cuda.is_available())
args.max_completion_length, args.max_tool_calling_iterations = 64, rules.max_calls
rows = [{"prompt": [{"role": "user", "content": []}], "task": task.to_json()} for task in tasks]
trainer = StockGRPOTrainer(  # a subclass of your own goes the same way
    model=model,
    args=args,
    processing_class=processor,
    train_dataset=Dataset.from_list(rows),
    environment_factory=environment_factory(rules, folder, tools=["image_zoom_in_tool"]),
    reward_funcs=reward_functions(hierarchical, processor.tokenizer),
)
trainer.train()
print("reward:", [row["reward"] for row in trainer.state.log_history if "reward" in row])
