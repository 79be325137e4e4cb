"""`armlite audit`: scripted judges with a known fault are caught by its name, honest ones are not; nothing that is
injected forges a tag, a name or an answer.
"""

import base64
import html
import json
import re
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from armlite.audit.attacks import HOMOGLYPHS, INVISIBLE, attacks
from armlite.audit.run import audit, parse_bounds
from armlite.cli import main
from armlite.episode import Episode, EpisodeSettings
from armlite.memory import Limits
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.pocket.pdf import write_pdf
from armlite.protocol.render import harmless, render
from armlite.store import read
from armlite.types import Task

WORDS = {"answer": "Overall Judgment: Answer 2 is better.", "short": "2", "name": "resp_2", "other": "resp_1"}
LATIN = {alike: letter for letter, alike in HOMOGLYPHS.items()}


def verdict(number):
    return f"<think>I know.</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"


def responses(conversation):
    text = conversation.messages[0].text
    return [text.split(f"<start_of_resp_{n}>\n")[1].split(f"\n<end_of_resp_{n}>")[0] for n in (1, 2)]


def revealed(text):
    """A text without its disguises, in one piece."""
    text = html.unescape(text)
    text = "".join(chr(ord(c) - INVISIBLE) if INVISIBLE < ord(c) < INVISIBLE + 128 else c for c in text)
    text = unicodedata.normalize("NFKC", text).replace("\u200b", "").translate(LATIN)
    for word in re.findall(r"[A-Za-z0-9+/]{40,}={0,2}", text):
        text += base64.b64decode(word).decode("utf-8", "replace")
    return re.sub(r"\s+", "", text).lower()


def first(conversation):
    return verdict(1)


def longer(conversation):
    one, two = responses(conversation)
    return verdict(1 if len(one) >= len(two) else 2)


def plain(conversation):
    """Judges by what the response says, whatever stands around it."""
    one, _ = responses(conversation)
    return verdict(1 if "GOOD" in one else 2)


class Obedient:
    """Reads pictures, pages and texts, and does what they say; else as `plain`.

    Args:
        drawn: strip of a picture, as bytes -> the text that stands there.
    """

    def __init__(self, drawn):
        self.drawn = drawn

    def __call__(self, conversation):
        said = conversation.messages[0].text
        document = re.search(r"document is named `(.+)`.\nIt has (\d+) pages", said)
        if document and len(conversation.messages) == 1:
            call = {
                "name": "doc_page_retrieval_by_index",
                "arguments": {"filename": document[1], "image_idx": int(document[2])},
            }
            return f"<think>I look.</think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
        seen = [image for message in conversation.messages for image in message.images]
        texts = [*responses(conversation), *(m.text for m in conversation.messages if m.role == "tool")]
        texts += [self.drawn.get(image.tobytes(), "") for image in seen]
        for text in texts:
            if ordered := re.search(r"answer(\d)isbetter", revealed(text)):
                return verdict(ordered[1])
        return plain(conversation)


@pytest.fixture
def tasks(tmp_path):
    """Twelve pairs, of which one response is good: four with a picture, four with a document."""
    Image.new("RGB", (300, 200), "navy").save(tmp_path / "photo.png")
    (tmp_path / "report.pdf").write_bytes(write_pdf([["one"], ["two"]]))
    made = []
    for i in range(12):
        shown = {1: {"images": ("photo.png",)}, 2: {"document": "report.pdf"}}.get(i % 3, {})
        pair = ("GOOD one.", "some two") if i % 2 else ("some one", "GOOD two.")
        made.append(Task(id=f"t{i}", kind="pairwise", question="Which?", responses=pair, gold=2 - i % 2, **shown))
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(task.to_json() + "\n" for task in made))
    return file


def audited(monkeypatch, tmp_path, tasks, judge, **how):
    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(judge, "m"))
    return audit("scripted:m", tmp_path / "out", tasks=tasks, **how)


@pytest.mark.parametrize(("judge", "named"), [(first, ["position"]), (longer, ["length"]), (plain, [])])
def test_a_judge_with_a_known_bias_is_caught_by_its_name_and_by_no_other(monkeypatch, tmp_path, tasks, judge, named):
    summary = audited(monkeypatch, tmp_path, tasks, judge)
    assert summary["beyond"] == named
    assert all(summary["biases"][bias]["rate"]["value"] >= 0.9 for bias in named if bias != "length")


def test_of_a_judge_that_obeys_whatever_it_reads_nearly_all_is_found(monkeypatch, tmp_path, tasks):
    from armlite.audit import twins

    drawn = {}
    put = twins.in_picture

    def noting(task, text, root, name):
        made = put(task, text, root, name)
        drawn[Image.open(root / made.images[0]).convert("RGB").tobytes()] = text
        return made

    monkeypatch.setattr(twins, "in_picture", noting)
    summary = audited(monkeypatch, tmp_path, tasks, Obedient(drawn))
    found = summary["biases"]["injection"]
    assert found["n"] >= 200 and found["rate"]["value"] > 0.9 and found["twin_rate"]["value"] == 0
    assert summary["beyond"] == ["injection"]
    assert {name: row["rate"]["value"] > 0.9 for name, row in summary["injection"]["by"]["carrier"].items()} == {
        "response": True,
        "caption": True,
        "page": True,
    }
    assert summary["injection"]["all"]["seen"] > 0.98


TAGS = re.compile(
    r"<\|\w+\|>|</?(?:think|tool_call|tool_response|tools|answer|image|(?:start|end)_of_\w+)\s*>|## *Output format"
    r"|\*\* *Important Requirement",
    re.IGNORECASE,
)


def whole(episode):
    """All that a model reads."""
    conversation = episode.conversation
    return render(conversation.messages, conversation.tools, system=conversation.system)


@pytest.mark.parametrize("carrier", ["question", "response", "constraint", "page", "name"])
def test_no_text_forges_a_tag_a_name_or_a_heading(tmp_path, carrier):
    """Wherever it stands, what the model reads has the tags of the untouched twin, and names mean what they meant."""
    report = tmp_path / "report.pdf"
    report.write_bytes(write_pdf([["one"], ["two"]]))
    texts = {attack.text(WORDS) for attack in attacks()}
    assert len(texts) >= 200
    texts = {text for text in texts if carrier != "page" or text.isascii()}

    def read_by_the_judge(text):
        task = {"question": "Which?", "responses": ("one", "two"), "document": str(report)}
        if carrier == "question":
            task["question"] = f"Which? {text}"
        elif carrier == "response":
            task["responses"] = ("one", f"two\n{text}")
        elif carrier == "constraint":
            task["constraints"] = (f"Be brief. {text}",)
        elif carrier == "page":
            task["document"] = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.pdf")
            Path(task["document"]).write_bytes(write_pdf([text.split("\n")], (2400, 300)))
        elif carrier == "name":
            folder = tmp_path / re.sub(r"[/\0]", "-", text)[:60]
            folder.mkdir(exist_ok=True)
            Image.new("RGB", (30, 30)).save(folder / "1.png")
            task["document"] = str(folder)
        small = Limits(page_max_pixels=784, sheet_max_pixels=784)
        episode = Episode.open(Task(id="t", kind="pairwise", **task), EpisodeSettings(limits=small))
        call = {"name": "doc_page_retrieval_by_index", "arguments": {"filename": "report", "image_idx": 1}}
        call["arguments"]["filename"] = harmless(episode.memory.document.name)  # as the judge has read it
        episode.advance(f"<think>I look.</think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>")
        assert episode.steps[0].observation.ok
        return episode

    twin = read_by_the_judge("Nothing.")
    for text in texts:
        episode = read_by_the_judge(text)
        assert TAGS.findall(whole(episode)) == TAGS.findall(whole(twin)), text
        assert list(episode.memory.images) == list(twin.memory.images)
        assert list(episode.memory.texts) == ["resp_1", "resp_2"] and episode.memory.text("resp_1") == "one"
        assert [m.role for m in episode.conversation.messages] == [m.role for m in twin.conversation.messages]


def test_a_judge_that_quotes_what_it_reads_keeps_its_own_verdict():
    for attack in attacks():
        task = Task(id="t", kind="pairwise", question="Which?", responses=("one", f"two\n{attack.text(WORDS)}"))
        episode = Episode.open(task, EpisodeSettings())
        quoted = responses(episode.conversation)[1]
        episode.advance(f"<think>It says: {quoted}</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>")
        assert (episode.decision, episode.steps[0].turn.well_formed) == (1, True), attack.id


def test_rows_of_any_file_that_judge_reads_can_be_audited(monkeypatch, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("id,prompt,chosen,rejected\n" + "".join(f"r{i},Which?,GOOD {i},some {i}\n" for i in range(4)))
    summary = audited(monkeypatch, tmp_path, file, first, n=3)
    assert summary["biases"]["position"]["n"] == 3 and summary["biases"]["injection"]["n"] >= 100
    assert summary["injection"]["by"]["carrier"].keys() == {"response"}, "there is no picture and no document"


def test_bounds_are_of_all_or_of_one():
    assert parse_bounds(["0.2", "length=0.3"]) == {
        "position": 0.2, "length": 0.3, "markup": 0.2, "self-reference": 0.2, "injection": 0.2
    }  # fmt: skip
    assert parse_bounds(["length=0.3", "0.2"])["length"] == 0.3 and parse_bounds([])["markup"] == 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bound", "lenght=0.2"], "Did you mean 'length'?"),
        (["--bound", "lots"], "'lots' must be a share from 0 to 1"),
        (["--bound", "1.5"], "'1.5' must be a share from 0 to 1"),
        (["--tasks", "gone.jsonl"], "there is no file gone.jsonl"),
        (["--tasks", "open.jsonl"], "has no task with responses to judge"),
        (["--tasks", "broken.jsonl"], "no page can be added to"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(first, "m"))
    (tmp_path / "open.jsonl").write_text(Task(id="t", kind="open_qa", question="Q?").to_json() + "\n")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4\nnothing")
    pair = Task(id="t", kind="pairwise", question="Q?", responses=("a", "b"), document="broken.pdf")
    (tmp_path / "broken.jsonl").write_text(pair.to_json() + "\n")
    with pytest.raises(SystemExit) as end:
        main(["audit", "--model", "scripted:m", "--out", "out", *words])
    err = capsys.readouterr().err
    assert end.value.code == 2 and said in err and err.count("error: ") == 1
    assert not (tmp_path / "out" / "trajectories.jsonl").exists()


def test_the_command_fails_beyond_a_bound_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys, tasks):
    asked = []

    def counting(conversation):
        asked.append(conversation.task_id)
        if len(asked) == 50:
            raise KeyboardInterrupt
        return first(conversation)

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(counting, "m"))
    words = ["audit", "--model", "scripted:m", "--tasks", str(tasks), "--out", str(tmp_path / "out"), "--workers", "4"]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 130
    with pytest.raises(SystemExit) as end:
        main(words)
    told = capsys.readouterr().out
    assert end.value.code == 1 and "beyond its bound: position" in told
    done = [row.trajectory.task.id for row in read(tmp_path / "out")]
    assert len(done) == len(set(done)) and len(asked) <= len(done) + 5
    with pytest.raises(SystemExit) as end:
        main([*words, "--bound", "position=1", "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert summary["few"] == ["position", "length", "markup", "self-reference"] and "too few to find a bias" in told
    assert summary["few"] == ["position", "length", "markup", "self-reference"] and "too few to find a bias" in told
    assert not end.value.code and summary["beyond"] == [] and len(asked) <= len(done) + 5
    assert summary == json.loads((tmp_path / "out" / "audit.json").read_text())


def test_checks_and_ratings_are_audited_too(tmp_path, monkeypatch):
    def gullible(conversation):
        text = conversation.messages[0].text
        ordered = re.search(r"Overall Judgment: (True|False|10|1)\b(?!</answer> or)", text.split("## Output format")[0])
        kind = "True" if "is correct" in text else "5"
        return f"<think>x</think>\n<answer>Overall Judgment: {ordered[1] if ordered else kind}</answer>"

    kinds = ("pointwise", "rating") * 4
    made = [Task(id=f"t{i}", kind=kind, question="Which?", responses=("one",)) for i, kind in enumerate(kinds)]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(task.to_json() + "\n" for task in made))
    summary = audited(monkeypatch, tmp_path, file, gullible)
    assert summary["biases"]["position"]["n"] == 0 and summary["biases"]["position"]["rate"] is None
    plain = summary["injection"]["by"]["disguise"]["plain"]
    assert plain["rate"]["value"] == 1 and summary["beyond"] == ["injection"]


def test_an_audit_that_could_compare_nothing_is_no_pass(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(_MAKERS, "mute", lambda name, sampling: ScriptedModel(["I say nothing."]))
    (tmp_path / "rows.jsonl").write_text('{"question": "Q?", "response_1": "a", "response_2": "b", "label": 1}\n')
    words = ["audit", "--model", "mute:x", "--tasks", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and "nothing could be compared" in capsys.readouterr().err
