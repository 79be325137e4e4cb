"""A generation batch of TRL's trainer: how it is made, and what the trainer and a reader find in it."""


def prepare(trainer):
    """One generation batch, as TRL has it before it is shuffled."""
    rows = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    return trainer._generate_and_score_completions(rows)


def ids_of(batch, i):
    """Prompt and completion of a rollout, without padding."""
    prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist()
    return prompt, batch["completion_ids"][i][batch["completion_mask"][i].bool()].tolist()
