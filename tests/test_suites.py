"""The adapters for evaluation suites: what they score, what they do without it, what the suites themselves gave."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from armlite import Judge
from armlite.adapters import deepeval, inspect_ai, promptfoo, verifiers
from armlite.adapters.scored import Item, Scorer
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.rubric import Criterion, Rubric

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "tests" / "real" / "committed"
SUITES = ("inspect_ai", "deepeval", "verifiers", "promptfoo")


def says(answer, think="I looked."):
    return f"<think>{think}</think>\n<answer>{answer}</answer>"


def judge(*turns):
    return Judge(ScriptedModel(list(turns)))


def longest(conversation):
    one, two = (conversation.messages[0].text.split(f"<start_of_resp_{n}>\n")[1].split("\n<end")[0] for n in (1, 2))
    return says(
        "Tie" if len(one) == len(two) else f"Overall Judgment: Answer {1 if len(one) > len(two) else 2} is better."
    )


RUBRIC = Rubric(
    criteria=(Criterion(name="cites", text="It cites.", weight=3), Criterion(name="kind", text="It is kind."))
)


@pytest.mark.parametrize(
    ("mode", "turn", "value"),
    [
        ("check", says("Overall Judgment: True"), 1.0),
        ("check", says("Overall Judgment: False"), 0.0),
        ("check", "I would rather not.", None),
        ("rate", says("Overall Judgment: 10"), 1.0),
        ("rate", says("Overall Judgment: 1"), 0.0),
        ("rate", Reply("", "length"), None),
        ("compare", says("Overall Judgment: Answer 1 is better."), None),
        ("compare", says("Tie"), 0.5),
        ("grade", says("Overall Judgment: True"), 1.0),
        ("grade", "I would rather not.", None),
    ],
    ids=map(str, range(10)),
)
def test_what_cannot_be_judged_has_no_score(mode, turn, value):
    scorer = Scorer(judge(turn), mode, RUBRIC if mode == "grade" else None)
    found = scorer.score(Item("Q?", "a", against="b"))
    assert found.value == value and found.facts["status"] == found.verdict.status
    assert found.reason.startswith("could not judge (") == (value is None)


def test_the_longer_one_wins_and_a_lost_file_costs_its_own_item(tmp_path):
    scorer = Scorer(Judge(ScriptedModel(longest)), "compare")
    lost = Item("Q?", "aaa", document=tmp_path / "gone.pdf", against="b")
    found = scorer.score_many([Item("Q?", "aa", against="b"), lost, Item("Q?", "a", against="bb")])
    assert [scored.value for scored in found] == [1.0, None, 0.0]
    assert found[1].reason.startswith("could not judge (bad_input): ") and "gone.pdf" in found[1].reason
    assert scorer.score_many([lost])[0].facts == {"status": "bad_input"}


def test_a_rubric_is_a_score_with_its_parts():
    turns = {"It cites.": says("Overall Judgment: True", "Page 7."), "It is kind.": says("Overall Judgment: False")}
    model = ScriptedModel(lambda c: next(turn for text, turn in turns.items() if text in c.messages[0].text))
    found = Scorer(Judge(model), "grade", RUBRIC).score_many([Item("Q?", "a"), Item("Q?", "b")])
    assert [scored.value for scored in found] == [0.75, 0.75]
    assert (
        found[0].facts == {"status": "judged", "cites": 1.0, "kind": 0.0} and "cites: yes. Page 7." in found[0].reason
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "chek"}, "mode is 'chek'; it can be check, rate, compare, grade"),
        ({"mode": "grade"}, "mode grade and a rubric go together"),
        ({"mode": "check", "rubric": RUBRIC}, "mode grade and a rubric go together"),
    ],
    ids=["mode", "no rubric", "rubric"],
)
def test_a_mistake_is_told_at_once(given, said):
    with pytest.raises(ArmliteError, match=said):
        Scorer(judge("x"), **given)


def test_nothing_to_compare_with_is_told():
    with pytest.raises(ArmliteError, match="needs another response"):
        Scorer(judge("x"), "compare").score(Item("Q?", "a"))


def test_items_that_wait_together_are_judged_together():
    class Slow(ScriptedModel):
        batches = 0

        def session(self):
            self.batches += 1
            began.set()
            go.wait(30)
            return super().session()

    began, go = threading.Event(), threading.Event()
    model = Slow([says("Overall Judgment: True")])
    scorer = Scorer(Judge(model))
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(scorer.score, Item("Q?", "a"))
        assert began.wait(30)
        rest = [pool.submit(scorer.score, Item("Q?", f"b{n}")) for n in range(8)]
        while len(scorer._waiting) < 8:
            pass
        go.set()
        assert [future.result().value for future in [first, *rest]] == [1.0] * 9
    assert model.batches == 2


def test_an_error_reaches_everyone_who_waits():
    def broken(conversation):
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        Scorer(Judge(ScriptedModel(broken))).score(Item("Q?", "a"))


# --- promptfoo, which needs no package ------------------------------------------------------------------------------


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(longest, name))
    promptfoo._scorer.cache_clear()
    yield
    promptfoo._scorer.cache_clear()


@pytest.mark.usefixtures("scripted")
def test_promptfoo_gets_pass_score_and_reason():
    config = {"model": "scripted:m", "mode": "compare", "against": "baseline"}
    context = {"prompt": "Q?", "vars": {"baseline": "bb", "constraints": '["short"]'}, "config": config}
    good, bad = promptfoo.get_assert("aaa", context), promptfoo.get_assert("a", context)
    assert (good["pass"], good["score"], good["reason"]) == (True, 1.0, "I looked.")
    assert (bad["pass"], bad["score"], bad["metadata"]["status"]) == (False, 0.0, "judged")
    assert not promptfoo.get_assert("bb", {**context, "config": {**config, "threshold": 0.6}})["pass"]
    lost = promptfoo.get_assert("aaa", {**context, "vars": {"baseline": "bb", "document": "gone.pdf"}})
    assert not lost["pass"] and lost["metadata"] == {"status": "bad_input"}
    assert lost["reason"].startswith("could not judge (bad_input)")
    for config, said in [({}, "say which judge"), ({"model": "scripted:m", "mod": "x"}, "Did you mean 'mode'")]:
        with pytest.raises(ArmliteError, match=said):
            promptfoo.get_assert("a", {"prompt": "Q?", "config": config})


# --- the suites -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_an_adapter_is_imported_without_its_suite_and_without_a_model_library(suite):
    heavy = ("inspect_ai", "deepeval", "verifiers", "torch")
    code = (
        f"import sys, armlite.adapters.{suite}; sys.exit(str([name for name in {heavy} if name in sys.modules] or 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0" or done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (inspect_ai.judge_scorer, "inspect_ai"),
        (deepeval.judge_metric, "deepeval"),
        (verifiers.judge_class, "verifiers"),
    ],
    ids=["inspect_ai", "deepeval", "verifiers"],
)
def test_without_the_suite_making_one_says_what_is_missing(make, name, monkeypatch):
    for module in ("inspect_ai.scorer", "deepeval.metrics", "verifiers.v1", name):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ArmliteError, match=rf"{name} is not installed here .*pip install"):
        make(judge("x"))


@pytest.mark.parametrize("suite", SUITES)
def test_the_suites_themselves_gave_the_scores_that_the_judge_gives_and_none_for_what_is_lost(suite):
    kept = json.loads((COMMITTED / f"suite_{suite}.json").read_text("utf-8"))
    scores = kept["scores"]
    assert scores[-1] is None and all(score in (0.0, 1.0) for score in scores[:-1])
    assert kept["as_labelled"] == len(scores) - 1, "the pocket judge is right on its held-out tasks"
    right = sum(score == 1 for score in scores[:-1])
    wrong = len(scores) - 1 - right
    assert (
        kept["totals"]
        == {
            "inspect_ai": {"mean": round(right / (right + wrong), 4), "scored": right + wrong, "unscored": 1},
            "deepeval": {"passed": right, "failed": wrong, "errored": 1},
            "verifiers": {"rewarded": right + wrong, "errors": 1},
            "promptfoo": {"successes": right, "failures": wrong + 1, "errors": 0},
        }[suite]
    )
    assert "gone.pdf does not exist" in str(kept["lost"]) and kept["reason"]
    assert kept["version"] in (ROOT / "armlite" / "adapters" / f"{suite}.py").read_text("utf-8"), "the version it names"
