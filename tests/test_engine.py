"""The rollout engine: exactly the model's own numbers, whoever shares the batch, and each token through it once."""

import gc
import hashlib
import weakref

import numpy as np
import pytest
import torch
from playing import play
from tiny_qwen import converse, noise, plain, tiny, tokenizer

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError
from armlite.models.bases import BASES
from armlite.models.engine.prefix_cache import LEAST
from armlite.models.engine.sampler import sample_tokens
from armlite.models.engine.tokens import Span, Tokens, common_prefix
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.local import EngineSettings, LocalModel, Sampling
from armlite.models.sampling import random_stream
from armlite.protocol.render import Conversation, Message, render
from armlite.types import StopReason, Task

torch.set_num_threads(1)
PICTURES = [noise(56, 84), noise(84, 84), noise(28, 112), noise(140, 56)]
WARM = Sampling(temperature=0.8, max_new_tokens=16, max_context=600)


@pytest.fixture(scope="module")
def qwen():
    return tiny()


@pytest.fixture(scope="module", params=BASES)
def either(request):
    """A model of each architecture."""
    return tiny(base=request.param)


def group(task=0, rollouts=4, images=(PICTURES[0],)):
    return [Conversation(f"t{task}", r, (), [Message("user", f"task {task}", images)]) for r in range(rollouts)]


def mixed():
    """Two groups of four with an image in the prompt, 0 to 3 observations each, some with images."""
    conversations = [c for task in range(2) for c in group(task, images=(PICTURES[task],))]
    plans = [
        [],
        [Message("tool", "a crop", (PICTURES[2],))],
        [Message("tool", "no image"), Message("tool", "two", (PICTURES[3], PICTURES[2]))],
        [Message("tool", "x" * n) for n in (1, 50, 3)],
    ]
    return conversations, plans * 2


def digest(session, conversations):
    ids = [session.tokens(c).completion_ids for c in conversations]
    return hashlib.sha256(repr(ids).encode()).hexdigest()


def says(local_ids):
    """A script that plays the same turn each time."""
    return lambda conversation: local_ids


def test_greedy_tokens_are_those_of_transformers_generate(either):
    model, processor = either
    local = LocalModel(model, processor, Sampling(max_new_tokens=40))
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    conversations = group(rollouts=1) + group(1, 1, PICTURES[1:3]) + group(2, 1, ())
    session, _ = converse(local, conversations, [[], [], []])
    for conversation in conversations:
        record = session.tokens(conversation)
        inputs = processor(
            text=[render(conversation.messages[:1])],
            images=[s.picture.image for s in record.prompt_spans] or None,
            return_tensors="pt",
        )
        assert inputs["input_ids"][0].tolist() == record.prompt_ids
        made = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=40,
            suppress_tokens=vocabulary.forbidden,
            eos_token_id=vocabulary.end,
        )[0, len(record.prompt_ids) :].tolist()
        assert record.completion_ids[: len(made)] == made[: len(record.completion_ids)]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprobs_are_those_of_a_plain_forward_however_the_work_was_cut_up(either, temperature):
    sampling = WARM.model_copy(update={"temperature": temperature, "max_context": 440})
    seen = set()
    for settings, evicts in [
        (EngineSettings(), False),
        (EngineSettings(max_slots=3), False),
        (EngineSettings(max_slots=5, prefill_tokens=37), False),
        (EngineSettings(max_tokens_in_cache=512), True),
    ]:
        conversations, plans = mixed()
        session, replies = converse(LocalModel(*either, sampling, settings), conversations, plans)
        assert (session.stats.evictions > 0) == evicts
        for conversation, plan, said in zip(conversations, plans, replies, strict=True):
            record = session.tokens(conversation)
            mask = torch.tensor(record.mask).bool()
            right = plain(*either, record, temperature or 1.0)
            assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5
            assert not any(lp for lp, m in zip(record.logprobs, record.mask, strict=True) if not m)
            assert len(said) == len(plan) + 1
            assert sum(record.mask) == sum(r.tokens for r in said)
            assert len(record.completion_spans) == sum(len(m.images) for m in plan)
        seen.add(digest(session, conversations))
    assert len(seen) == 1


@pytest.mark.parametrize("base", BASES)
def test_grouped_key_heads_give_the_same_numbers(base):
    for kv_heads in (1, 4):
        model, processor = tiny(kv_heads=kv_heads, seed=kv_heads, base=base)
        conversations, plans = mixed()
        session, _ = converse(LocalModel(model, processor, WARM), conversations, plans)
        for conversation in conversations:
            record = session.tokens(conversation)
            mask = torch.tensor(record.mask).bool()
            right = plain(model, processor, record, WARM.temperature)
            assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5


@pytest.mark.parametrize("base", BASES)
def test_models_that_are_too_large_or_too_odd_to_be_packed_give_the_same_numbers(base):
    model, processor = tiny(seed=5, base=base)
    model.double()
    conversations, plans = mixed()
    session, _ = converse(LocalModel(model, processor, WARM, EngineSettings(max_slots=3)), conversations, plans)
    for conversation in conversations:
        record = session.tokens(conversation)
        mask = torch.tensor(record.mask).bool()
        right = plain(model, processor, record, WARM.temperature)
        assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5


def test_a_conversation_alone_says_what_it_says_in_company(qwen):
    conversations, plans = mixed()
    together, _ = converse(LocalModel(*qwen, WARM), conversations, plans)
    for i in (0, 3, 6):
        again, _ = mixed()
        alone, _ = converse(LocalModel(*qwen, WARM), [again[i]], [plans[i]])
        assert alone.tokens(again[i]).completion_ids == together.tokens(conversations[i]).completion_ids
    other = [Conversation(c.task_id, c.rollout + 9, (), c.messages[:1]) for c in conversations[:1]]
    session, _ = converse(LocalModel(*qwen, WARM), other, [[]])
    assert session.tokens(other[0]).completion_ids != together.tokens(conversations[0]).completion_ids[:16]


def test_positions_are_those_of_the_model(either):
    model, processor = either
    cache = VisionCache(model, processor)
    tokens, image = Tokens(), model.config.image_token_id
    for pictures in ([PICTURES[0], PICTURES[3]], [], [PICTURES[2]]):
        ids, spans = [5, 6], []
        for picture in map(cache.look, pictures):
            spans.append(Span(len(tokens.ids) + len(ids), picture, 2))
            ids += [image] * picture.tokens + [7, 8, 9]
        tokens.extend(ids, spans)
    whole = torch.tensor([tokens.ids])
    grids = torch.tensor([s.picture.grid for s in tokens.spans])
    right, delta = model.model.get_rope_index(whole, (whole == image).int(), image_grid_thw=grids)
    assert tokens.positions(0, len(tokens.ids)).tolist() == right[:, 0].tolist()
    assert tokens.shift == delta.item()
    for cut in range(1, len(tokens.ids)):
        assert tokens.positions(cut - 1, cut).tolist() == right[:, 0, cut - 1 : cut].tolist()
        assert tokens.positions(cut, len(tokens.ids)).tolist() == right[:, 0, cut:].tolist()


@pytest.mark.parametrize("slots", [1, 3, 32])
def test_a_token_is_prefilled_once_a_prompt_once_a_group_and_an_image_encoded_once(qwen, slots):
    conversations, plans = mixed()
    session, _ = converse(LocalModel(*qwen, WARM, EngineSettings(max_slots=slots)), conversations, plans)
    records = [session.tokens(c) for c in conversations]
    stats = session.stats
    entered = sum(len(r.mask) - _after_last_sampled(r) for r in records)
    assert stats.tokens_decoded == sum(sum(r.mask) for r in records)
    # A decode step takes one token in and gives one; each other token was prefilled, or copied from whoever has it.
    every = sum(len(r.prompt_ids) - 1 for r in records) + entered - stats.tokens_decoded
    assert stats.tokens_prefilled + stats.tokens_copied == every
    prompts = sum(len(records[i].prompt_ids) - 1 for i in (0, 4))
    alike = common_prefix(records[0].path, records[4].path)  # what two tasks' prompts begin with
    one_by_one = prompts + entered - stats.tokens_decoded
    assert stats.tokens_prefilled == one_by_one - alike * (slots > 1) and alike > 20
    assert session.stats.images_encoded == len(PICTURES)


@pytest.mark.parametrize(
    "cut", [{}, {"prefill_tokens": 37}, {"max_slots": 3}], ids=["at once", "in bits", "in 3 slots"]
)
def test_rollouts_that_said_the_same_share_what_they_were_shown(qwen, cut):
    """A group that forks in its third turn: the crops of the first two are prefilled once, the last one's for each.

    One of them is shown another picture after equal words: it shares nothing from there on.
    """
    turns = [[70 + turn] * 9 for turn in range(2)]
    conversations = group(rollouts=4, images=(PICTURES[0],))
    plan = [Message("tool", "a crop", (PICTURES[1],)), Message("tool", "and another one", (PICTURES[3],))]
    plans = [[*plan, Message("tool", "the last", (PICTURES[2],))] for _ in conversations]
    plans[3][1] = Message("tool", "and another one", (PICTURES[2],))

    def script(conversation):
        return turns[conversation.turns] if conversation.turns < 2 else [80 + conversation.rollout] * 5

    local = LocalModel(*qwen, WARM, EngineSettings(**cut), script=script)
    session, _ = converse(local, conversations, plans)
    records = [session.tokens(c) for c in conversations]
    for record in records:
        mask = torch.tensor(record.mask).bool()
        right = plain(*qwen, record, WARM.temperature)
        assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5
    stats, fork = session.stats, common_prefix(records[0].path, records[1].path)
    assert stats.tokens_copied > 0 and common_prefix(records[0].path, records[3].path) < fork - 30
    if cut == {}:
        sampled = 2 * 9  # of the turns before the fork
        behind = sum(len(r.path) - fork - sum(r.mask) + sampled + 1 for r in records[:3])  # prefilled by each itself
        alone = len(records[3].path) - common_prefix(records[0].path, records[3].path)
        assert stats.tokens_prefilled <= (fork - sampled) + behind + alone + LEAST  # so few are not worth waiting for
        assert stats.tokens_prefilled < 0.5 * (stats.tokens_prefilled + stats.tokens_copied)


def _after_last_sampled(record):
    """Tokens that closed the last turn and never had to enter the cache."""
    return len(record.mask) - 1 - max(i for i, m in enumerate(record.mask) if m)


def test_ids_of_ended_turns_are_those_of_the_rendered_conversation(either):
    model, processor = either
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    turns = ["<think>hm</think>\n<tool_call>\n{}\n</tool_call>", "é <answer>1</answer>"]

    def script(conversation):
        return [*vocabulary.ids(turns[conversation.turns]), vocabulary.end]

    conversations = group(rollouts=2)
    observation = Message("tool", "seen", (PICTURES[2],))
    session, replies = converse(LocalModel(model, processor, script=script), conversations, [[observation]] * 2)
    assert [r.text for r in replies[0]] == turns
    record = session.tokens(conversations[0])
    ids = record.prompt_ids + record.completion_ids
    images = record.images
    whole = processor(text=[render(conversations[0].messages, add_generation_prompt=False)], images=images)
    assert [*ids, *vocabulary.ids("\n")] == whole["input_ids"][0]
    # Sampled tokens and nothing else: the first turn was cut after its call, so its end-of-turn token is the engine's.
    sampled = [i for i, m in zip(record.completion_ids, record.mask, strict=True) if m]
    assert sampled == [*vocabulary.ids(turns[0]), *vocabulary.ids(turns[1]), vocabulary.end]
    assert record.ended


@pytest.mark.parametrize("call_tokens", [True, False])
def test_a_turn_ends_where_its_call_ends(call_tokens):
    model, processor = tiny(call_tokens=call_tokens)
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    script = says(vocabulary.ids("a > b <tool_call>{}</tool_call> and on and on"))
    conversations = group(rollouts=1)
    local = LocalModel(model, processor, Sampling(max_new_tokens=99), script=script)
    session, replies = converse(local, conversations, [[]])
    assert replies[0][0].text == "a > b <tool_call>{}</tool_call>"
    assert replies[0][0].finish == "stop"
    record = session.tokens(conversations[0])
    assert record.completion_ids[-1] == vocabulary.end
    assert record.mask == [1] * replies[0][0].tokens + [0]


def test_a_turn_out_of_tokens_finishes_by_length_and_its_conversation_can_still_go_on(qwen):
    script = says([65] * 50)
    local = LocalModel(*qwen, Sampling(max_new_tokens=5), script=script)
    conversations = group(rollouts=1)
    session, replies = converse(local, conversations, [[Message("user", "go on")]])
    assert [(r.finish, r.tokens) for r in replies[0]] == [("length", 5)] * 2
    record = session.tokens(conversations[0])
    assert not record.ended
    end = qwen[1].tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert record.completion_ids[:6] == [65] * 5 + [end]
    assert record.mask[:6] == [1] * 5 + [0]
    assert record.completion_ids[-5:] == [65] * 5


def test_what_does_not_fit_ends_its_own_conversation_only(qwen):
    conversations = group(rollouts=3) + group(1, 1, PICTURES[:1] * 99)
    long = [Message("tool", "a"), Message("tool", "b" * 900, (PICTURES[1],))]
    plans = [long, [Message("tool", "a")] * 2, long[:1], []]
    session, replies = converse(LocalModel(*qwen, WARM), conversations, plans)
    assert [[r.finish == "overflow" for r in said] for said in replies] == [[0, 0, 1], [0, 0, 0], [0, 0], [1]]
    record = session.tokens(conversations[0])
    assert len(record.completion_spans) == 0
    assert "bbb" not in qwen[1].tokenizer.decode(record.completion_ids)
    assert record.mask[-1] == 1 or record.ended
    assert session.tokens(conversations[3]).prompt_ids == []
    freely, free_plans = group(rollouts=3), [long[:1], plans[1], plans[2]]
    again, _ = converse(LocalModel(*qwen, WARM), freely, free_plans)
    for mine, theirs in zip(conversations[:3], freely, strict=True):
        assert session.tokens(mine).completion_ids == again.tokens(theirs).completion_ids


def test_a_conversation_fills_its_context_to_the_last_token_and_no_further(qwen):
    conversations = group(rollouts=1)
    session, _ = converse(LocalModel(*qwen, WARM, script=says([65] * 99)), conversations, [[]])
    prompt = len(session.tokens(conversations[0]).prompt_ids)
    for room, finish in [(0, "overflow"), (1, "length"), (7, "length")]:
        sampling = WARM.model_copy(update={"max_context": prompt + room})
        again = group(rollouts=1)
        session, replies = converse(LocalModel(*qwen, sampling, script=says([65] * 99)), again, [[]])
        assert (replies[0][0].finish, replies[0][0].tokens) == (finish, room)
        assert len(session.tokens(again[0]).completion_ids) == room


def test_control_tokens_are_never_sampled(qwen, shared):
    model, processor = qwen
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    names = ["<|endoftext|>", "<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    unused = range(len(processor.tokenizer), model.config.text_config.vocab_size)
    assert set(vocabulary.forbidden) == {*processor.tokenizer.convert_tokens_to_ids(names), *unused}
    logits = torch.full((2, model.config.text_config.vocab_size), -5.0)
    logits[:, vocabulary.forbidden] = 50.0
    for sampling in (Sampling(), Sampling(temperature=1), Sampling(temperature=1, top_k=2, top_p=0.3)):
        tokens, logprobs = sample_tokens(logits, sampling, torch.tensor(vocabulary.forbidden), [0.0, 0.999999999999])
        assert not set(tokens) & set(vocabulary.forbidden)
        assert max(logprobs) < -50
    from transformers import AutoTokenizer

    real = Vocabulary(AutoTokenizer.from_pretrained(shared / "qwen2.5-vl"), 152064)
    assert {151643, 151644, 151652, 151655, 151656, 151659, 152063} <= set(real.forbidden)
    assert not {151645, 151657, 151658, 0} & set(real.forbidden)
    assert real.closes_call([151658])
    assert not real.closes_call(real.ids("x >"))


def test_draws_follow_the_probabilities():
    share = torch.tensor([0.05, 0.5, 0.0, 0.25, 0.2])
    uniforms = [(i + 0.5) / 1000 for i in range(1000)]
    cases = [
        (Sampling(temperature=1), [50, 500, 0, 250, 200]),
        (Sampling(temperature=0.5), [7, 704, 0, 176, 113]),
        (Sampling(temperature=1, top_k=2), [0, 667, 0, 333, 0]),
        (Sampling(temperature=1, top_p=0.76), [0, 526, 0, 263, 211]),
        (Sampling(temperature=1, top_p=0.74), [0, 667, 0, 333, 0]),
        (Sampling(temperature=1, top_p=0.1), [0, 1000, 0, 0, 0]),
        (Sampling(), [0, 1000, 0, 0, 0]),
    ]
    for sampling, counts in cases:
        tokens, logprobs = sample_tokens(
            share.log().expand(1000, -1), sampling, torch.tensor([], dtype=torch.long), uniforms
        )
        got = np.bincount(tokens, minlength=5)
        assert np.abs(got - counts).max() <= 1, (sampling, got)
        assert got[2] == 0
        right = (share.log() / (sampling.temperature or 1)).log_softmax(-1)[tokens]
        assert torch.allclose(torch.tensor(logprobs), right, atol=1e-6)


def test_streams_differ_in_each_of_their_names_and_repeat():
    base = random_stream(0, "a", 0, 0).random(4).tolist()
    assert random_stream(0, "a", 0, 0).random(4).tolist() == base
    others = [
        random_stream(1, "a", 0, 0),
        random_stream(0, "b", 0, 0),
        random_stream(0, "a", 1, 0),
        random_stream(0, "a", 0, 1),
        random_stream(0, "a0", 0, 0),
    ]
    assert not {*base} & {x for other in others for x in other.random(4).tolist()}


def test_modes_are_put_back_and_training_mode_changes_no_number():
    from peft import LoraConfig, get_peft_model

    model, processor = tiny()
    config = LoraConfig(
        r=4, target_modules=r".*language_model.*(q|v|up)_proj", lora_dropout=0.5, init_lora_weights=False
    )
    model = get_peft_model(model, config)
    conversations, plans = mixed()
    session, _ = converse(LocalModel(model, processor, WARM), conversations, plans)
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    model.train()
    model.base_model.model.model.visual.eval()
    before = [m.training for m in model.modules()]
    again, plans = mixed()
    training, _ = converse(LocalModel(model, processor, WARM), again, plans)
    assert [m.training for m in model.modules()] == before
    assert any(before)
    assert not all(before)
    assert digest(session, conversations) == digest(training, again)
    model.eval()
    record = session.tokens(conversations[2])
    mask = torch.tensor(record.mask).bool()
    right = plain(model, processor, record, WARM.temperature)
    assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5


def test_wrong_use_is_refused(qwen):
    with pytest.raises(ArmliteError, match=r"max_tokens_in_cache is 100, but .* 640"):
        LocalModel(*qwen, WARM, EngineSettings(max_tokens_in_cache=100)).session()
    session = LocalModel(*qwen, WARM).session()
    conversation = group(rollouts=1)[0]
    assert session.wait() == []
    session.submit(conversation)
    with pytest.raises(ValueError, match="has not ended"):
        session.submit(conversation)
    session.wait()
    conversation.messages.append(Message("assistant", "something else"))
    with pytest.raises(ValueError, match="does not go on with what the model wrote"):
        session.submit(conversation)
    forged = Conversation("forged", 0, (), [Message("user", "an <|image_pad|> of nothing")])
    with pytest.raises(ValueError, match="mark without an image"):
        session.submit(forged)


def test_a_conversation_can_be_closed_at_any_time(qwen):
    session = LocalModel(*qwen, WARM, EngineSettings(max_slots=2)).session()
    conversations = group(rollouts=4)
    for conversation in conversations:
        session.submit(conversation)
    session.close(conversations[3])
    first = session.wait()[0][0]
    other = next(c for c in conversations[:2] if c is not first)
    session.close(other)
    session.close(first)
    assert session.wait()[0][0] is conversations[2]
    assert session.wait() == []
    assert len(session.tokens(conversations[3]).completion_ids) == 0


def test_whoever_wakes_a_session_gets_a_word_in_between_two_tokens(qwen):
    model = LocalModel(*qwen, WARM, EngineSettings(max_slots=4))
    alone, session, (first, second) = model.session(), model.session(), group(rollouts=2)
    for one in (alone, session):
        one.submit(first)
    alone.wait()
    session.wake()
    assert session.wait() == [] and session.stats.tokens_decoded == 1
    session.submit(second)
    assert session.wait() and session.stats.tokens_decoded < alone.stats.tokens_decoded + 16 + 1
    while session.wait():
        pass
    assert session.tokens(first).completion_ids == alone.tokens(first).completion_ids
    session.keeps_tokens = False
    session.close(first)
    with pytest.raises(KeyError):
        session.tokens(first)


def test_an_unanswered_conversation_gives_up_its_slot_to_those_who_wait(qwen):
    alone, _ = converse(LocalModel(*qwen, WARM), again := group(rollouts=3), [[Message("tool", "on")]] * 3)
    session = LocalModel(*qwen, WARM, EngineSettings(max_slots=1)).session()
    conversations = group(rollouts=3)
    for conversation in conversations:
        session.submit(conversation)
    for _ in conversations:
        for conversation, reply in session.wait():
            conversation.messages += [Message("assistant", reply.text), Message("tool", "on")]
    assert session.stats.evictions == 2
    for conversation in conversations:
        session.submit(conversation)
        session.wait()
    assert digest(session, conversations) == digest(alone, again)


def test_episodes_are_played_to_their_end(qwen):
    model, processor = qwen
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)
    turns = [
        '<think>closer</think>\n<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"image": "original_image", '
        '"bbox_2d": [0, 0, 500, 500]}}\n</tool_call>',
        "<think>seen</think>\n<answer>2</answer>",
    ]

    def script(conversation):
        return [*vocabulary.ids(turns[conversation.turns]), vocabulary.end]

    task = Task(id="t", kind="pairwise", question="which?", responses=("a", "b"), gold=2)
    episodes = [Episode.open(task, EpisodeSettings(), rollout=r, images=[noise(200, 200)]) for r in range(2)]
    session = play(episodes, LocalModel(model, processor, Sampling(max_new_tokens=400), script=script))
    assert [e.stop for e in episodes] == [StopReason.ANSWERED] * 2
    assert [e.decision for e in episodes] == [2, 2]
    record = session.tokens(episodes[0].conversation)
    assert [len(record.prompt_spans), len(record.completion_spans)] == [1, 1]
    assert session.stats.images_encoded == 2


def test_a_spelt_tag_is_found_wherever_tokens_are_cut():
    vocabulary = Vocabulary(tokenizer(call_tokens=False), 270)
    ids = vocabulary.ids("<tool_call>x</tool_call>")
    assert vocabulary.closes_call(ids)
    assert not vocabulary.closes_call(ids[:-1])
    assert not vocabulary.closes_call(vocabulary.ids("<tool_call>"))
    for text in ('<tool_call>{"a": "</tool_call>', "<think>I would <tool_call>x</tool_call>"):
        assert not vocabulary.closes_call(vocabulary.ids(text))
    assert vocabulary.closes_call(vocabulary.ids('<tool_call>{"a": "</tool_call>"}</tool_call>'))


def test_the_cache_goes_with_its_session_at_once(qwen):
    conversations, plans = mixed()
    session, _ = converse(LocalModel(*qwen, WARM), conversations, plans)
    cache = weakref.ref(session._scheduler.cache)
    gc.disable()  # a cycle would keep a gigabyte on the card until the collector comes by, through the update
    try:
        del session
        assert cache() is None
    finally:
        gc.enable()
