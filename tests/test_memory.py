"""What a judgment remembers: names of images and texts, what is shown, what is kept whole, what is out of reach."""

import os
from pathlib import Path
from typing import Any

import pytest
from small_episode import call, document_of, photo, seen, start

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ToolError
from armlite.memory import Limits, Memory
from armlite.types import Task


@pytest.mark.parametrize(
    ("own", "name", "found"),
    [
        (1, "img_0", "img_0"),
        (1, "original_image", "img_0"),
        (1, "original_image_1", "img_0"),
        (1, "observation_1", "img_1"),
        (1, "img_2", "img_2"),
        (1, "observation_2", "img_2"),
        (2, "original_image", "img_0"),
        (2, "original_image_2", "img_1"),
        (2, "observation_1", "img_2"),
        (0, "observation_1", "img_0"),
        (1, "image_1", "img_1"),
        (1, "original_image_2", None),
        (0, "original_image", None),
        (1, "original_image_0", None),
        (1, "observation_0", None),
        (1, "observation_3", None),
        (1, "img_3", None),
        (1, "img_-1", None),
        (1, "IMG_0", None),
        (1, "img_0\n", None),
        (1, "", None),
        (1, "img_" + "9" * 5000, None),
    ],
)
def test_an_image_is_found_under_the_paper_s_and_the_reference_s_names(own: int, name: str, found: str | None) -> None:
    memory = Memory([photo()] * own)
    memory.add_image(photo("red")), memory.add_image(photo("blue"))
    if found:
        assert memory.image_id(name) == found
        assert memory.image_id(memory.wire_name(found)) == found
    else:
        with pytest.raises(ToolError, match=r"(?s)there is no image named .*`observation_1`, `observation_2`\."):
            memory.image_id(name)


@pytest.mark.parametrize(
    ("texts", "name", "found"),
    [
        (2, "resp_1", 0),
        (2, "resp_2", 1),
        (2, "text_0", 0),
        (2, "text_1", 1),
        (1, "resp_0", 0),
        (1, "resp_1", 0),
        (1, "text_0", 0),
        (2, "resp_0", None),
        (2, "resp_3", None),
        (2, "text_2", None),
        (1, "The whole text of the response.", None),
        (0, "resp_1", None),
        (2, "resp_" + "1" * 5000, None),
    ],
)
def test_a_response_is_found_whole_under_its_names(texts: int, name: str, found: int | None) -> None:
    memory = Memory((), [f"text {i} " * 5000 for i in range(texts)])
    if found is not None:
        assert memory.text(name) == f"text {found} " * 5000
    else:
        with pytest.raises(ToolError, match="there is no text named"):
            memory.text(name)


def test_every_response_is_in_the_memory_whole_however_little_is_shown() -> None:
    long = "word " * 3000
    episode = start(texts=("Ulm", long, "Bern"), order=(2, 3, 1), limits=Limits(shown_characters=100))
    assert len(episode.conversation.messages[0].text) < 2000
    assert [episode.memory.text(f"resp_{i}") for i in (1, 2, 3)] == [long, "Bern", "Ulm"]


def test_a_crop_knows_where_it_comes_from() -> None:
    episode = start([photo()])
    observation = seen(episode, call("image_zoom_in_tool", '{"image": "original_image", "bbox_2d": [0, 0, 500, 500]}'))
    assert observation.ok
    assert observation.images == ("img_1",)
    assert "`observation_1`" in observation.text
    info = episode.memory.infos["img_1"]
    assert (info.parent, info.box, (info.width, info.height)) == ("img_0", (0, 0, 300, 200), (600, 400))
    observation = seen(episode, call("image_zoom_in_tool", '{"image": "observation_1", "bbox_2d": [0, 0, 500, 500]}'))
    assert observation.images == ("img_2",)
    assert episode.memory.infos["img_2"].parent == "img_1"


def test_images_are_shown_shrunk_and_kept_whole() -> None:
    episode = start([photo(size=(2000, 1000))], limits=Limits(image_max_pixels=20_000))
    [shown] = episode.conversation.messages[0].images
    assert shown.width * shown.height <= 20_000
    assert episode.memory.images["img_0"].size == (2000, 1000)


def test_files_outside_the_memory_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = document_of(tmp_path / "report", 2)
    document_of(tmp_path / "secret", 1)
    photo("red").save(tmp_path / "secret.png")
    (tmp_path / "secret.txt").write_text("secret words")
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []
    task = Task(id="t", kind="pointwise", question="Q", responses=("short",), constraints=("One word.",))  # type: ignore[arg-type]
    memory = Memory([photo(), photo()], task.responses, document, task.constraints)
    memory.start()
    episode = Episode(task, memory, EpisodeSettings(max_calls=99))
    before = set(memory.images)
    monkeypatch.setattr(
        "builtins.open", lambda file, *_, **__: opened.append(file) or os.fdopen(os.open(os.devnull, 0))
    )
    for path in (
        "secret.png",
        str(tmp_path / "secret.png"),
        "../secret.png",
        "file:///etc/passwd",
        "http://127.0.0.1/a.png",
    ):
        asked = [call("image_zoom_in_tool", f'{{"image": "{path}", "bbox_2d": [0, 0, 500, 500]}}')]
        asked += [call("doc_page_retrieval_by_index", f'{{"filename": "{path[:-4]}", "image_idx": 1}}')]
        asked += [call("doc_page_retrieval_by_query", f'{{"filename": "{path}", "query": "secret"}}')]
        asked += [call("check_whether_has_no_arabic_number_in_response", f'{{"response": "{path[:-4]}.txt"}}')]
        for text in asked:
            observation = seen(episode, text)
            assert (observation.ok, observation.tool is None) == (False, False)
            assert "there is no" in observation.text
    assert set(memory.images) == before
    assert opened == []


def test_a_whole_response_is_checked_by_a_tool_though_only_its_beginning_is_shown() -> None:
    task = Task(
        id="t",
        kind="pointwise",
        question="Q",
        responses=("word " * 50,),
        constraints=("At most 9 words.",),  # type: ignore[arg-type]
    )
    limits = Limits(shown_characters=20)
    episode = Episode(task, Memory((), task.responses, None, task.constraints, limits), EpisodeSettings(limits=limits))
    name, bounds = "check_whether_response_word_count_in_range", '"lower_bound": 50, "upper_bound": 50'
    assert "word " * 5 not in episode.conversation.messages[0].text
    assert seen(episode, call(name, f'{{"response": "text_0", {bounds}}}')).text.startswith("Check result: True")
