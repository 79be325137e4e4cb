"""The pocket world: what a task may and may not give away, and the model folder made in place."""

import io

import numpy as np
import pytest
from PIL import Image

from armlite.data.tasks import family
from armlite.episode import EpisodeSettings
from armlite.images import shrink
from armlite.memory import Limits
from armlite.pocket import words
from armlite.pocket.baselines import baselines, stripes
from armlite.pocket.pdf import write_pdf
from armlite.pocket.traces import expert_episodes, sample_texts
from armlite.pocket.world import CELLS, FAMILIES, SPLITS, generate
from armlite.recipe import load_recipe
from armlite.rewards import hierarchical

RULES = load_recipe("recipes/pocket.yaml").episode


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    return list(generate("test", 240, 3, root)), root


def test_the_same_seed_gives_the_same_tasks_and_files(world, tmp_path):
    tasks, root = world
    again = list(generate("test", 240, 3, tmp_path))
    assert again == tasks
    for task in tasks[:9]:
        for path in (*task.images, *([task.document] if task.document else [])):
            assert (tmp_path / path).read_bytes() == (root / path).read_bytes()


def test_splits_and_seeds_share_no_task(tmp_path):
    seen = {}
    for split in SPLITS:
        for seed in (0, 1):
            tasks = generate(split, 40, seed, tmp_path / f"{split}{seed}", "instruction")
            for task in tasks:
                assert seen.setdefault(task.responses, (split, seed)) == (split, seed)
    assert len(seen) == 40 * 2 * len(SPLITS)


def test_families_take_turns_and_gold_is_balanced(world):
    tasks, _ = world
    assert [family(t) for t in tasks[:6]] == [*FAMILIES, *FAMILIES]
    assert abs(sum(t.gold == 1 for t in tasks) / len(tasks) - 0.5) < 0.1


def test_a_picture_shrunk_for_the_prompt_does_not_show_which_way_stripes_run(world):
    tasks, root = world
    for task in [t for t in tasks if family(t) == "zoom"][:40]:
        whole = Image.open(root / task.images[0]).convert("RGB")
        small = shrink(whole, RULES.limits.image_max_pixels)
        assert small.size == (14 * CELLS, 14 * CELLS)
        left, top, right, bottom = (round(v * 42 / 1000) for v in task.meta["expert"]["call"]["arguments"]["bbox_2d"])
        tile = np.asarray(small.crop((left + 3, top + 3, right - 3, bottom - 3)), dtype=float)
        down, across = (np.abs(np.diff(tile, axis=axis)).mean() for axis in (0, 1))
        assert max(down, across) < 4, "levels of 255 between neighbours: noise only"
        box = (round(v * whole.width / 1000) for v in task.meta["expert"]["call"]["arguments"]["bbox_2d"])
        assert stripes(whole.crop(tuple(box))) == task.meta["expert"]["finding"]


def test_prompts_hold_neither_the_page_text_nor_what_a_verifier_counts(world):
    tasks, root = world
    for task in tasks[:60]:
        episode = next(iter(expert_episodes([task], RULES, root, 1.0, 0.0, 0)))
        prompt = episode.conversation.messages[0].text
        if family(task) == "document":
            assert prompt.count(task.meta["expert"]["finding"]) == 1, "as a response, not as the page's code"
            assert "code " not in prompt.replace("Which code", "")
        if family(task) == "instruction":
            for text in task.responses:
                assert text not in prompt


def test_policies_that_do_not_read_the_question_stay_at_chance_and_the_right_call_does_not(world):
    tasks, root = world
    found = baselines(tasks, RULES, root)
    assert found.pop("right call") == 1.0
    assert set(found) == {"whole picture", "fixed box", "random box", "fixed query", "fixed page", "same check"}
    for name, accuracy in found.items():
        assert accuracy < 0.68, f"{name}: {accuracy} of 80 tasks (0.68 is three standard errors above one half)"


@pytest.mark.parametrize(("share", "blind", "calls"), [(1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)])
def test_expert_traces_use_tools_as_often_as_asked(world, share, blind, calls):
    tasks, root = world
    episodes = list(expert_episodes(tasks[:30], RULES, root, share, blind, 0))
    records = [e.trajectory() for e in episodes]
    assert sum(len(t.calls) for t in records) / len(records) == calls
    for record in records:
        total = hierarchical(record).total
        assert total == 1.5 if calls else total in (0.3, 1.0)
        assert record.tools == () if blind else record.tools


def test_the_tokenizer_spells_any_text_and_keeps_the_worlds_words_and_phrases_whole(world):
    from armlite.pocket.model import build_tokenizer

    tasks, root = world
    texts = sample_texts(tasks[:120], RULES, root, 0)
    tokenizer = build_tokenizer(texts)
    for text in (*texts[:6], "Größe 12,5 % – 東京 🙂\n\ttabs", "<tool_call>{}</tool_call>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    for word in (*words.TOPICS, *words.CODES, "horizontal"):
        assert len(tokenizer(f'"{word}"')["input_ids"]) == 3
    assert max(len(tokenizer(text)["input_ids"]) for text in texts) < 220
    assert tokenizer("</tool_call>")["input_ids"] == [tokenizer.convert_tokens_to_ids("</tool_call>")]


def test_the_pdf_writer_makes_pages_that_a_pdf_library_reads():
    from pypdf import PdfReader

    pages = [("a (b) \\ c", "second"), ("third",)]
    reader = PdfReader(io.BytesIO(write_pdf(pages)))
    assert [tuple(page.extract_text().strip().split("\n")) for page in reader.pages] == pages


def test_the_rules_of_the_recipe_hide_what_they_should():
    assert isinstance(RULES, EpisodeSettings)
    assert Limits().shown_characters > RULES.limits.shown_characters
