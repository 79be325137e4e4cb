"""The probability of a verdict: from the tokens of an answer, from a server's logprobs, from votes; and calibration."""

import json
import math
import random
import shutil

import pytest
from tiny_qwen import converse, plain, tiny

from armlite.batch.calibrate import calibrate
from armlite.batch.run import judge_file
from armlite.calibration import Calibration, Fitted, figures, fit_temperature, mean_of, reliability, tempered
from armlite.cli import main
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.loop import Reply
from armlite.models import _MAKERS
from armlite.models.completion import read_reply
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.lazy import weights_digest
from armlite.models.local import LocalModel
from armlite.models.places import calibration_file
from armlite.models.sampling import Sampling
from armlite.models.scripted import ScriptedModel
from armlite.protocol.probability import TokenLogprobs, answer_probabilities, of_answer
from armlite.protocol.render import Conversation, Message


def digit(text, own, others):
    """A token of probability `own`, and what might have stood in its place."""
    top = tuple((word, math.log(p)) for word, p in {text: own, **others}.items())
    return TokenLogprobs(text, math.log(own), top)


def token(text):
    """A certain one."""
    return digit(text, 1.0, {})


ANSWERS = [
    (
        "pairwise",
        [token("Overall"), token(" Judgment:"), token(" Answer "), digit("1", 0.6, {"2": 0.2}), token(" is better.")],
        {1: 0.75, 2: 0.25},
    ),
    (
        "pairwise",  # the word before the number decides, too
        [
            token("Overall Judgment: "),
            digit("Answer ", 0.8, {"Tie": 0.1, "Response ": 0.1}),
            digit("2", 0.5, {"1": 0.5}),
            token(" is better.</answer>"),
        ],
        {2: 0.8 / 0.9 / 2, 1: 0.8 / 0.9 / 2, 0: 0.1 / 0.9},
    ),
    ("pairwise", [digit("1", 0.9, {"3": 0.09, "nothing": 0.01}), token("</answer>")], {1: 1.0}),
    ("pairwise", [digit("1</answer>", 0.6, {"2</answer>": 0.2, "2": 0.2})], {1: 0.6, 2: 0.4}),
    ("pointwise", [token("Overall Judgment:"), digit(" True", 0.9, {" False": 0.1})], {True: 0.9, False: 0.1}),
    ("pointwise", [digit("Tr", 0.9, {"Fal": 0.1}), token("ue")], {True: 0.9, False: 0.1}),
    ("rating", [digit("7", 0.5, {"8": 0.25, "1": 0.25}), token("</answer>")], {7.0: 0.5, 8.0: 0.25, 1.0: 0.25}),
    ("rating", [token("1"), digit("0", 0.5, {"</answer>": 0.5}), token("</answer>")], {10.0: 0.5, 1.0: 0.5}),
    ("multiple_choice", [digit("B", 0.7, {"A": 0.2, "D": 0.1})], {"B": 0.7, "A": 0.2, "D": 0.1}),
    ("multiple_choice", [digit("B", 0.7, {"A": 0.2, "Z": 0.1})], {"B": 7 / 9, "A": 2 / 9}),
    ("listwise", [token("Answer "), digit("3", 0.5, {"1": 0.4, "2": 0.1})], {3: 0.5, 1: 0.4, 2: 0.1}),
    ("open_qa", [digit("Paris", 0.5, {"Rome": 0.5})], {}),
    ("pairwise", [digit("neither", 0.5, {"1": 0.5})], {}),
    ("pairwise", [TokenLogprobs("1", 0.0, ())], {}),
    ("pairwise", [], {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "tokens", "expected"), ANSWERS, ids=range(len(ANSWERS)))
def test_each_token_that_would_have_told_another_verdict_takes_its_share(kind, tokens, expected):
    choices = {"pairwise": 2, "listwise": 3}.get(kind, 0)
    options = {"A": "a", "B": "b", "D": "d"} if kind == "multiple_choice" else {}
    found = answer_probabilities(tokens, kind, choices, options)
    assert found == pytest.approx(expected)
    assert not found or sum(found.values()) == pytest.approx(1)


def test_the_answer_s_tokens_are_those_behind_its_last_opening_tag():
    turn = [
        token("<think>an <answer>"),
        token("9"),
        token("</think><"),
        token("answer"),
        token(">1"),
        token("</answer>"),
    ]
    assert [t.text for t in of_answer(turn)] == ["1", "</answer>"]
    assert [t.text for t in of_answer([token("<answer>"), token("2")])] == ["2"]
    assert of_answer([token("no answer")]) == ()


def says(number, other, p):
    """A reply for presented response `number`, of probability p against `other`."""
    tokens = [token("Overall Judgment: Answer "), digit(str(number), p, {str(other): 1 - p}), token(" is better.")]
    text = f"<think>I know.</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"
    return Reply(text, logprobs=tuple(tokens))


def test_probabilities_are_in_the_caller_s_order_and_those_of_both_orders_are_averaged():
    def always_b(conversation):
        shown = conversation.messages[0].text.index("bbb") < conversation.messages[0].text.index("aaa")
        return says(1, 2, 0.9) if shown else says(2, 1, 0.7)

    verdict = Judge(ScriptedModel(always_b)).compare("Q?", ["aaa", "bbb"], swap=True)
    assert verdict.choice == 2 and verdict.confidence == 1.0 and verdict.probability_from == "tokens"
    assert verdict.probabilities == pytest.approx({"1": 0.2, "2": 0.8}) and verdict.probability == pytest.approx(0.8)


def test_a_split_verdict_has_probabilities_and_none_of_its_own():
    verdict = Judge(ScriptedModel(lambda _: says(1, 2, 0.9))).compare("Q?", ["a", "b"], swap=True)
    assert verdict.status == "split" and verdict.probability is None
    assert verdict.probabilities == pytest.approx({"1": 0.5, "2": 0.5})


def test_without_tokens_votes_are_the_probability_and_a_single_vote_has_none():
    judge = Judge(ScriptedModel(["<think>t</think><answer>Overall Judgment: True</answer>"]))
    assert judge.check("Q?", "a").probability is None
    verdict = judge.check("Q?", "a", votes=3)
    assert (verdict.probability, verdict.probability_from, verdict.probabilities) == (1.0, "votes", {"true": 1.0})


def test_the_probability_of_a_rating_is_that_of_all_within_a_point_of_it():
    tokens = (digit("7", 0.5, {"8": 0.2, "6": 0.1, "9": 0.2}), token("</answer>"))
    model = ScriptedModel([Reply("<think>t</think><answer>7</answer>", logprobs=tokens)])
    assert Judge(model).rate("Q?", "a").probability == pytest.approx(0.8)


COMPLETION = {
    "choices": [
        {
            "message": {"content": "<answer>True</answer>"},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {"token": "<answer>", "logprob": 0.0, "top_logprobs": []},
                    {
                        "token": "True",
                        "logprob": math.log(0.6),
                        "top_logprobs": [
                            {"token": "True", "logprob": math.log(0.6)},
                            {"token": "False", "logprob": math.log(0.2)},
                        ],
                    },
                    {"token": "</answer>", "logprob": 0.0, "top_logprobs": []},
                ]
            },
        }
    ]
}


def test_a_server_s_logprobs_are_read():
    reply = read_reply(COMPLETION)
    assert answer_probabilities(reply.logprobs, "pointwise") == pytest.approx({True: 0.75, False: 0.25})


@pytest.mark.parametrize(
    "told",
    [None, {}, [], {"content": None}, {"content": "x"}, {"content": [None]}, {"content": [{"token": "<answer>"}]},
     {"content": [{"token": "<answer>", "logprob": "0"}]}, {"tokens": ["a"], "token_logprobs": [0.0]}],
    ids=range(9),
)  # fmt: skip
def test_odd_logprobs_of_a_server_spoil_no_reply(told):
    choice = {**COMPLETION["choices"][0], "logprobs": told}
    reply = read_reply({"choices": [choice]})
    assert reply.text == "<answer>True</answer>" and reply.logprobs == ()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_local_model_tells_the_log_probabilities_of_a_plain_forward_pass(temperature):
    model, processor = tiny()
    vocabulary = Vocabulary(processor.tokenizer, model.config.text_config.vocab_size)

    def plain_of(text):
        script = [*vocabulary.ids(text), vocabulary.end]
        sampling = Sampling(temperature=temperature, top_logprobs=3000)
        local = LocalModel(model, processor, sampling, script=lambda _: script)
        conversation = Conversation("task", 0, (), [Message("user", "Q?")])
        session, [[reply]] = converse(local, [conversation], [[]])
        return reply.logprobs, plain(model, processor, session.tokens(conversation))

    told, logprobs = plain_of("<think>t</think><answer>1</answer>")
    assert "".join(t.text for t in told) == "1</answer><|im_end|>"
    assert [t.logprob for t in told] == pytest.approx(logprobs[-len(told) :].tolist(), abs=1e-4)
    _, other = plain_of("<think>t</think><answer>2</answer>")
    assert dict(told[0].top)["2"] == pytest.approx(float(other[-len(told)]), abs=1e-4)


def test_tempering_keeps_the_order_and_the_sum():
    assert tempered({"1": 0.8, "2": 0.2}, 1.0) == pytest.approx({"1": 0.8, "2": 0.2})
    assert tempered({"1": 0.8, "2": 0.2}, 0.5) == pytest.approx({"1": 16 / 17, "2": 1 / 17})
    assert tempered({"1": 1.0, "2": 0.0}, 1e9) == pytest.approx({"1": 0.5, "2": 0.5})
    assert mean_of([{"1": 1.0}, {"1": 0.5, "2": 0.5}]) == {"1": 0.75, "2": 0.25}


def test_the_temperature_of_a_judge_that_is_too_sure_is_found_again():
    rng = random.Random(0)
    rows = []
    for _ in range(4000):
        p = rng.uniform(0.5, 0.98)
        said = tempered({"1": p, "2": 1 - p}, 1 / 3)  # three times too sure
        rows.append(([said], frozenset("1"), rng.random() < p))
    assert fit_temperature(rows) == pytest.approx(3.0, rel=0.15)


def test_figures_are_those_of_the_definition():
    said = [(0.95, True), (0.91, False), (0.55, True), (1.0, True)]
    assert [row["n"] for row in reliability(said)] == [1, 3]
    # bin of 0.5: |1 - 0.55| of one; bin of 0.9: |2/3 - 2.86/3| of three
    assert figures(said) == pytest.approx(
        {"ece": (0.45 + 0.86) / 4, "brier": (0.05**2 + 0.91**2 + 0.45**2 + 0) / 4, "accuracy": 0.75}
    )


def surely(conversation):
    """Says that the first is better: 9 to 1 where its text says `easy`, and always 3 to 1 too sure."""
    easy = "easy" in conversation.messages[0].text
    first = conversation.messages[0].text.index("aaa") < conversation.messages[0].text.index("bbb")
    return says(1 if first else 2, 2 if first else 1, 0.999 if easy else 0.9)


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A batch of 300 pairs: of the easy ones every tenth is labelled otherwise, of the others nearly half."""
    monkeypatch.setitem(_MAKERS, "sure", lambda name, sampling: ScriptedModel(surely))
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))
    rows = [
        {"id": f"r{i}", "question": "easy" if i % 2 else "hard", "response_1": "aaa", "response_2": "bbb"}
        | {"label": 2 if (i // 2) % (10 if i % 2 else 2) == 0 else 1}
        for i in range(300)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    judge_file(file, "sure:one", tmp_path / "out")
    return tmp_path


def test_calibrate_makes_a_judge_that_is_too_sure_say_what_it_knows(judged, capsys):
    with pytest.raises(SystemExit) as end:
        main(["calibrate", str(judged / "out"), "--model", "sure:one", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert end.value.code == 0 and (judged / "out" / "reliability.png").stat().st_size > 5000
    fitted = said["kinds"]["pairwise"]
    assert fitted["n"] == 300 and fitted["temperature"] > 2
    assert fitted["before"]["ece"] > 0.2 and fitted["after"]["ece"] < 0.1
    verdict = Judge.load("sure:one").compare("hard", ["aaa", "bbb"])
    assert verdict.calibrated and 0.5 < verdict.probability < 0.75
    assert not Judge.load("sure:one").check("Q?", "aaa bbb").calibrated


def test_what_calibrate_prints_is_a_table_and_bars(judged, capsys):
    with pytest.raises(SystemExit):
        main(["calibrate", str(judged / "out"), "--model", "sure:one"])
    out, err = capsys.readouterr()
    assert "expected calibration error" in out and "│" in out and "calibrations" in err


def test_labels_of_a_file_count_instead_of_those_of_the_rows(judged):
    labels = judged / "labels.csv"
    labels.write_text("id,label\n" + "".join(f"r{i},1\n" for i in range(100)), "utf-8")
    found, seen = calibrate([judged / "out"], labels, "sure:one")
    assert found.kinds["pairwise"].n == 100 and seen["left_out"] == 200
    assert found.kinds["pairwise"].before["accuracy"] == 1.0
    assert found.kinds["pairwise"].temperature >= 0.05


def test_too_few_judgments_are_a_sentence(judged, capsys):
    labels = judged / "labels.csv"
    labels.write_text("id,label\nr1,1\n", "utf-8")
    with pytest.raises(SystemExit) as end:
        main(["calibrate", str(judged / "out"), "--labels", str(labels), "--model", "sure:one"])
    assert end.value.code == 2 and "1 judgments have both a label and a probability" in capsys.readouterr().err
    assert not calibration_file("sure:one").exists()


def test_a_model_that_cannot_be_told_from_the_folder_is_asked_for(judged, capsys):
    with pytest.raises(SystemExit) as end:
        main(["calibrate", str(judged / "out")])
    assert end.value.code == 2 and "say --model" in capsys.readouterr().err


def test_a_damaged_calibration_is_a_sentence(judged):
    file = calibration_file("sure:one")
    Calibration(kinds={"pairwise": Fitted(temperature=2.0, n=1)}).save(file)
    file.write_text(file.read_text("utf-8").replace("2.0", "-1"), "utf-8")
    with pytest.raises(ArmliteError, match="is no calibration"):
        Judge.load("sure:one").compare("hard", ["aaa", "bbb"])


def test_a_calibration_is_no_part_of_the_weights(pocket, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(pocket.folder, folder)
    before = weights_digest(str(folder))
    Calibration().save(calibration_file(str(folder)))
    assert (folder / "calibration.json").exists() and weights_digest(str(folder)) == before
