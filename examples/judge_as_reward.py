"""Train a language model with TRL's own GRPO trainer on what a judge says: check, rate or group (compare).

Run: python examples/judge_as_reward.py openai:MODEL@URL check
"""

import sys
import tempfile

import torch
from datasets import Dataset
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from armlite import Judge, reward_func, tell_mistakes_in_a_line
from armlite.pocket.model import build_tokenizer

tell_mistakes_in_a_line()
tokenizer = build_tokenizer(["Write a short sentence about a river."])
tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
# An untrained model of a few thousand weights stands for yours, so that this runs anywhere.
size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=1, **size))
nouns = ("river", "bridge", "garden", "lantern")
prompts = [[{"role": "user", "content": f"Write a short sentence about a {noun}."}] for noun in nouns]
trainer = GRPOTrainer(
    model=model,
    args=GRPOConfig(
        tempfile.mkdtemp(),
        max_steps=1,
        num_generations=4,
        per_device_train_batch_size=4,
        max_completion_length=12,
        use_cpu=not torch.cuda.is_available(),
    ),
    processing_class=tokenizer,
    train_dataset=Dataset.from_list([{"prompt": p, "constraints": ["It is short."]} for p in prompts]),
    reward_funcs=reward_func(Judge.load((sys.argv[1:] or ["pocket-judge"])[0]), *sys.argv[2:]),
)
trainer.train()
print("reward:", [row["reward"] for row in trainer.state.log_history if "reward" in row])
