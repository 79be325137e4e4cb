"""The rollout engine: many conversations at once with one local model, token in, token out. A `ChatSession`.

A conversation keeps its slot of the key-value cache from turn to turn, so each token goes through the model once, and a
group's shared prompt once for all. A turn that ends leaves the decode batch at once and another takes its place; nobody
waits for the slowest. What is sampled depends on (seed, task, rollout, turn), not on who shares the batch: across
batches log-probabilities differ by rounding only.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models.decoder import Chunk, Decoder
from armlite.models.sampler import choose
from armlite.models.sampling import EngineSettings, Sampling, stream
from armlite.models.survival import say, survive
from armlite.models.tokens import Span, TokenRecord, Tokens
from armlite.models.vision import VisionCache
from armlite.models.vocabulary import TAIL, Vocabulary
from armlite.protocol.render import Conversation, render

Script = Callable[[Conversation], Sequence[int] | None]
"""Token ids to play as a conversation's next turn, or None to sample it. Ids that run out before the turn ends leave it
unfinished, as `length`; those after its end are not played."""

HEADROOM = 256
"""Tokens a conversation is expected to grow by when the engine decides whether it still fits into the cache."""
GRAIN = 64
"""The cache grows in steps of this many tokens a slot."""


@dataclass
class Stats:
    """What a session has done. On CUDA the time of a prefill shows where the host next waits, in decode."""

    images_encoded: int = 0
    tokens_prefilled: int = 0
    """Tokens that entered the cache ahead of decoding: all but the last of each rendered chunk."""
    tokens_decoded: int = 0
    steps: int = 0
    """Decode steps."""
    evictions: int = 0
    """Conversations that had to leave the cache and be prefilled again."""
    shortages: int = 0
    """Times that memory ran out; the session has gone on with fewer slots."""
    vision_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


@dataclass(eq=False)
class _Track:
    """A conversation and where it stands."""

    conversation: Conversation
    tokens: Tokens = field(default_factory=Tokens)
    key: bytes = b""
    """Equal for conversations with the same prompt."""
    seen: int = 0
    """Messages that `tokens` covers."""
    reply: str | None = None
    """Text of the last turn, until the caller has appended it to the conversation."""
    active: bool = False
    """A turn has been asked for and has not ended."""
    slot: int | None = None
    cached: int = 0
    """Tokens in the cache."""
    shift: int = 0
    start: int = 0
    """Where the turn begins."""
    random: np.random.Generator | None = None
    script: Sequence[int] | None = None

    @property
    def length(self) -> int:
        return len(self.tokens.ids)


class Session:
    """A batch of conversations in flight; made by `LocalModel.session`. All of it is gone when the session is dropped.

    Args:
        model: `Qwen2_5_VLForConditionalGeneration`, possibly in a PEFT wrapper, possibly 4-bit; eval mode is set while
            it runs and put back after.
        vocabulary: of its tokenizer.
        vision: encodes images and remembers them.
        merge: patches that make a visual token, along each axis.
        sampling: what decides the text.
        settings: what decides memory and speed.
        script: plays turns instead of sampling them.
    """

    def __init__(
        self,
        model: Any,
        vocabulary: Vocabulary,
        vision: VisionCache,
        merge: int,
        sampling: Sampling,
        settings: EngineSettings,
        script: Script | None = None,
    ):
        self.stats = Stats()
        self._model, self._vocabulary, self._vision, self._merge = model, vocabulary, vision, merge
        self._sampling, self.settings, self._script = sampling, settings, script
        with torch.no_grad(), _eval_mode(model):
            self._decoder = Decoder(model)
        self._slab = self._decoder.slab()
        self._forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.long, device=self._decoder.device)
        self._tracks: dict[int, _Track] = {}
        self._held: list[_Track] = []
        self._queue: deque[_Track] = deque()
        self._ready: list[tuple[Conversation, Reply]] = []
        self._prompts: dict[bytes, list[torch.Tensor]] = {}
        budget = settings.max_tokens_in_cache
        if budget is not None and budget < _grains(sampling.max_context):
            raise ArmliteError(
                f"max_tokens_in_cache is {budget}, but one conversation may need {_grains(sampling.max_context)} "
                f"(max_context {sampling.max_context}): raise the first or lower the second"
            )

    def submit(self, conversation: Conversation) -> None:
        """Ask for the next turn of a conversation.

        Raises:
            ValueError: its last turn has not ended, or the conversation does not go on from what the model wrote.
        """
        track = self._tracks.setdefault(id(conversation), _Track(conversation))
        if track.active:
            raise ValueError(f"the turn of {conversation.task_id} that was asked for has not ended yet")
        ids, spans = self._render(track)
        if track.length + len(ids) >= self._sampling.max_context:
            self._ready.append((conversation, Reply("", "overflow")))
            return
        tokens = track.tokens
        tokens.extend(ids, spans)
        if not track.key:
            track.key = hashlib.sha256(repr((ids, [s.picture.key for s in spans])).encode()).digest()
        track.seen, track.reply, track.active = len(conversation.messages), None, True
        track.start, track.shift = track.length, tokens.shift
        turn = conversation.turns
        track.random = stream(self._sampling.seed, conversation.task_id, conversation.rollout, turn)
        track.script = self._script(conversation) if self._script else None
        if track.script is not None and not track.script:
            raise ValueError("a script must give at least one token")
        if track.slot is None:
            self._queue.append(track)

    def wait(self) -> list[tuple[Conversation, Reply]]:
        """Run until at least one turn has ended; returns those that have, in the order of their slots."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        with torch.no_grad(), _eval_mode(self._model):
            while self._queue or any(t.active for t in self._held):
                if ended := survive(self._advance, self._shrink):
                    return ended
        return []

    def _advance(self) -> list[tuple[Conversation, Reply]]:
        self._admit()
        self._make_room()
        self._timed("prefill_seconds", self._prefill)
        return self._timed("decode_seconds", self._step)

    def close(self, conversation: Conversation) -> None:
        """Release a conversation's slot; `tokens` still knows it."""
        track = self._tracks[id(conversation)]
        track.active = False
        if track in self._queue:
            self._queue.remove(track)
        self._release(track)

    def tokens(self, conversation: Conversation) -> TokenRecord:
        """Token ids of a conversation so far; an observation that did not fit is not part of it."""
        return self._tracks[id(conversation)].tokens.record()

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        start, vision, encoded = time.perf_counter(), self._vision.seconds, self._vision.encoded
        result = work()
        vision = self._vision.seconds - vision
        self.stats.vision_seconds += vision
        self.stats.images_encoded += self._vision.encoded - encoded
        setattr(self.stats, name, getattr(self.stats, name) + time.perf_counter() - start - vision)
        return result

    def _render(self, track: _Track) -> tuple[list[int], list[Span]]:
        """Ids of the messages that the track does not cover yet, image pads expanded, and where the images are."""
        conversation, vocabulary, messages = track.conversation, self._vocabulary, track.conversation.messages
        if not track.tokens.ids:
            text, new = render(messages, conversation.tools), messages
        else:
            written = messages[track.seen] if track.seen < len(messages) else None
            if written is None or written.role != "assistant" or written.text != track.reply:
                raise ValueError(f"the conversation of {conversation.task_id} does not go on with what the model wrote")
            new = messages[track.seen + 1 :]
            closing = "" if track.tokens.ids[-1] == vocabulary.end else "<|im_end|>"
            text = closing + "\n" + render(new, suffix=True)
        pictures = [self._vision.look(image) for message in new for image in message.images]
        ids: list[int] = []
        spans: list[Span] = []
        for token in vocabulary.ids(text):
            if token == vocabulary.image:
                if len(spans) == len(pictures):
                    raise ValueError(f"a message of {conversation.task_id} holds an image mark without an image")
                spans.append(Span(track.length + len(ids), pictures[len(spans)], self._merge))
                ids.extend([token] * pictures[len(spans) - 1].tokens)
            else:
                ids.append(token)
        if len(spans) != len(pictures):
            raise ValueError(f"{len(pictures)} images but {len(spans)} marks in the messages of {conversation.task_id}")
        return ids, spans

    # Slots

    def _admit(self) -> None:
        """Give slots to those who wait, in order, as far as there is room."""
        while self._queue:
            if not self._fits(self._queue[0]):
                idle = [t for t in self._held if not t.active]
                if len(idle) < len(self._held) or not idle:
                    return
                self._evict(idle[-1])
                continue
            track = self._queue.popleft()
            track.slot = len(self._held)
            self._held.append(track)

    def _expected(self, track: _Track) -> int:
        """Tokens that a conversation is expected to have soon."""
        rest = min(HEADROOM, self._sampling.max_new_tokens)
        return min(track.length + rest + 1, self._sampling.max_context)

    def _fits(self, track: _Track) -> bool:
        slots, budget = len(self._held) + 1, self.settings.max_tokens_in_cache
        if slots > self.settings.max_slots:
            return False
        longest = max(self._expected(t) for t in [*self._held, track])
        return budget is None or slots * _grains(longest) <= budget

    def _make_room(self) -> None:
        """Make the slab hold all tokens of those in slots; the newest go back to the queue where it cannot."""
        slab, budget = self._slab, self.settings.max_tokens_in_cache
        while budget is not None and len(self._held) * _grains(max(t.length for t in self._held)) > budget:
            self._evict(self._held[-1])
        if len(self._held) <= slab.slots and all(t.length <= slab.length for t in self._held):
            return
        length = max(slab.length, _grains(max(self._expected(t) for t in self._held)))
        slots = max(slab.slots, min(len(self._held) + len(self._queue), self.settings.max_slots))
        if budget is not None:
            length = max(min(length, budget // len(self._held)), _grains(max(t.length for t in self._held)))
            slots = min(slots, budget // length)
        slab.resize(slots, length)

    def _evict(self, track: _Track) -> None:
        """Take a conversation out of the cache; if it is active it waits, first in the queue, to come back."""
        self._release(track)
        self.stats.evictions += 1
        if track.active:
            self._queue.appendleft(track)

    def _release(self, track: _Track) -> None:
        """Free a slot; the last one moves into its place, so that slots in use have no holes."""
        if track.slot is None:
            return
        self._keep_prompt(track)
        last = self._held.pop()
        if last is not track:
            self._slab.copy(last.slot, track.slot, last.cached)  # type: ignore[arg-type]
            self._held[track.slot], last.slot = last, track.slot
        track.slot, track.cached = None, 0

    def _keep_prompt(self, track: _Track) -> None:
        """Save a prompt that someone in the queue shares, when its last holder leaves."""
        n, key = track.tokens.prompt - 1, track.key
        if track.cached < n or key in self._prompts or not any(t.key == key for t in self._queue):
            return
        if not any(t is not track and t.key == key and t.cached >= n for t in self._held):
            self._prompts[key] = self._slab.take(track.slot, n)  # type: ignore[arg-type]

    def _shrink(self) -> None:
        """Memory has run out: all leave the cache, and at most half as many come back at once.

        Raises:
            ArmliteError: one conversation alone is too much.
        """
        held, prefill = self._held, self.settings.prefill_tokens
        if len(held) <= 1 and prefill <= GRAIN:
            raise ArmliteError(
                "out of memory in the rollout with one conversation at a time; the cheapest ways out: "
                "a lower max_context, smaller images (episode.limits), model.quantize: 4bit"
            )
        less = {"max_slots": max(1, len(held) // 2), "prefill_tokens": max(GRAIN, prefill // 2)}
        self.settings = self.settings.model_copy(update=less)
        self.stats.shortages += 1
        say(f"rollout: out of memory; goes on with {less['max_slots']} slots, prefill_tokens {less['prefill_tokens']}")
        self._held, self._prompts, self._slab = [], {}, self._decoder.slab()
        for track in reversed(held):
            track.slot, track.cached = None, 0
            if track.active:
                self.stats.evictions += 1
                self._queue.appendleft(track)
                # A draw that was not used is drawn again: the stream stands at the turn's next token.
                turn = track.conversation.turns
                track.random = stream(self._sampling.seed, track.conversation.task_id, track.conversation.rollout, turn)
                track.random.random(track.length - track.start)

    # Running the model

    def _prefill(self) -> None:
        """Bring all that is known of active conversations into the cache, but the last token of each."""
        while todo := [t for t in self._held if t.active and t.cached < t.length - 1]:
            first = {t.key: t for t in todo if 0 < t.cached < t.tokens.prompt - 1}
            work: list[_Track] = []
            for track in todo:
                shared = track.cached > 0 or self._share(track)
                if not shared and first.setdefault(track.key, track) is not track:
                    continue
                if track.cached < track.length - 1:
                    work.append(track)
            self._run(work)
        waiting = {t.key for t in self._queue}
        self._prompts = {k: v for k, v in self._prompts.items() if k in waiting}

    def _share(self, track: _Track) -> bool:
        """Copy the prompt from another conversation that has it in the cache; False where none has."""
        n = track.tokens.prompt - 1
        other = next((t for t in self._held if t.key == track.key and t.cached >= n), None)
        if other is not None:
            self._slab.copy(other.slot, track.slot, n)  # type: ignore[arg-type]
        elif track.key in self._prompts:
            self._slab.put(track.slot, self._prompts[track.key])  # type: ignore[arg-type]
        else:
            return False
        track.cached = n
        return True

    def _run(self, work: list[_Track]) -> None:
        """Prefill some conversations, in passes of similar lengths and at most `prefill_tokens` tokens."""
        limit = self.settings.prefill_tokens
        pieces = [(t, t.cached, min(t.length - 1, t.cached + limit)) for t in work]
        pieces.sort(key=lambda p: (p[1] > 0, p[1] - p[2]))
        while pieces:
            _, start, end = pieces[0]
            width, more = end - start, start > 0
            n = sum(2 * (e - s) >= width and (s > 0) == more for _, s, e in pieces[: max(1, limit // width)])
            batch, pieces = pieces[:n], pieces[n:]
            self._decoder.prefill(self._slab, [self._chunk(t, s, e) for t, s, e in batch])
            for track, start, end in batch:
                track.cached = end
                self.stats.tokens_prefilled += end - start

    def _chunk(self, track: _Track, start: int, end: int) -> Chunk:
        decoder, tokens = self._decoder, track.tokens
        x = decoder.embed(torch.tensor(tokens.ids[start:end], device=decoder.device))
        for span in tokens.spans:
            low, high = max(span.start, start), min(span.end, end)
            if low < high:
                features = self._vision.features(span.picture)
                x[low - start : high - start] = features[low - span.start : high - span.start].to(x)
        positions = torch.from_numpy(tokens.positions(start, end))
        return Chunk(track.slot, start, x, positions)  # type: ignore[arg-type]

    def _step(self) -> list[tuple[Conversation, Reply]]:
        """Sample one token for each active conversation; those whose turn ends with it."""
        rows = [t for t in self._held if t.active]
        logits = self._decoder.step(
            self._slab,
            [t.slot for t in rows],  # type: ignore[misc]
            [t.tokens.ids[-1] for t in rows],
            [t.cached for t in rows],
            [t.cached + t.shift for t in rows],
        )
        uniforms = [t.random.random() for t in rows]  # type: ignore[union-attr]
        forced = None
        if self._script:
            forced = [-1 if t.script is None else t.script[t.length - t.start] for t in rows]
        tokens, logprobs = choose(logits, self._sampling, self._forbidden, uniforms, forced)
        self.stats.steps += 1
        self.stats.tokens_decoded += len(rows)
        ended = []
        for track, token, logprob in zip(rows, tokens, logprobs, strict=True):
            track.cached += 1
            track.tokens.push(token, logprob)
            if finish := self._finish(track, token):
                ended.append((track.conversation, self._end(track, finish)))
        return ended

    def _finish(self, track: _Track, token: int) -> Literal["stop", "length"] | None:
        """How the turn ends with the token just sampled, if it does."""
        turn = track.length - track.start
        full = track.length >= self._sampling.max_context
        if token == self._vocabulary.end:
            return "stop"
        if not full and self._vocabulary.closes_call(track.tokens.ids[-min(turn, TAIL) :]):
            track.tokens.extend([self._vocabulary.end], [])
            return "stop"
        played = track.script is not None and turn == len(track.script)
        return "length" if full or played or turn == self._sampling.max_new_tokens else None

    def _end(self, track: _Track, finish: Literal["stop", "length"]) -> Reply:
        tokens, end = track.tokens, self._vocabulary.end
        turn = tokens.ids[track.start :]
        track.active, tokens.ended = False, finish == "stop"
        track.reply = self._vocabulary.text(turn[:-1] if turn[-1] == end else turn)
        return Reply(track.reply, finish, sum(tokens.sampled[track.start :]))


def _grains(tokens: int) -> int:
    return -(-tokens // GRAIN) * GRAIN


@contextmanager
def _eval_mode(model: Any) -> Iterator[None]:
    """Dropout and gradient checkpointing off, then each module's mode put back as it was."""
    training = [m for m in model.modules() if m.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
