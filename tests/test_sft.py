"""The cold start learns exactly what a rollout would look like: the same ids, and loss on what the model says only."""

import pytest
import torch
from PIL import Image
from playing import play
from published import arm_thinker_data
from tiny_run import RULES, answer, call, make_recipe, mixed_plans, script
from torch.nn.functional import cross_entropy

from armlite.data.convert import convert
from armlite.data.traces import SavedConversations
from armlite.episode import Episode
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import get_set
from armlite.models.engine.vision import no_vision_gradient
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.loading import load
from armlite.models.local import LocalModel, Sampling
from armlite.stages import SftSettings
from armlite.store import Saved, save
from armlite.train.encode import IGNORE, EncodedRows, collate_rows, encode_conversation
from armlite.train.metrics import MetricsFile
from armlite.train.policy import Policy
from armlite.train.sft import run_sft
from armlite.types import StopReason

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(pocket):
    return load(pocket.folder)


@pytest.fixture(scope="module")
def played(pocket, model):
    """Episodes with 0 to 4 calls, and the engine's record of each."""
    tasks = pocket.tasks[:3]
    says = script(Vocabulary(model[1].tokenizer, model[0].config.text_config.vocab_size), mixed_plans(tasks))
    chat = LocalModel(*model, Sampling(max_new_tokens=99, max_context=2000), script=says)
    episodes = [Episode.open(t, RULES, pocket.root, (2, 1), rollout) for t in tasks for rollout in range(4)]
    played = [e for e in episodes if (e.task.id, e.conversation.rollout) != (tasks[0].id, 2)]
    session = play(played, chat)
    return [(e, session.tokens(e.conversation)) for e in played]


def answered(played):
    return [(e, r) for e, r in played if e.stop in (StopReason.ANSWERED, StopReason.NO_ANSWER)]


def is_spelt(episode):
    return any("<|" in step.turn.text for step in episode.steps)


def test_ids_are_the_engines_and_labels_are_what_the_model_said(played, model):
    _, processor = model
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    images = set()
    for episode, record in answered(played):
        if is_spelt(episode):
            continue
        row = encode_conversation(episode.conversation, processor)
        assert row.input_ids == record.prompt_ids + record.completion_ids
        learnt = [IGNORE] * len(record.prompt_ids)
        for i, (token, sampled) in enumerate(zip(record.completion_ids, record.mask, strict=True)):
            # In a rollout the engine closes a call's turn, so the model is not to be taught it; here it is.
            closes = token == end and not sampled and record.mask[i - 1]
            learnt.append(token if sampled or closes else IGNORE)
        assert row.labels == learnt
        held = record.images
        images.add(len(held))
        if held:
            made = processor.image_processor(images=held, return_tensors="pt")
            assert torch.equal(row.pixel_values, made["pixel_values"])
            assert torch.equal(row.image_grid_thw, made["image_grid_thw"])
        else:
            assert row.pixel_values is None
    assert images == {0, 1, 2, 3}


def test_control_tokens_that_a_model_spelt_stay_spelt(played, model):
    _, processor = model
    episode, record = next((e, r) for e, r in played if is_spelt(e))
    row = encode_conversation(episode.conversation, processor)
    decode = processor.tokenizer.decode
    assert decode(row.input_ids) == decode(record.prompt_ids + record.completion_ids)
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert row.input_ids.count(pad) == record.prompt_ids.count(pad) + record.completion_ids.count(pad)
    said = decode([i for i in row.labels if i != IGNORE])
    assert said == "".join(step.turn.text + "<|im_end|>" for step in episode.steps)


def test_a_saved_trajectory_encodes_like_the_live_conversation(played, model, tmp_path):
    _, processor = model
    whole = [e for e, _ in played if e.stop is StopReason.ANSWERED]
    rows = [Saved(trajectory=e.trajectory()) for e, _ in played]
    save(tmp_path / "traces.jsonl", rows, {k: v for e, _ in played for k, v in e.pixels().items()})
    saved = SavedConversations(tmp_path / "traces.jsonl", RULES.limits)
    assert len(saved) == len(whole) < len(played)  # nothing is to be learnt from one that was cut off
    for again, episode in zip(saved, whole, strict=True):
        assert again.tools == episode.conversation.tools
        one, other = encode_conversation(again, processor), encode_conversation(episode.conversation, processor)
        assert (one.input_ids, one.labels) == (other.input_ids, other.labels)
        assert (one.pixel_values is None) == (other.pixel_values is None)
        assert one.pixel_values is None or torch.equal(one.pixel_values, other.pixel_values)


def test_asking_for_more_traces_than_there_are_is_an_error(played, tmp_path):
    rows = [Saved(trajectory=e.trajectory()) for e, _ in answered(played)]
    save(tmp_path / "traces.jsonl", rows, {k: v for e, _ in played for k, v in e.pixels().items()})
    assert len(SavedConversations(tmp_path / "traces.jsonl", RULES.limits, 2)) == 2
    with pytest.raises(ArmliteError, match=r"n_traces is 50, but .*traces\.jsonl holds 8"):
        SavedConversations(tmp_path / "traces.jsonl", RULES.limits, 50)
    cut = [Saved(trajectory=e.trajectory()) for e, _ in played if e.stop is StopReason.TURN_BUDGET]
    save(tmp_path / "cut.jsonl", cut, {k: v for e, _ in played for k, v in e.pixels().items()})
    with pytest.raises(ArmliteError, match=r"cut\.jsonl.* ends in an answer"):
        SavedConversations(tmp_path / "cut.jsonl", RULES.limits)


def test_conversations_that_are_too_long_are_left_out_whole(played, model):
    _, processor = model
    conversations = [e.conversation for e, _ in answered(played)]
    lengths = [len(encode_conversation(c, processor).input_ids) for c in conversations]
    limit = sorted(lengths)[4]
    assert [encode_conversation(c, processor, limit) is None for c in conversations] == [n > limit for n in lengths]
    rows = EncodedRows(conversations, processor, limit)
    assert len(rows) == 5
    assert rows.lengths == [n for n in lengths if n <= limit]
    assert [len(rows[i].input_ids) for i in range(5)] == rows.lengths
    slow = EncodedRows(conversations, processor, limit, cache_bytes=0)
    assert [slow[i].input_ids for i in range(5)] == [rows[i].input_ids for i in range(5)]
    with pytest.raises(ArmliteError, match="none of the 9 traces fits"):
        EncodedRows(conversations, processor, 3)


def test_a_batch_is_padded_on_the_right_and_holds_all_pixels_in_order(played, model):
    _, processor = model
    rows = [encode_conversation(e.conversation, processor) for e, _ in answered(played)]
    pad = processor.tokenizer.pad_token_id
    image = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    batch = collate_rows(rows, pad, image)
    shape = (len(rows), max(len(r.input_ids) for r in rows))
    assert {batch[k].shape for k in ("input_ids", "labels", "attention_mask", "mm_token_type_ids")} == {shape}
    for i, row in enumerate(rows):
        n = len(row.input_ids)
        assert batch["input_ids"][i].tolist() == row.input_ids + [pad] * (shape[1] - n)
        assert batch["labels"][i].tolist() == row.labels + [IGNORE] * (shape[1] - n)
        assert batch["attention_mask"][i].sum() == n
    assert batch["mm_token_type_ids"].sum() == batch["image_grid_thw"].prod(-1).sum() == len(batch["pixel_values"])
    text_only = collate_rows([r for r in rows if r.pixel_values is None], pad, image)
    assert "pixel_values" not in text_only


@pytest.mark.parametrize("size", [4, 1])
def test_the_loss_is_the_mean_over_what_the_model_said(pocket, tmp_path, size):
    model, processor = load(pocket.folder)
    zoom, _, instruction = pocket.tasks[:3]
    conversations = []
    for task, turns in (
        (zoom, [answer(1)]),
        (zoom, [call(zoom), answer(2)]),
        (instruction, [answer(2)]),
        (instruction, [call(instruction), answer(1)]),
    ):
        episode = Episode.open(task, RULES, pocket.root, (1, 2))
        for turn in turns:
            episode.advance(turn)
        conversations.append(episode.conversation)
    rows = [encode_conversation(c, processor) for c in conversations]
    total = count = 0
    for row in rows:
        batch = collate_rows([row], 0, model.config.image_token_id)
        labels = batch.pop("labels")[0, 1:]
        with torch.no_grad():
            total += cross_entropy(model(**batch).logits[0, :-1], labels, ignore_index=IGNORE, reduction="sum").item()
        count += int((labels != IGNORE).sum())
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    stage = SftSettings(
        adapter="none",
        train_vision=True,
        steps=1,
        learning_rate=1e-4,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=4 // size,
        gradient_checkpointing=False,
    )
    model.requires_grad_(True)
    policy = Policy(model, processor)
    _, counts = run_sft(make_recipe(), "sft", stage, policy, conversations, tmp_path / "work", metrics)
    assert counts == {"conversations": 4, "too_long": 0}
    (row,) = metrics.read()
    assert row["loss"] == pytest.approx(total / count, rel=1e-5)
    assert (row["stage"], row["step"]) == ("sft", 1)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_frozen_tower_leaves_no_graph_and_the_same_features(pocket):
    model, processor = load(pocket.folder)
    model.enable_input_require_grads()
    made = processor.image_processor(images=[Image.new("RGB", (56, 56), "red")], return_tensors="pt")
    plain = model.model.get_image_features(**made).pooler_output[0]
    with no_vision_gradient(model):
        alone = model.model.get_image_features(**made).pooler_output[0]
    after = model.model.get_image_features(**made).pooler_output[0]
    assert plain.requires_grad and not alone.requires_grad and after.requires_grad
    assert torch.equal(plain, alone)


def test_published_traces_are_encoded_with_loss_on_the_models_words_only(model, tmp_path):
    _, processor = model
    arm_thinker_data.build(tmp_path / "published", "json")
    convert(get_set("arm-thinker-data"), tmp_path / "published", tmp_path / "tasks.jsonl")
    talk = SavedConversations(tmp_path / "tasks.jsonl", RULES.limits)[0]
    row = encode_conversation(talk, processor)
    learned = processor.tokenizer.decode([label for label in row.labels if label >= 0])
    assert learned == "".join(f"{m.text}<|im_end|>" for m in talk.messages if m.role == "assistant")
    assert len(row.image_grid_thw) == 2
