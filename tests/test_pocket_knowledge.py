"""A pocket judge says so where it is asked about what it cannot know."""

import pytest

from armlite.chat import Chat
from armlite.cli import main
from armlite.judge import Judge
from armlite.pocket.knowledge import DOUBT, is_pocket, knows
from armlite.pocket.world import generate


def test_it_knows_the_questions_of_its_world_and_no_other(tmp_path):
    tasks = list(generate("validation", 30, 5, tmp_path))
    assert all(knows(task.question) for task in tasks)
    for other in ("Who is first?", "Which code stands on the lid?", "Which response keeps the constraint? And why?"):
        assert not knows(other)


def test_only_a_model_of_that_world_is_doubted(pocket, tmp_path):
    assert is_pocket(str(pocket.folder))
    assert not is_pocket("openai:judge@http://localhost/v1")
    assert not is_pocket("Qwen/Qwen2.5-VL-7B-Instruct")


@pytest.mark.parametrize(("question", "doubted"), [("Who is first?", True), ("Which code stands on page 3?", False)])
def test_judge_and_chat_say_it_before_the_verdict(pocket, capsys, question, doubted):
    words = ["--question", question, "--response", "Ann", "--response", "Bo"]
    with pytest.raises(SystemExit) as end:
        main(["judge", "--model", str(pocket.folder), *words, "--max-tokens", "4"])
    assert end.value.code == 0 and (DOUBT[:40] in " ".join(capsys.readouterr().err.split())) == doubted
    chat = Chat(Judge.load(pocket.folder, max_new_tokens=4))
    *_, said = [chat.hear(line) for line in (question, "Ann", "Bo", "/judge")]
    assert said.verdict is not None and (said.text == DOUBT) == doubted
