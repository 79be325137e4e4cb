"""Agreement with people: figures as scikit-learn 1.9.1 and krippendorff 0.9.0 compute them, and the command."""

import csv
import json
import os
import re
import shutil

import pytest

from armlite.batch.agree import Agreement, cohen_kappa, compare, krippendorff_alpha, resampled
from armlite.batch.run import judge_file
from armlite.cli import main
from armlite.errors import ArmliteError
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.store import read

KAPPAS = [
    ("bbabaaaabb", "bbaaababab", 0.2),
    ("aaaaabbaaaabbabbaababbababbbbbabbaababba", "abaaabbaaabbbbbabaababababbbbaaaaaababba", 0.45),
    (
        "cacbbccbbbbbbaabcacbbaabbcccbabcccabbcccbbbccbbcacabcbbcbbbc",
        "cacbbccbbbbbbabbcacbcaabbcacbaccbcaabcccbabbcbbcacabcbbcbbbc",
        0.787798408488,
    ),
    ("cdbbddbbacadacbcdddbdcddd", "cdbbddbbacadacbcddcbddddd", 0.884792626728),
    ("aababbbbaaaaabbababbaaaabbbaaa", "aabaabbbaaaaabbababbaaaabbbaab", 0.864253393665),
]
NONE = None
ALPHAS = [
    (
        [
            [1, 1, 4, 4, 1, NONE, NONE, 1, 2, 4, NONE, 4],
            [1, 1, 4, 3, NONE, 4, 2, NONE, NONE, 4, 3, 2],
            [2, 3, 2, 2, 3, 2, 3, 4, NONE, 3, NONE, 1],
        ],
        -0.09561752988,
        -0.002109704641,
    ),
    (
        [
            [4, NONE, 4, 1, 1, 4, NONE, NONE, 2, 1, 4, 2, 4, NONE, NONE, NONE, 3, 4, NONE, 3],
            [4, 3, 2, 4, NONE, NONE, NONE, NONE, 4, 3, NONE, 4, NONE, 2, NONE, NONE, NONE, NONE, 2, 1],
            [NONE, NONE, NONE, NONE, 1, NONE, 3, 1, 4, 2, NONE, 3, 2, 2, NONE, 2, 4, 3, 2, 3],
            [NONE, 4, NONE, NONE, 1, 4, 3, NONE, NONE, 4, NONE, NONE, 3, 1, NONE, 1, 1, 1, 1, NONE],
        ],
        0.066312997347,
        0.16910331384,
    ),
]


@pytest.mark.parametrize(("one", "two", "kappa"), KAPPAS)
def test_kappa_is_scikit_learn_s(one, two, kappa):
    pairs = list(zip(one, two, strict=True))
    assert cohen_kappa(pairs) == pytest.approx(kappa, abs=1e-11)
    low, high = resampled(pairs, cohen_kappa)
    assert low <= kappa <= high


@pytest.mark.parametrize(
    ("one", "two", "table"),
    [
        (*KAPPAS[2][:2], [[9, 1, 0], [2, 24, 2], [1, 2, 19]]),
        (*KAPPAS[3][:2], [[3, 0, 0, 0], [0, 6, 0, 0], [0, 0, 4, 1], [0, 0, 1, 10]]),
    ],
    ids=["three", "four"],
)
def test_the_confusion_table_is_scikit_learn_s(one, two, table):
    judged = [(str(i), label, verdict) for i, (label, verdict) in enumerate(zip(one, two, strict=True))]
    found = Agreement("choice", judged=judged).figures()["confusion"]
    names = sorted(set(one + two))
    assert [[found.get(label, {}).get(verdict, 0) for verdict in names] for label in names] == table


@pytest.mark.parametrize(("raters", "nominal", "interval"), ALPHAS)
def test_alpha_is_krippendorff_s(raters, nominal, interval):
    said = [dict(enumerate(unit)) for unit in zip(*raters, strict=True)]
    items = [{rater: value for rater, value in unit.items() if value is not None} for unit in said]
    assert krippendorff_alpha(items) == pytest.approx(nominal, abs=1e-11)
    assert krippendorff_alpha(items, interval=True) == pytest.approx(interval, abs=1e-11)


def test_what_is_not_defined_is_none():
    assert cohen_kappa([("a", "a")] * 5) is None and cohen_kappa([]) is None
    assert krippendorff_alpha([{"x": 1, "y": 1}] * 3) is None and krippendorff_alpha([]) is None
    assert resampled([("a", "a")] * 5, cohen_kappa) is None


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Twelve judgments that say 1, of which two could not be made; people say 1 of eight, 2 of the others."""
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))

    def says(conversation):
        number = int(conversation.task_id.removeprefix("p"))
        better = 1 if "\n<start_of_resp_1>\none\n" in conversation.messages[0].text else 2
        return (
            "no" if number >= 10 else f"<think>x</think>\n<answer>Overall Judgment: Answer {better} is better.</answer>"
        )

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(says, "m"))
    rows = [{"id": f"p{i}", "question": "Which?", "response_1": "one", "response_2": "two"} for i in range(13)]
    labels = [{"id": f"p{i}", "label": 1 if i < 8 else 2, "rater": who} for i in range(12) for who in ("Ann", "Bo")]
    labels += [{"id": "p0", "label": 2, "rater": "Cy"}, {"id": "elsewhere", "label": 1, "rater": "Ann"}]
    labels += [{"id": "p12", "label": n, "rater": who} for n, who in ((1, "Ann"), (2, "Bo"))]
    for name, table in (("rows.csv", rows), ("labels.csv", labels)):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, table[0])
            writer.writeheader()
            writer.writerows(table)
    judge_file(tmp_path / "rows.csv", "scripted:m", tmp_path / "out")
    return tmp_path


def test_verdicts_are_laid_beside_labels(batch, capsys):
    figures = compare(batch / "out", batch / "labels.csv")["choice"].figures()
    assert (figures["n"], figures["not_judged"], figures["even"]) == (12, 2, 1)
    assert figures["agreement"]["value"] == 0.8 and figures["base_rate"] == 0.8
    assert figures["confusion"] == {"1": {"1": 8}, "2": {"1": 2}} and figures["kappa"]["value"] == 0
    assert figures["raters"] == 3 and 0.6 < figures["alpha"] < 0.8
    words = [str(batch / "out"), "--labels", str(batch / "labels.csv"), "--out", str(batch / "wrong")]
    with pytest.raises(SystemExit) as end:
        main(["agree", *words])
    told = capsys.readouterr()
    assert not end.value.code and "Cohen's kappa" in told.out and re.search(r"2 +│ +2 │", told.out)
    assert {row.trajectory.task.id for row in read(batch / "wrong")} == {"p8", "p9"}
    with pytest.raises(SystemExit):
        main(["agree", *words[:3], "--json"])
    assert json.loads(capsys.readouterr().out)["choice"]["n"] == 12


def test_labels_and_verdicts_older_than_the_judge_are_told_of(batch, pocket, recwarn):
    from armlite.batch.disagreements import warn_of_age

    settings = batch / "out" / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model": str(pocket.folder)}))
    assert re.fullmatch(
        r"labels of .* UTC, verdicts of .* UTC, weights of .* UTC", warn_of_age(batch / "out", batch / "labels.csv")
    )
    os.utime(batch / "labels.csv", (1, 1))
    with pytest.warns(UserWarning, match="labels are all older than the weights"):
        assert warn_of_age(batch / "out", batch / "labels.csv").startswith(
            "labels of 1970-01-01 00:00 UTC, verdicts of"
        )
    times = "id,label,time\np0,1,2001-02-03T04:05:06+00:00\np1,1,2999-01-01T00:00:00+00:00\n"
    (batch / "labels.csv").write_text(times)
    with pytest.warns(UserWarning, match=r"labels are in part \(1 of 2\) older than the weights"):
        said = warn_of_age(batch / "out", batch / "labels.csv")
    assert said.startswith("labels of 2001-02-03 04:05 UTC to 2999-01-01 00:00 UTC, verdicts of")
    os.utime(batch / "out" / "trajectories.jsonl", (1, 1))
    with pytest.warns(UserWarning, match="the verdicts are older than the weights"):
        warn_of_age(batch / "out", batch / "labels.csv")


def test_a_calibration_does_not_make_a_judge_younger(batch, pocket, tmp_path, recwarn):
    from armlite.batch.disagreements import warn_of_age

    model = tmp_path / "model"
    shutil.copytree(pocket.folder, model)
    settings = batch / "out" / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model": str(model)}))
    for file in model.rglob("*"):
        os.utime(file, (5, 5))
    (model / "calibration.json").write_text("{}")
    os.utime(batch / "labels.csv", (9, 9))
    assert warn_of_age(batch / "out", batch / "labels.csv").endswith("weights of 1970-01-01 00:00 UTC")
    assert not recwarn.list


def test_a_later_label_of_a_rater_is_instead_of_an_earlier_one(batch):
    (batch / "labels.csv").write_text("id,label,rater\np0,2,Ann\np1,2,Ann\np2,1,Ann\np0,1,Ann\np1,,Ann\n")
    agreement = compare(batch / "out", batch / "labels.csv")["choice"]
    assert sorted(name for name, _, _ in agreement.judged) == ["p0", "p2"]
    assert agreement.figures()["agreement"]["value"] == 1


@pytest.mark.parametrize(
    ("verdicts", "labels", "said"),
    [
        ("nowhere", "labels.csv", "there are no verdicts in"),
        ("out", "nowhere.csv", "there is no file"),
        ("out", "rows.csv", "has no label"),
        ("labels.csv", "labels.csv", "holds no verdicts"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(batch, verdicts, labels, said):
    with pytest.raises((ArmliteError, ValueError), match=said):
        compare(batch / verdicts, batch / labels)


def test_disagreements_are_never_written_over_the_judgments(tmp_path, capsys):
    (tmp_path / "verdicts.jsonl").write_text(json.dumps({"id": "a", "kind": "pairwise", "choice": 1}) + "\n")
    (tmp_path / "labels.csv").write_text("id,label\na,2\n")
    with pytest.raises(SystemExit) as end:
        main(["agree", str(tmp_path), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path)])
    assert end.value.code == 2 and "is not empty" in capsys.readouterr().err
    assert not (tmp_path / "trajectories.jsonl").exists()


def test_a_label_beyond_the_two_of_a_pair_is_refused_and_a_tie_is_called_so(tmp_path, capsys):
    rows = [{"id": name, "kind": "pairwise", "choice": 0} for name in "ab"]
    (tmp_path / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\na,3\n")
    with pytest.raises(ArmliteError, match="none of the 2 responses"):
        compare(tmp_path, labels)
    labels.write_text("id,label\na,tie\nb,1\n")
    with pytest.raises(SystemExit):
        main(["agree", str(tmp_path), "--labels", str(labels)])
    out = capsys.readouterr().out
    assert "judged tie" in out and "│ tie" in out
