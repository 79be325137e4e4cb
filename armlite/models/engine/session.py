"""The rollout engine: many conversations at once with one local model, token in, token out. A `ChatSession`.

A conversation keeps its slot of the key-value cache from turn to turn, so each token goes through the model once, and
what several begin with alike is prefilled once for all (`prefix_cache`). A turn that ends leaves the decode batch at
once and another takes its place (`scheduler`); nobody waits for the slowest. Tools run between two decode steps: beside
them they would make who comes back first the clock's choice, to save 4 % of a training step (measured on a CPU). What
is sampled depends on (seed, task, rollout, turn), not on who shares the batch: across batches log-probabilities differ
by rounding only.
"""

import time
from collections import abc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from armlite.loop import OnText, Reply
from armlite.models.engine.decoder import Chunk, Decoder
from armlite.models.engine.graphs import GraphedDecoder
from armlite.models.engine.oom import retry_on_oom
from armlite.models.engine.prefix_cache import later_from
from armlite.models.engine.sampler import sample_tokens, top_logprobs
from armlite.models.engine.scheduler import Scheduler
from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.sequence import Sequence, Stats
from armlite.models.engine.tokens import Span, TokenRecord
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.sampling import EngineSettings, Sampling, random_stream
from armlite.protocol.probability import OPEN, TokenLogprobs, of_answer
from armlite.protocol.render import Conversation, render

SHARED = "shared beginnings of rollouts"
Script = Callable[[Conversation], abc.Sequence[int] | None]
"""Token ids to play as a conversation's next turn, or None to sample it. Ids that run out before the turn ends leave it
unfinished, as `length`; those after its end are not played."""


class EngineSession:
    """A batch of conversations in flight; made by `LocalModel.session`. All of it is gone when the session is dropped.

    Args:
        model: of an architecture in `armlite.models.bases`, possibly in a PEFT wrapper, possibly 4-bit; eval mode is
            set while it runs and put back after.
        vocabulary: of its tokenizer.
        vision: encodes images and remembers them.
        sampling: what decides the text.
        settings: what decides memory and speed.
        script: plays turns instead of sampling them.
        check: of the model; compares the first results of each fast way with those of the plain one.
    """

    threads = 0
    keeps_tokens = True
    """Whether `tokens` still knows a conversation that was closed; a session that never ends must not."""

    def __init__(
        self,
        model: Any,
        vocabulary: Vocabulary,
        vision: VisionCache,
        sampling: Sampling,
        settings: EngineSettings,
        script: Script | None = None,
        check: SelfCheck | None = None,
    ):
        self.stats = Stats()
        self.on_text: OnText | None = None
        self._model, self._vocabulary, self._vision = model, vocabulary, vision
        self._sampling, self._script = sampling, script
        self._check = check or SelfCheck()
        with torch.no_grad(), eval_mode(model):
            self._decoder = Decoder(model, self._check)
        self._scheduler = Scheduler(self._decoder.new_cache, sampling, settings, self.stats)
        self._stepper = self._make_stepper()
        self._forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.long, device=self._decoder.device)
        self._sequences: dict[int, Sequence] = {}
        self._ready: list[tuple[Conversation, Reply]] = []
        self._woken = False

    @property
    def settings(self) -> EngineSettings:
        """What decides memory and speed: as given, or less since memory ran out."""
        return self._scheduler.settings

    def submit(self, conversation: Conversation) -> None:
        """Ask for the next turn of a conversation.

        Raises:
            ValueError: its last turn has not ended, or the conversation does not go on from what the model wrote.
        """
        sequence = self._sequences.setdefault(id(conversation), Sequence(conversation))
        if sequence.active:
            raise ValueError(f"the turn of {conversation.task_id} that was asked for has not ended yet")
        ids, spans = self._render(sequence)
        if sequence.length + len(ids) >= self._sampling.max_context:
            self._ready.append((conversation, Reply("", "overflow")))
            return
        tokens = sequence.tokens
        tokens.extend(ids, spans)
        sequence.messages_seen, sequence.reply, sequence.active = len(conversation.messages), None, True
        sequence.turn_start, sequence.position_shift = sequence.length, tokens.shift
        sequence.turn_top, sequence.told = [], sequence.length
        turn = conversation.turns
        sequence.random = random_stream(self._sampling.seed, conversation.task_id, conversation.rollout, turn)
        sequence.script = self._script(conversation) if self._script else None
        if sequence.script is not None and not sequence.script:
            raise ValueError("a script must give at least one token")
        if sequence.slot is None:
            self._scheduler.waiting.append(sequence)

    def wait(self) -> list[tuple[Conversation, Reply]]:
        """Run until a turn has ended, or until woken; returns the turns that have, in the order of their slots."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        with torch.no_grad(), eval_mode(self._model):
            while self._scheduler.waiting or self._scheduler.active:
                ended = retry_on_oom(self._prefill_and_decode, self._begin_again_smaller)
                if ended or self._woken:
                    self._woken = False
                    return ended
        return []

    def wake(self) -> None:
        """Let `wait` return after the decode step that it is at."""
        self._woken = True

    def _prefill_and_decode(self) -> list[tuple[Conversation, Reply]]:
        self._scheduler.schedule()
        self._timed("prefill_seconds", self._prefill)
        return self._timed("decode_seconds", self._decode)

    def _begin_again_smaller(self) -> None:
        """Memory has run out amid `_prefill_and_decode`: begin again with less at a time."""
        self._stepper = self._make_stepper()
        for sequence in self._scheduler.shrink():
            # A draw that was not used is drawn again: the stream stands at the turn's next token.
            talk = sequence.conversation
            sequence.random = random_stream(self._sampling.seed, talk.task_id, talk.rollout, talk.turns)
            sequence.random.random(sequence.length - sequence.turn_start)

    def _make_stepper(self) -> Decoder | GraphedDecoder:
        graphs = self.settings.cuda_graphs and self._decoder.device.type == "cuda"
        return GraphedDecoder(self._decoder, check=self._check) if graphs else self._decoder

    def close(self, conversation: Conversation) -> None:
        """Release a conversation's slot; `tokens` still knows it, as `keeps_tokens` says."""
        sequence = self._sequences[id(conversation)]
        sequence.active = False
        self._scheduler.remove(sequence)
        self._ready = [(other, reply) for other, reply in self._ready if other is not conversation]
        if not self.keeps_tokens:
            del self._sequences[id(conversation)]

    def tokens(self, conversation: Conversation) -> TokenRecord:
        """Token ids of a conversation so far; an observation that did not fit is not part of it."""
        return self._sequences[id(conversation)].tokens.record()

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        start, vision, encoded = time.perf_counter(), self._vision.seconds, self._vision.encoded
        result = work()
        vision = self._vision.seconds - vision
        self.stats.vision_seconds += vision
        self.stats.images_encoded += self._vision.encoded - encoded
        setattr(self.stats, name, getattr(self.stats, name) + time.perf_counter() - start - vision)
        return result

    def _render(self, sequence: Sequence) -> tuple[list[int], list[Span]]:
        """Ids of the messages that the sequence does not cover yet, image pads expanded, and where the images are."""
        conversation, vocabulary, messages = sequence.conversation, self._vocabulary, sequence.conversation.messages
        if not sequence.tokens.ids:
            text, new = render(messages, conversation.tools, system=conversation.system), messages
        else:
            written = messages[sequence.messages_seen] if sequence.messages_seen < len(messages) else None
            if written is None or written.role != "assistant" or written.text != sequence.reply:
                raise ValueError(f"the conversation of {conversation.task_id} does not go on with what the model wrote")
            new = messages[sequence.messages_seen + 1 :]
            closing = "" if sequence.tokens.ids[-1] == vocabulary.end else "<|im_end|>"
            text = closing + "\n" + render(new, suffix=True)
        pictures = [self._vision.look(image) for message in new for image in message.images]
        ids: list[int] = []
        spans: list[Span] = []
        for token in vocabulary.ids(text):
            if token == vocabulary.image:
                if len(spans) == len(pictures):
                    raise ValueError(f"a message of {conversation.task_id} holds an image mark without an image")
                spans.append(Span(sequence.length + len(ids), pictures[len(spans)], self._vision.merge))
                ids.extend([token] * pictures[len(spans) - 1].tokens)
            else:
                ids.append(token)
        if len(spans) != len(pictures):
            raise ValueError(f"{len(pictures)} images but {len(spans)} marks in the messages of {conversation.task_id}")
        return ids, spans

    def _prefill(self) -> None:
        """Bring all that is known of active conversations into the cache, but the last token of each."""
        while todo := [s for s in self._scheduler.active if s.cached < s.length - 1]:
            # Of those that go on alike one computes it; the others find it to copy in a later round of this loop.
            work: list[Sequence] = []
            for sequence in todo:
                self._copy_shared(sequence)
                waits = self._check.on(SHARED) and any(later_from(sequence, w) for w in work)
                if sequence.cached < sequence.length - 1 and not waits:
                    work.append(sequence)
            self._prefill_batch(work)
        self._scheduler.drop_unused_prefixes()

    def _copy_shared(self, sequence: Sequence) -> None:
        """Copy what others have of a sequence's missing tokens; the first times it is computed too, and compared."""
        if not self._check.on(SHARED):
            return
        before, stats = sequence.cached, self.stats
        self._scheduler.copy_shared(sequence)
        after, done = sequence.cached, stats.tokens_prefilled
        stats.tokens_copied += after - before
        if after > before and self._check.due(SHARED):
            keys, slot = self._scheduler.cache.keys[-1], sequence.slot
            copied, sequence.cached = keys[slot, :, before:after].clone(), before
            self._prefill_batch([sequence], until=after)
            self._check.agree(SHARED, copied, keys[slot, :, before:after], keys.dtype)
            stats.tokens_prefilled = done  # which counts what had to be

    def _prefill_batch(self, work: list[Sequence], until: int | None = None) -> None:
        """Prefill some conversations, in passes of similar lengths and at most `prefill_tokens` tokens.

        Args:
            until: how far, all at once; None: to the last token, or as far as the limit goes.
        """
        limit = self.settings.prefill_tokens
        pieces = [(s, s.cached, until or min(s.length - 1, s.cached + limit)) for s in work]
        # Prompts before continuations, which need another mask; the longest first, so that it sets the pass's width.
        pieces.sort(key=lambda piece: (piece[1] > 0, piece[1] - piece[2]))
        while pieces:
            _, start, end = pieces[0]
            width, continues = end - start, start > 0
            fitting = pieces[: max(1, limit // width)]
            n = sum(2 * (high - low) >= width and (low > 0) == continues for _, low, high in fitting)
            batch, pieces = pieces[:n], pieces[n:]
            self._decoder.prefill(self._scheduler.cache, [self._chunk(*piece) for piece in batch])
            self.stats.largest_prefill = max(self.stats.largest_prefill, n * width)
            for sequence, start, end in batch:
                sequence.cached = end
                self.stats.tokens_prefilled += end - start

    def _chunk(self, sequence: Sequence, start: int, end: int) -> Chunk:
        """Some of a sequence's tokens, embedded: features where an image is, even where a chunk cuts it in two."""
        decoder, tokens = self._decoder, sequence.tokens
        x = decoder.embed(torch.tensor(tokens.ids[start:end], device=decoder.device))  # (T, hidden)
        seen: list[tuple[int, torch.Tensor]] = []
        for span in tokens.spans:
            low, high = max(span.start, start), min(span.end, end)
            if low < high:
                features = self._vision.features(span.picture)[low - span.start : high - span.start].to(x)
                x[low - start : high - start], later = features.tensor_split((x.shape[1],), 1)
                if later.shape[1]:
                    seen.append((low - start, later.unflatten(1, (-1, x.shape[1]))))
        positions = torch.from_numpy(tokens.positions(start, end))
        return Chunk(sequence.slot, start, x, positions, tuple(seen))  # type: ignore[arg-type]

    def _decode(self) -> list[tuple[Conversation, Reply]]:
        """Sample one token for each active conversation; those whose turn ends with it."""
        rows = self._scheduler.active
        logits = self._stepper.step(
            self._scheduler.cache,
            [s.slot for s in rows],  # type: ignore[misc]
            [s.tokens.ids[-1] for s in rows],
            [s.cached for s in rows],
            [s.cached + s.position_shift for s in rows],
        )
        uniforms = [s.random.random() for s in rows]  # type: ignore[union-attr]
        forced = None
        if self._script:
            forced = [-1 if s.script is None else s.script[s.length - s.turn_start] for s in rows]
        # (B, V), B active sequences in the order of their slots
        tokens, logprobs = sample_tokens(logits, self._sampling, self._forbidden, uniforms, forced)
        if self._sampling.top_logprobs:
            likely = top_logprobs(logits, tokens, self._sampling.top_logprobs)
            for sequence, (own, top) in zip(rows, likely, strict=True):
                sequence.turn_top.append((own, top))
        self.stats.steps += 1
        self.stats.tokens_decoded += len(rows)
        ended = []
        for sequence, token, logprob in zip(rows, tokens, logprobs, strict=True):
            sequence.cached += 1
            sequence.tokens.push(token, logprob)
            if self.on_text is not None:
                self._tell(sequence)
            if finish := self._finish_reason(sequence, token):
                ended.append((sequence.conversation, self._end_turn(sequence, finish)))
        return ended

    def _tell(self, sequence: Sequence) -> None:
        """Say what has been written, but for a letter of which some bytes are still to come."""
        new = [token for token in sequence.tokens.ids[sequence.told :] if token != self._vocabulary.end]
        text = self._vocabulary.text(new)
        if text and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            sequence.told = sequence.length
            self.on_text(sequence.conversation, text)  # type: ignore[misc]  # asked for by the caller

    def _finish_reason(self, sequence: Sequence, token: int) -> Literal["stop", "length"] | None:
        """How the turn ends with the token just sampled, if it does."""
        turn = sequence.length - sequence.turn_start
        full = sequence.length >= self._sampling.max_context
        if token == self._vocabulary.end:
            return "stop"
        if not full and self._vocabulary.closes_call(sequence.tokens.ids[sequence.turn_start :]):
            sequence.tokens.extend([self._vocabulary.end], [])
            return "stop"
        played = sequence.script is not None and turn == len(sequence.script)
        return "length" if full or played or turn == self._sampling.max_new_tokens else None

    def _end_turn(self, sequence: Sequence, finish: Literal["stop", "length"]) -> Reply:
        tokens, end = sequence.tokens, self._vocabulary.end
        turn = tokens.ids[sequence.turn_start :]
        sequence.active, tokens.ended = False, finish == "stop"
        sequence.reply = self._vocabulary.text(turn[:-1] if turn[-1] == end else turn)
        count = sum(tokens.sampled[sequence.turn_start :])
        return Reply(sequence.reply, finish, count, sequence.turn_start, self._answer_logprobs(sequence))

    def _answer_logprobs(self, sequence: Sequence) -> tuple[TokenLogprobs, ...]:
        """Of the tokens of the turn's answer, where there is one and they are asked for."""
        if not sequence.turn_top or OPEN not in (sequence.reply or ""):
            return ()
        spell = self._vocabulary.spelling
        turn = sequence.tokens.ids[sequence.turn_start :]
        told = zip(turn, sequence.turn_top, strict=False)  # a closing token that was not sampled has none
        return of_answer([TokenLogprobs(spell(i), own, tuple((spell(j), p) for j, p in top)) for i, (own, top) in told])


@contextmanager
def eval_mode(model: Any) -> Iterator[None]:
    """Dropout and gradient checkpointing off, then each module's mode put back as it was."""
    training = [m for m in model.modules() if m.training]
    for module in training:  # past `Module.__setattr__`, with which `eval()` of a 7B took 26 ms, once a wait
        module.__dict__["training"] = False
    try:
        yield
    finally:
        for module in training:
            module.__dict__["training"] = True
