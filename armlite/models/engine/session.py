"""The rollout engine: many conversations at once with one local model, token in, token out. A `ChatSession`.

A conversation keeps its slot of the key-value cache from turn to turn, so each token goes through the model once, and a
group's shared prompt once for all (`prefixes`). A turn that ends leaves the decode batch at once and another takes its
place (`slots`); nobody waits for the slowest. Tools run between two decode steps: beside them they would make who comes
back first the clock's choice, to save 4 % of a training step (measured on a CPU). What is
sampled depends on (seed, task, rollout, turn), not on who shares the batch: across batches log-probabilities differ by
rounding only.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch

from armlite.loop import Reply
from armlite.models.engine.decoder import Chunk, Decoder
from armlite.models.engine.graphs import GraphedSteps
from armlite.models.engine.oom import survive
from armlite.models.engine.sampler import choose
from armlite.models.engine.scheduler import Slots
from armlite.models.engine.sequence import Stats, Track
from armlite.models.engine.tokens import Span, TokenRecord
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import TAIL, Vocabulary
from armlite.models.sampling import EngineSettings, Sampling, stream
from armlite.protocol.render import Conversation, render

Script = Callable[[Conversation], Sequence[int] | None]
"""Token ids to play as a conversation's next turn, or None to sample it. Ids that run out before the turn ends leave it
unfinished, as `length`; those after its end are not played."""


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

    threads = 0

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
        self._sampling, self._script = sampling, script
        with torch.no_grad(), _eval_mode(model):
            self._decoder = Decoder(model)
        self._slots = Slots(self._decoder.slab, sampling, settings, self.stats)
        self._steps = self._make_steps()
        self._forbidden = torch.tensor(vocabulary.forbidden, dtype=torch.long, device=self._decoder.device)
        self._tracks: dict[int, Track] = {}
        self._ready: list[tuple[Conversation, Reply]] = []

    @property
    def settings(self) -> EngineSettings:
        """What decides memory and speed: as given, or less since memory ran out."""
        return self._slots.settings

    def submit(self, conversation: Conversation) -> None:
        """Ask for the next turn of a conversation.

        Raises:
            ValueError: its last turn has not ended, or the conversation does not go on from what the model wrote.
        """
        track = self._tracks.setdefault(id(conversation), Track(conversation))
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
            self._slots.queue.append(track)

    def wait(self) -> list[tuple[Conversation, Reply]]:
        """Run until at least one turn has ended; returns those that have, in the order of their slots."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        with torch.no_grad(), _eval_mode(self._model):
            while self._slots.queue or self._slots.active:
                if ended := survive(self._advance, self._retreat):
                    return ended
        return []

    def wake(self) -> None:
        """Not called: tools run between two decode steps."""

    def _advance(self) -> list[tuple[Conversation, Reply]]:
        self._slots.arrange()
        self._timed("prefill_seconds", self._prefill)
        return self._timed("decode_seconds", self._step)

    def _retreat(self) -> None:
        """Memory has run out amid `_advance`: begin again with less at a time."""
        self._steps = self._make_steps()
        for track in self._slots.shrink():
            # A draw that was not used is drawn again: the stream stands at the turn's next token.
            talk = track.conversation
            track.random = stream(self._sampling.seed, talk.task_id, talk.rollout, talk.turns)
            track.random.random(track.length - track.start)

    def _make_steps(self) -> Decoder | GraphedSteps:
        graphs = self.settings.cuda_graphs and self._decoder.device.type == "cuda"
        return GraphedSteps(self._decoder) if graphs else self._decoder

    def close(self, conversation: Conversation) -> None:
        """Release a conversation's slot; `tokens` still knows it."""
        track = self._tracks[id(conversation)]
        track.active = False
        self._slots.leave(track)

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

    def _render(self, track: Track) -> tuple[list[int], list[Span]]:
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

    def _prefill(self) -> None:
        """Bring all that is known of active conversations into the cache, but the last token of each."""
        while todo := [t for t in self._slots.active if t.cached < t.length - 1]:
            first = {t.key: t for t in todo if 0 < t.cached < t.tokens.prompt - 1}
            work: list[Track] = []
            for track in todo:
                shared = track.cached > 0 or self._slots.share(track)
                if not shared and first.setdefault(track.key, track) is not track:
                    continue
                if track.cached < track.length - 1:
                    work.append(track)
            self._run(work)
        self._slots.tidy()

    def _run(self, work: list[Track]) -> None:
        """Prefill some conversations, in passes of similar lengths and at most `prefill_tokens` tokens."""
        limit = self.settings.prefill_tokens
        pieces = [(t, t.cached, min(t.length - 1, t.cached + limit)) for t in work]
        pieces.sort(key=lambda p: (p[1] > 0, p[1] - p[2]))
        while pieces:
            _, start, end = pieces[0]
            width, more = end - start, start > 0
            n = sum(2 * (e - s) >= width and (s > 0) == more for _, s, e in pieces[: max(1, limit // width)])
            batch, pieces = pieces[:n], pieces[n:]
            self._decoder.prefill(self._slots.slab, [self._chunk(t, s, e) for t, s, e in batch])
            for track, start, end in batch:
                track.cached = end
                self.stats.tokens_prefilled += end - start

    def _chunk(self, track: Track, start: int, end: int) -> Chunk:
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
        rows = self._slots.active
        logits = self._steps.step(
            self._slots.slab,
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

    def _finish(self, track: Track, token: int) -> Literal["stop", "length"] | None:
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

    def _end(self, track: Track, finish: Literal["stop", "length"]) -> Reply:
        tokens, end = track.tokens, self._vocabulary.end
        turn = tokens.ids[track.start :]
        track.active, tokens.ended = False, finish == "stop"
        track.reply = self._vocabulary.text(turn[:-1] if turn[-1] == end else turn)
        return Reply(track.reply, finish, sum(tokens.sampled[track.start :]))


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
