"""LeanGRPOTrainer: TRL's GRPOTrainer with a leaner update; what is learnt is the same.

An optimisation step gets all its rollouts at once and cuts them itself: what they share goes forward once (`prefix`),
the parts are as large as memory allows (`microbatch`), and when memory runs out the step is done again in smaller ones.
Log-probabilities are computed of trained tokens only, and only of rollouts that teach something. The loss stays TRL's.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from armlite.errors import ArmliteError
from armlite.models.engine.oom import print_to_stderr, retry_on_oom
from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.session import eval_mode
from armlite.models.engine.tokens import TokenRecord
from armlite.train.microbatch import (
    Budget,
    count_loss_tokens,
    loss_mask,
    loss_weight,
    merge_metrics,
    select_rows,
    split_rows,
)
from armlite.train.precision import adapters_in_float32
from armlite.train.prefix import Row, install_packed_forward, pack_rows, rows_from_records, why_not_packed

PACKED = "packed updates"
FORWARD = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
"""What TRL's own forward takes of a batch besides ids and masks."""


class LeanGRPOTrainer(GRPOTrainer):
    """GRPO in parts that fit.

    A subclass generates: its `_generate` sets `_at_hand`, and its batches have a column `records`.

    Args:
        args: `per_device_train_batch_size` is the most rollouts in a part, unless `update_tokens` is given.
        update_tokens: the most tokens in a part, padding included where there is any.
        shared_prefix: compute what rollouts in a part begin with alike once for all.
        kwargs: of GRPOTrainer.
    """

    def __init__(
        self,
        *positional: Any,
        args: GRPOConfig,
        update_tokens: int | None = None,
        shared_prefix: bool = True,
        **kwargs: Any,
    ):
        rows = None if update_tokens else args.per_device_train_batch_size
        super().__init__(*positional, args=_whole_steps(args), **kwargs)
        adapters_in_float32(self.model)
        shared_prefix = shared_prefix and not self._unshared()
        if shared_prefix:
            install_packed_forward(self.model, self.temperature)
        self._budget = Budget(rows, update_tokens, packed=shared_prefix)
        self.check = SelfCheck()
        """What is known of packing, a fast way of the update."""
        self.tokens_updated = 0
        """Tokens that have gone through the model in updates, what rollouts begin with alike once."""
        self.largest_pass = 0
        """The most of them in one forward and backward pass."""
        self._shortages = 0
        """Times that memory has run out in the step at hand."""
        self._at_hand: tuple[Sequence[TokenRecord], torch.Tensor | None] | None = None
        """Rollouts of the batch whose log-probabilities TRL asks for, and (B, T) which are wanted; None: all."""

    def _unshared(self) -> bool:
        """Whether prompts cannot be shared here; says why."""
        why = why_not_packed(self.accelerator.unwrap_model(self.model))
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            why = "sharded weights"
        elif self.args.n_gpu > 1:
            why = "several GPUs in one process"
        if why:
            print_to_stderr(f"update: prompts are not shared ({why})")
        return why is not None

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The loss of the rows at hand; in training their gradients are in place too when it returns."""
        learn = model.training and torch.is_grad_enabled()
        inputs = {**inputs, "wanted": self._wanted_tokens(inputs)}
        rows = rows_from_records(_records(inputs), inputs["wanted"])
        mode = "train" if self.model.training else "eval"
        lengths = {name: len(values) for name, values in self._metrics[mode].items()}
        randomness, gradients = _Randomness(), _held_gradients(model) if learn else []

        def start_over() -> None:
            if learn:
                model.zero_grad(set_to_none=True)
                for parameter, gradient in gradients:
                    parameter.grad = gradient.clone()
            randomness.restore()
            for name, values in self._metrics[mode].items():
                del values[lengths.get(name, 0) :]
            self._shrink(rows)

        loss = retry_on_oom(lambda: self._in_parts(model, inputs, rows, lengths, mode, learn), start_over)
        if self._shortages:
            self._metrics[mode]["oom/update"].append(float(self._shortages))
            self._shortages = 0
        # All has gone backward already; what the Trainer sends backward is a leaf, and goes nowhere.
        return loss.requires_grad_() if learn else loss

    def _in_parts(
        self, model: Any, inputs: dict[str, Any], rows: list[Row], lengths: dict[str, int], mode: str, learn: bool
    ) -> torch.Tensor:
        """Loss and gradients of a step, part by part; figures as if it had been one."""
        parts = [[r.number for r in part] for part in split_rows(rows, self._budget, self._agreed(rows))]
        total = torch.zeros((), device=inputs["prompt_ids"].device)
        tokens = []
        for number, rows_here in enumerate(parts, 1):
            whole = rows_here == list(range(len(rows)))
            part = inputs if whole and len(parts) == 1 else select_rows(inputs, rows_here)
            tokens.append(count_loss_tokens(part))
            if "old_per_token_logps" in part:  # a ratio that nobody learns from must not overflow
                old = part["old_per_token_logps"]
                part = {**part, "old_per_token_logps": old.masked_fill(part["wanted"] == 0, 0)}
            with nullcontext() if number == len(parts) or not learn else self.accelerator.no_sync(model):
                loss = self._compute_loss(model, part) * loss_weight(self.loss_type, part, inputs)
                if learn and loss.requires_grad:
                    self.accelerator.backward(loss)
            total += loss.detach()
        scored = int((inputs["wanted"] * loss_mask(inputs)).sum())
        merge_metrics(self._metrics[mode], lengths, tokens, scored)
        return total

    def _wanted_tokens(self, inputs: dict[str, Any]) -> torch.Tensor:
        """(B, T) the tokens whose log-probability this update needs.

        A rollout whose advantage is 0 has no gradient, unless there is another term in the loss than the policy's.
        """
        mask = loss_mask(inputs).bool()
        other = self.beta or self._entropy_bonus_enabled or self.top_entropy_quantile < 1
        all_count = other or not self.model.training or not self._budget.packed
        if all_count or self.accelerator.num_processes > 1:
            wanted = mask.clone()
        else:
            wanted = mask & (inputs["advantages"] != 0).view(len(mask), -1).any(1, keepdim=True)
        if self.accelerator.num_processes > 1:  # each part must go through the model in each process
            wanted[:, 0] |= ~wanted.any(1)
        elif not wanted.any():
            # A gradient of zeros is not no gradient: the optimiser takes its step all the same.
            wanted[inputs["completion_mask"].sum(1).argmin(), 0] = True
        return wanted.int()

    def _agreed(self, rows: list[Row]) -> int:
        """The number of parts, which must be the same in all processes."""
        if self.accelerator.num_processes == 1:
            return 1
        own = torch.tensor([len(split_rows(rows, self._budget))], device=self.accelerator.device)
        return int(self.accelerator.gather(own).max())

    def _shrink(self, rows: list[Row]) -> None:
        """Make the parts smaller from now on.

        Raises:
            ArmliteError: one rollout alone is too much, or other processes would have to do the same.
        """
        if self.accelerator.num_processes > 1:
            raise ArmliteError("out of memory in an update of several processes: set a lower update_tokens")
        smaller = self._budget.smaller(split_rows(rows, self._budget))
        if smaller is None:
            raise ArmliteError(
                "out of memory in the update with one rollout at a time; the cheapest ways out: "
                "gradient_checkpointing: true, smaller images (episode.limits), a lower max_context"
            )
        self._budget = smaller
        self._shortages += 1
        size = f"{smaller.tokens} tokens" if smaller.tokens is not None else f"{smaller.rows} rollouts"
        print_to_stderr(f"update: out of memory; does it again, and goes on, with at most {size} at a time")

    def logprobs(self, batch: dict[str, Any]) -> torch.Tensor:
        """Log-probabilities (B, T) of the completions of one of this trainer's batches, without gradient."""
        ids = torch.cat((batch["prompt_ids"], batch["completion_ids"]), 1)
        mask = torch.cat((batch["prompt_mask"], batch["completion_mask"]), 1)
        keep, fields = batch["completion_ids"].shape[1], {k: batch[k] for k in FORWARD if k in batch}
        with torch.no_grad(), self._scoring(batch):
            return self._get_per_token_logps_and_entropies(self.model, ids, mask, keep, **fields)[0]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        with self._scoring(inputs):
            return super()._compute_loss(model, inputs)

    @contextmanager
    def _scoring(self, batch: dict[str, Any]) -> Iterator[None]:
        """Inside, TRL asks for log-probabilities of this batch: it hands on the padded ids only, no records."""
        before, self._at_hand = self._at_hand, (_records(batch), batch.get("wanted"))
        try:
            yield
        finally:
            self._at_hand = before

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **fields: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Log-probabilities and entropies (B, T); with a shared prefix 0 where they are not wanted."""
        assert self._at_hand is not None, "TRL asks for log-probabilities of a batch that nobody has announced"
        rows = rows_from_records(*self._at_hand)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "keep": logits_to_keep}
        if torch.is_grad_enabled():  # a part of an update
            return self._score(model, rows, batch, fields)

        def work() -> tuple[torch.Tensor, torch.Tensor | None, None]:
            done = [self._score(model, part, batch, fields) for part in split_rows(rows, self._budget)]
            return sum(d[0] for d in done), sum(d[1] for d in done), None  # type: ignore[return-value]

        return retry_on_oom(work, lambda: self._shrink(rows))

    def _score(
        self, model: Any, rows: list[Row], batch: dict[str, Any], fields: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Log-probabilities and entropies of some rows of a batch, 0 elsewhere."""
        keep, ids = batch["keep"], batch["input_ids"]
        empty = torch.zeros(len(ids), keep, device=ids.device)
        if self._budget.packed and self.check.due(PACKED) and any(row.wanted for row in rows):
            self._compare(rows, batch, fields, empty)
        if not self._budget.packed:
            return self._score_padded(model, rows, batch, fields, empty)
        if not any(row.wanted for row in rows):
            return empty, empty, None
        return self._score_packed(model, rows, fields, empty)

    def _score_packed(
        self, model: Any, rows: list[Row], fields: dict[str, Any], empty: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """The same with what rollouts share computed once."""
        packed = pack_rows(rows, self.accelerator.unwrap_model(model), fields.get("pixel_values"))
        if torch.is_grad_enabled():
            self.tokens_updated += len(packed.ids)
            self.largest_pass = max(self.largest_pass, len(packed.ids))
        with self.accelerator.autocast():
            logps, entropies = model(packed=packed)
        return empty.index_put(packed.places, logps), empty.index_put(packed.places, entropies), None

    def _compare(self, rows: list[Row], batch: dict[str, Any], fields: dict[str, Any], empty: torch.Tensor) -> None:
        """Score the two shortest rollouts packed and padded; where they differ, nothing is packed from now on."""
        some = sorted((row for row in rows if row.wanted), key=lambda row: len(row.record.path))[:2]
        bare = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), eval_mode(bare):
            fast, _, _ = self._score_packed(bare, some, fields, empty)
            plain, _, _ = self._score_padded(bare, some, batch, fields, empty)
        at = [row.number for row in some for _ in row.wanted], [t for row in some for t in row.wanted]
        mixed = {"fp16": torch.float16, "bf16": torch.bfloat16}
        dtype = mixed.get(self.accelerator.mixed_precision, bare.dtype)
        if not self.check.agree(PACKED, fast[at], plain[at], dtype):
            self._budget = replace(self._budget, packed=False)

    def _score_padded(
        self, model: Any, rows: list[Row], batch: dict[str, Any], fields: dict[str, Any], empty: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """The same through TRL's own forward."""
        keep, numbers = batch["keep"], [row.number for row in rows]
        width = batch["input_ids"].shape[1] - keep
        inputs = {
            "prompt_ids": batch["input_ids"][:, :width],
            "prompt_mask": batch["attention_mask"][:, :width],
            "completion_ids": batch["input_ids"][:, width:],
            "completion_mask": batch["attention_mask"][:, width:],
            **{k: v for k, v in fields.items() if v is not None},
        }
        some = select_rows(inputs, numbers)
        narrow = some["completion_ids"].shape[1]
        logps, entropies, _ = super()._get_per_token_logps_and_entropies(
            model,
            torch.cat((some["prompt_ids"], some["completion_ids"]), 1),
            torch.cat((some["prompt_mask"], some["completion_mask"]), 1),
            narrow,
            compute_entropy=True,
            **{k: some[k] for k in fields if k in some},
        )
        where = torch.tensor(numbers, device=empty.device)[:, None], torch.arange(narrow, device=empty.device)
        return empty.index_put(where, logps.float()), empty.index_put(where, entropies.float()), None


def _whole_steps(args: GRPOConfig) -> GRPOConfig:
    """Arguments by which a step's rollouts come all at once: the cut is ours."""
    pieces = args.gradient_accumulation_steps
    if args.steps_per_generation % pieces:
        raise ArmliteError(
            f"steps_per_generation ({args.steps_per_generation}) must be a multiple of gradient_accumulation_steps "
            f"({pieces})"
        )
    args = copy.copy(args)
    args.per_device_train_batch_size *= pieces
    args.steps_per_generation //= pieces
    args.gradient_accumulation_steps = 1
    return args


def _records(batch: dict[str, Any]) -> Sequence[TokenRecord]:
    if "records" not in batch:
        raise ValueError(
            "this batch has no token records of its rollouts: only what this trainer generated can be scored"
        )
    return batch["records"]


def _held_gradients(model: Any) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
    """Gradients that were there before a step."""
    return [(p, p.grad.clone()) for p in model.parameters() if p.grad is not None]


class _Randomness:
    """The state of torch's random numbers, to come back to."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
