"""Panels and cascades: who is counted, who is asked, and what is said of those who could not judge."""

import pytest
from rich.console import Console

from armlite import Cascade, Judge, Panel, Task
from armlite.cli.verdict import draw_verdict
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models.scripted import ScriptedModel
from armlite.panel import combine
from armlite.types import Verdict

AWAY = Reply("the server is away", "error")


def says(answer, think="I looked."):
    return f"<think>{think}</think>\n<answer>{answer}</answer>"


def better(number, think="I looked."):
    return says(f"Overall Judgment: Answer {number} is better.", think)


def judge(*turns, name="m"):
    return Judge(ScriptedModel(list(turns), name))


ALICE, BOB, CAROL = judge(better(1, "So says Alice."), name="alice"), judge(better(2), name="bob"), judge(AWAY)


@pytest.mark.parametrize(
    ("judges", "status", "choice", "confidence"),
    [
        ([ALICE, ALICE, BOB], "judged", 1, 2 / 3),
        ([ALICE, BOB], "split", None, 1 / 2),
        ([ALICE, BOB, CAROL], "split", None, 1 / 3),
        ([ALICE, CAROL], "judged", 1, 1 / 2),
        ([CAROL, CAROL], "model_error", None, None),
    ],
    ids=["most", "even", "even beside one who fails", "one fails", "all fail"],
)
def test_most_of_those_who_could_judge_decide_and_all_are_shown(judges, status, choice, confidence):
    verdict = Panel(judges).compare("Which?", ["a", "b"])
    assert (verdict.status, verdict.choice, verdict.confidence) == (status, choice, pytest.approx(confidence))
    assert [member.status for member in verdict.members] == ["model_error" if j is CAROL else "judged" for j in judges]
    assert [member.model for member in verdict.members] == [j.model.name for j in judges]
    assert len(verdict.trajectories) == len(judges) and not any(member.trajectories for member in verdict.members)
    if choice:
        assert verdict.rationale == "So says Alice."
    if status == "model_error":
        assert verdict.rationale == "the server is away"
    assert Verdict.from_json(verdict.to_json()) == verdict


def verdict(kind, **said):
    return Verdict(status="judged", kind=kind, **said)


@pytest.mark.parametrize(
    ("kind", "each", "found"),
    [
        ("rating", [{"rating": 7.0}, {"rating": 8.0}, {"rating": 2.0}], {"rating": 7.0}),
        ("rating", [{"rating": 2.0}, {"rating": 9.0}], {}),
        ("pointwise", [{"correct": False}, {"correct": False}, {"correct": True}], {"correct": False}),
        ("open_qa", [{"answer": "Paris."}, {"answer": "paris"}, {"answer": "Rome"}], {"answer": "Paris."}),
        ("pairwise", [{"choice": 0}, {"choice": 0}, {"choice": 2}], {"choice": 0}),
        (
            "listwise",
            [{"choice": order[0], "ranking": order} for order in ((1, 2, 3), (2, 1, 3), (2, 3, 1))],
            {"choice": 2, "ranking": (2, 1, 3)},
        ),
        ("listwise", [{"choice": 1, "ranking": (1, 2)}, {"choice": 2, "ranking": (2, 1)}], {}),
    ],
    ids=["median", "no median", "checks", "answers", "ties", "mean rank", "even ranks"],
)  # fmt: skip
def test_each_kind_is_counted_in_its_own_way(kind, each, found):
    whole = combine(kind, [verdict(kind, **said) for said in each])
    said = {name: getattr(whole, name) for name in ("choice", "ranking", "rating", "correct", "answer")}
    assert {name: value for name, value in said.items() if value not in (None, ())} == found
    assert whole.status == ("judged" if found else "split")


def test_probabilities_are_the_mean_where_every_judge_has_them():
    one = verdict("pairwise", choice=1, probability=0.9, probabilities={"1": 0.9, "2": 0.1}, probability_from="tokens")
    two = verdict("pairwise", choice=1, probability=0.7, probabilities={"1": 0.7, "2": 0.3}, probability_from="votes")
    whole = combine("pairwise", [one, two])
    assert whole.probability == pytest.approx(0.8) and whole.probabilities == pytest.approx({"1": 0.8, "2": 0.2})
    assert whole.probability_from is None and combine("pairwise", [one, one]).probability_from == "tokens"
    assert combine("pairwise", [one, verdict("pairwise", choice=1)]).probability is None
    away = Verdict(status="model_error", kind="pairwise")
    assert combine("pairwise", [one, away]).probability == 0.9


def test_a_panel_ranks_grades_and_judges_records():
    texts = ["a", "bb", "ccc"]
    longest = Judge(ScriptedModel(lambda c: better(1 if c.task_id.endswith("1 vs 2") else 2)))
    panel = Panel([ALICE, longest, CAROL])
    ranked = panel.rank("Which?", texts)
    assert ranked.kind == "listwise" and [m.status for m in ranked.members] == ["split", "split", "model_error"]
    task = Task(id="a", kind="multiple_choice", question="?", options={"A": "x", "B": "y"})
    assert Panel([judge(says("A")), judge(says("A"))]).judge(task).answer == "A"
    with pytest.raises(ArmliteError, match="a panel needs at least two judges, not 1"):
        Panel([ALICE])


class Counting(ScriptedModel):
    """Notes the tasks that it is asked about."""

    def __init__(self, script, name="second"):
        self.asked = []
        super().__init__(lambda c: self.asked.append(c.task_id) or script(c), name)


def tasks(n):
    return [Task(id=f"t{i}", kind="pairwise", question=f"Q{i}?", responses=("a", "b")) for i in range(n)]


def test_the_second_judge_is_asked_only_where_the_first_is_not_sure():
    def wavering(c):  # sure of even ones
        return better(1 if c.task_id in ("t0", "t2") or c.rollout % 2 else 2)

    second = Counting(lambda c: better(2, "The careful one."))
    cascade = Cascade(Judge(ScriptedModel(wavering, "first")), Judge(second), unless=0.9)
    found = cascade.judge_many(tasks(4), votes=2)
    assert [v.choice for v in found] == [1, 2, 1, 2] and set(second.asked) == {"t1", "t3"}
    assert found[0].members == () and [m.model for m in found[1].members] == ["first", "second"]
    assert found[1].members[0].status == "split" and found[1].rationale == "The careful one."
    second.asked.clear()
    assert cascade.compare("Which?", ["a", "b"]).choice == 2 and second.asked, "one vote without tokens is never sure"
    with pytest.raises(ArmliteError, match="unless is 90; it is a probability from 0 to 1"):
        Cascade(ALICE, BOB, unless=90)


def test_the_word_of_the_second_stands_even_if_it_is_none():
    found = Cascade(ALICE, CAROL).compare("Which?", ["a", "b"])
    assert (found.status, found.choice, found.members[0].choice) == ("model_error", None, 1)


def test_the_first_may_be_the_same_judge_without_tools():
    looks = '<think>Look.</think>\n<tool_call>\n{"name": "check_numbered_list", "arguments": {}}\n</tool_call>'
    model = ScriptedModel(lambda c: better(1) if not c.tools or c.turns else looks)
    whole = Judge(model)
    found = Cascade(whole.without_tools(), whole).compare("Which?", ["a", "b"], constraints=["short"])
    assert [len(member.evidence) for member in found.members] == [0, len(found.evidence)]
    assert found.trajectory.tools and whole.settings.tools != ()


def test_the_terminal_shows_who_said_what(capsys):
    draw_verdict(Console(width=120), Panel([ALICE, BOB, CAROL]).compare("Which?", ["a", "b"]))
    out = capsys.readouterr().out
    assert "alice: Response 1 is better" in out and "bob: Response 2 is better" in out
    assert "m: Could not judge: the model could not be asked" in out and "The votes are even" in out
