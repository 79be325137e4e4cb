"""A generation batch of TRL's trainer: how it is made, and what the trainer and a reader find in it."""

import torch


def prepare(trainer):
    """One generation batch, as TRL has it before it is shuffled."""
    rows = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    return trainer._generate_and_score_completions(rows)


def ids_of(batch, i):
    """Prompt and completion of a rollout, without padding."""
    prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist()
    return prompt, batch["completion_ids"][i][batch["completion_mask"][i].bool()].tolist()


FORWARD = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")


def trainer_logps(trainer, batch):
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    more = {k: batch[k] for k in FORWARD if k in batch}
    with torch.no_grad():
        return trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, batch["completion_ids"].size(1), **more
        )[0]
