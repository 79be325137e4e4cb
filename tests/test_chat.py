"""`armlite chat`: lines lead to judgments, errors lead nowhere, and a pipe works like a keyboard."""

import io
import json
import sys

import pytest
from make_pdf import write_pdf
from PIL import Image
from rich.console import Console
from test_judge import CAREFUL, FIRST_PLACE, better, says, zoom

from armlite import Judge, store
from armlite.chat import COMMANDS, Chat
from armlite.cli.chat import talk
from armlite.errors import ArmliteError
from armlite.models.scripted import ScriptedModel


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (80, 60), "teal").save(tmp_path / "my photo.png")
    return tmp_path / "my photo.png"


def play(chat, *lines):
    """What the lines led to."""
    return [chat.hear(line) for line in lines]


def piped(monkeypatch, capsys, model, text, **options):
    """(stdout, stderr) of a session through a pipe."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    chat = Chat(Judge(model))
    talk(chat, Console(file=sys.stdout, width=100, highlight=False), **options)
    return capsys.readouterr()


def test_plain_lines_are_the_question_and_then_responses():
    chat = Chat(Judge(CAREFUL))
    said = play(chat, "What is it?", "a boat", "  ", "a lighthouse", "/judge")
    assert chat.case.question == "What is it?"
    assert chat.case.responses == ["a boat", "a lighthouse"]
    assert said[0].text == "the question: write a response"
    assert "1 response: /judge checks it" in said[1].text
    assert said[-1].verdict.choice == 2


def test_the_case_stays_for_the_next_judgment_until_a_new_one_begins():
    chat = Chat(Judge(CAREFUL))
    *_, first, _, second, _ = play(chat, "?", "aa", "b", "/judge", "/response cccc", "/judge", "/new")
    assert (first.verdict.choice, second.verdict.choice) == (1, 3)
    assert chat.case.question == ""
    assert [v.choice for v in chat.history] == [1, 3]


def test_one_response_is_checked_or_rated():
    chat = Chat(Judge(ScriptedModel(lambda c: says("7" if "Rate" in c.messages[0].text else "True"))))
    *_, checked, rated = play(chat, "?", "a", "/judge", "/judge rate")
    assert checked.verdict.correct is True
    assert rated.verdict.rating == 7


def test_swap_judges_in_both_orders_and_rank_orders_all():
    chat = Chat(Judge(FIRST_PLACE))
    assert play(chat, "?", "a", "b", "/swap")[-1].verdict.status == "split"
    chat = Chat(Judge(CAREFUL))
    assert play(chat, "?", "a", "ccc", "bb", "/judge rank")[-1].verdict.ranking == (2, 3, 1)


def test_each_retry_is_a_fresh_rollout_of_what_was_asked_last():
    chat = Chat(Judge(CAREFUL))
    said = play(chat, "?", "a", "bb", "/judge", "/retry", "/retry", "/swap", "/retry", "/judge")
    rollouts = [[t.rollout for t in s.verdict.trajectories] for s in said if s.verdict]
    assert rollouts == [[0], [1], [2], [0, 1], [2, 3], [0]]


def test_tools_follow_what_there_is_and_can_be_switched_off(photo, tmp_path):
    chat = Chat(Judge(CAREFUL))
    paper = write_pdf(tmp_path / "paper.pdf", ["One."])
    assert "no tool" in chat.hear("/tools list").text
    play(chat, "?", "a", "bb", f"/image '{photo}'", f"/doc {paper}", "/constraint at most two words")
    names = chat.hear("/tools list").text.split()
    assert {"image_zoom_in_tool", "doc_page_retrieval_by_query"} < set(names)
    assert "check_whether_response_word_count_in_range" in names
    assert chat.hear("/judge").verdict.trajectory.tools == tuple(names)
    assert "may not" in chat.hear("/tools off").text
    assert chat.hear("/judge").verdict.trajectory.tools == ()
    play(chat, "/tools on")
    assert chat.hear("/judge").verdict.trajectory.tools == tuple(names)


def test_saving_writes_each_judgment_once(tmp_path, photo):
    chat, folder = Chat(Judge(ScriptedModel([zoom(), better(1)]))), tmp_path / "out"
    play(chat, "?", f"/image {photo}", "a", "b", "/judge", "/swap", f"/save {folder}", "/judge", f"/save {folder}")
    rows = list(store.read(folder))
    assert [len(v.trajectories) for v in chat.history] == [1, 2, 1]
    assert len(rows) == 4
    with pytest.raises(ArmliteError, match="already"):
        chat.hear(f"/save {folder}")


@pytest.mark.parametrize(
    ("before", "line", "why"),
    [
        ([], "/jugde", "Did you mean '/judge'"),
        ([], "/judge", "no question yet"),
        (["?"], "/judge", "no response yet"),
        (["?", "a"], "/swap", "one response only"),
        (["?", "a"], "/judge rank", "one response only"),
        (["?", "a", "b"], "/judge rate", "one response can be rated"),
        (["?", "a", "b"], "/judge now", "/judge rate or /judge rank"),
        (["?", "a"], "/retry", "nothing was judged yet"),
        ([], "/save out", "no judgment to save"),
        ([], "/image", "write /image PATH"),
        ([], "/help me", "write /help"),
        ([], "/tools of", "/tools off"),
        ([], "/image nowhere.png", "nowhere.png does not exist"),
        ([], "/doc nowhere.pdf", "nowhere.pdf does not exist"),
    ],
)
def test_a_line_that_asks_for_the_impossible_says_why_and_changes_nothing(before, line, why):
    chat = Chat(Judge(CAREFUL))
    play(chat, *before)
    case = str(chat.case)
    with pytest.raises(ArmliteError, match=why):
        chat.hear(line)
    assert str(chat.case) == case
    assert chat.history == []


def test_help_lists_every_command():
    text = Chat(Judge(CAREFUL)).hear("/help").text
    assert all(f"/{name}" in text for name in COMMANDS)


def test_a_piped_session_draws_each_step_and_goes_on_after_errors(monkeypatch, capsys, photo):
    lines = ["What is it?", f"/image {photo}", "/image gone.png", "a boat", "a \\", "ship", "/judge", "/show", "/quit"]
    lines.append("/judge")
    out, err = piped(monkeypatch, capsys, ScriptedModel([zoom(), better(2)]), "\n".join(lines))
    words = " ".join(out.split())
    assert "call image_zoom_in_tool(" in words
    assert "answer Overall Judgment: Answer 2 is better." in words
    assert "Response 2 is better" in words
    assert "response 2 a ship" in words
    assert out.count("verdict") == 1
    assert not any(line.startswith(">") for line in out.splitlines())
    assert err == "error: image gone.png does not exist\n"


def test_a_piped_session_ends_with_its_input_and_json_is_all_there_is_on_stdout(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("?\na\nbb\n/judge\n/swap"))
    talk(Chat(Judge(CAREFUL)), Console(stderr=True, width=100), json=True)
    out, err = capsys.readouterr()
    assert [json.loads(line)["choice"] for line in out.splitlines()] == [2, 2]
    assert "Response 2 is better" in err


def test_a_fault_in_the_model_ends_the_judgment_but_not_the_session(monkeypatch, capsys):
    def broken(conversation):
        if conversation.rollout == 0:
            raise RuntimeError("out of memory")
        return better(1)

    out, err = piped(monkeypatch, capsys, ScriptedModel(broken), "?\na\nb\n/judge\n/show\n")
    assert "RuntimeError: out of memory" in err
    assert "response 2  b" in out


def test_an_interrupt_ends_the_judgment_but_not_the_session(monkeypatch, capsys):
    def impatient(conversation):
        raise KeyboardInterrupt

    out, err = piped(monkeypatch, capsys, ScriptedModel(impatient), "?\na\nb\n/judge\n/show\n")
    assert "interrupted" in err
    assert "response 2  b" in out
