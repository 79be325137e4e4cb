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
from armlite.chat.kept import Kept, sessions
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


def test_a_piped_session_draws_each_step(monkeypatch, capsys, photo):
    lines = ["What is it?", f"/image {photo}", "a boat", "a \\", "ship", "/judge", "/show", "/quit"]
    lines.append("/judge")
    out, err = piped(monkeypatch, capsys, ScriptedModel([zoom(), better(2)]), "\n".join(lines))
    words = " ".join(out.split())
    assert "call image_zoom_in_tool(" in words
    assert "answer Overall Judgment: Answer 2 is better." in words
    assert "Response 2 is better" in words
    assert "response 2 a ship" in words
    assert out.count("verdict") == 1
    assert not any(line.startswith(">") for line in out.splitlines())
    assert err == ""


def test_the_first_mistake_in_a_pipe_ends_it(monkeypatch, capsys):
    with pytest.raises(ArmliteError, match="gone.png does not exist"):
        piped(monkeypatch, capsys, CAREFUL, "?\n/image gone.png\na\n/judge\n")
    assert "verdict" not in capsys.readouterr().out


def test_a_text_of_several_lines_is_kept_as_it_is_written(tmp_path):
    chat = Chat(Judge(CAREFUL))
    (tmp_path / "long.txt").write_text("\ufefffrom a file\n\n  /judge\n")
    play(
        chat,
        "/question",
        "  Which",
        "",
        "/judge",
        "..",
        "one?",
        ".",
        "/response",
        "a",
        ".",
        f"/response @{tmp_path}/long.txt",
    )
    assert chat.case.question == "  Which\n\n/judge\n.\none?"
    assert chat.case.responses == ["a", "from a file\n\n  /judge"]
    play(chat, "/response -", "last")
    chat.end_of_input()
    assert chat.case.responses[-1] == "last"
    with pytest.raises(ArmliteError, match="the response is empty"):
        play(chat, "/response", " ", ".")
    assert chat.block is None and len(chat.case.responses) == 3


def test_a_paste_is_a_text_whatever_it_begins_with():
    chat = Chat(Judge(CAREFUL))
    chat.hear("/usr/bin/env\n\n  python", literal=True)
    chat.hear("judge", literal=True)
    assert chat.case.question == "/usr/bin/env\n\n  python" and chat.case.responses == ["judge"]


def test_a_command_s_name_without_its_slash_is_asked_about():
    chat = Chat(Judge(CAREFUL))
    for before, role in ((None, "question"), ("Q?", "response")):
        if before:
            chat.hear(before)
        with pytest.raises(ArmliteError, match=f"write /judge for that, or /{role} Judge to take it"):
            chat.hear("Judge")
    play(chat, "/response judge", "judge it")
    assert chat.case.responses == ["judge", "judge it"]


def test_what_was_changed_can_be_dropped_edited_and_undone(photo):
    chat = Chat(Judge(CAREFUL), edit=lambda text: text.upper() + "\n")
    play(
        chat,
        "Q?",
        "a",
        "b",
        "/constraint short",
        f"/image {photo}",
        "/drop 1",
        "/edit 1",
        "/edit question",
        "/drop image 1",
    )
    assert (chat.case.question, chat.case.responses, chat.case.images) == ("Q?".upper(), ["B"], [])
    play(chat, "/undo", "/undo", "/undo", "/undo")
    assert (chat.case.question, chat.case.responses, len(chat.case.images)) == ("Q?", ["a", "b"], 1)
    play(chat, "/drop constraint 1", "/drop question")
    assert (chat.case.question, chat.case.constraints) == ("", [])
    for line, why in (("/drop 3", "there is no response 3; there are 2"), ("/drop x", "write a response's number")):
        with pytest.raises(ArmliteError, match=why):
            chat.hear(line)
    with pytest.raises(ArmliteError, match="needs a terminal"):
        Chat(Judge(CAREFUL)).hear("/edit question")


def test_votes_are_asked_for_and_retried_with_fresh_rollouts():
    chat = Chat(Judge(CAREFUL))
    said = play(chat, "?", "a", "bb", "/votes 3", "/judge", "/retry", "/swap")
    rollouts = [[t.rollout for t in s.verdict.trajectories] for s in said if s.verdict]
    assert rollouts == [[0, 1, 2], [3, 4, 5], [0, 1, 2, 3, 4, 5]]
    with pytest.raises(ArmliteError, match="from 1 to 99"):
        chat.hear("/votes many")


def test_two_judges_judge_side_by_side():
    judges = {"one": Judge(CAREFUL), "two": Judge(FIRST_PLACE)}
    chat = Chat(judges["two"], load=judges.__getitem__)
    said = play(chat, "?", "a", "bb", "/model one two", "/judge", "/model one", "/judge")
    assert (said[4].verdict.choice, said[4].other.choice) == (2, 1)
    assert (said[6].verdict.choice, said[6].other) == (2, None)
    assert len(chat.history) == 3


def test_a_rubric_grades_one_response(tmp_path):
    (tmp_path / "rubric.json").write_text(
        json.dumps([{"name": "true", "text": "Is it?"}, {"name": "short", "text": "Is it?"}])
    )
    chat = Chat(Judge(ScriptedModel(lambda c: says("True"))))
    said = play(chat, "?", "a", f"/rubric {tmp_path}/rubric.json", "/judge", "b")
    assert said[3].grade.total == 1.0 and len(chat.history) == 2
    with pytest.raises(ArmliteError, match="grades one response; there are 2"):
        chat.hear("/judge")
    play(chat, "/rubric off", "/judge")


def test_why_tells_each_call_and_what_it_showed(photo):
    chat = Chat(Judge(ScriptedModel([zoom(), better(1)])))
    with pytest.raises(ArmliteError, match="nothing was judged"):
        chat.hear("/why")
    *_, said = play(chat, "?", f"/image {photo}", "a", "b", "/judge", "/why")
    for part in ("1. image_zoom_in_tool(", "it wanted to know:", "it said:", "1 picture", "so:"):
        assert part in said.text


@pytest.mark.parametrize(
    "form",
    ["{0}", "'{0}'", '"{0}"', "{1}", "file://{2}", "  {0}  "],
    ids=["plain", "single", "double", "backslash", "url", "blanks"],
)
def test_dropped_paths_are_understood_in_every_form(tmp_path, form):
    file = tmp_path / "my photo (1).png"
    Image.new("RGB", (30, 30)).save(file)
    escaped = str(file).replace(" ", "\\ ").replace("(", "\\(").replace(")", "\\)")
    chat = Chat(Judge(CAREFUL))
    chat.hear("/image " + form.format(file, escaped, str(file).replace(" ", "%20")))
    assert chat.case.images == [str(file)]


def test_several_pictures_may_be_dropped_at_once(tmp_path):
    for name in ("a b.png", "c.png"):
        Image.new("RGB", (30, 30)).save(tmp_path / name)
    chat = Chat(Judge(CAREFUL))
    chat.hear(f"/image '{tmp_path}/a b.png' {tmp_path}/c.png")
    assert chat.case.images == [f"{tmp_path}/a b.png", f"{tmp_path}/c.png"]


def test_a_session_is_kept_as_it_goes_and_goes_on(tmp_path, monkeypatch, photo):
    monkeypatch.setenv("ARMLITE_STATE", str(tmp_path / "state"))
    assert sessions() == []
    chat = Chat(Judge(CAREFUL), kept=Kept())
    assert not chat.kept.is_begun
    play(chat, "?", f"/image {photo}", "a", "bb", "/judge", "/drop 1")
    [folder] = sessions()
    later = Chat(Judge(CAREFUL), kept=Kept(folder))
    assert later.resume().text.startswith(f"the session in {folder} goes on; the question, 1 image, 1 response")
    assert later.case == chat.case and later.history[0].choice == 2
    play(later, "/response ccc", "/judge", f"/save {tmp_path / 'out'}")
    assert [json.loads(line)["status"] for line in (tmp_path / "out" / "verdicts.jsonl").open()] == ["judged"] * 2
    assert len(list(store.read(tmp_path / "out"))) == 2
    (folder / "case.json").write_text("{")
    with pytest.raises(ArmliteError, match="cannot be read"):
        Chat(Judge(CAREFUL), kept=Kept(folder)).resume()


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
