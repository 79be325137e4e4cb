"""MM-IFEval's rule figures against hand-computed answers, and the files for its own scripts."""

import csv
import io
import json

import pytest
from published import mm_ifeval as fixture
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.benchmarks.mm_ifeval import names_all
from armlite.evals.figures import Item
from armlite.tools.checks.sentences import installed_splitter
from armlite.types import Task

BENCHMARK = get_benchmark("mm-ifeval")


def rule(key: str, *functions: tuple[str, list]) -> dict:
    verify = [{"func": name, "params": params} for name, params in functions]
    return {"key": key, "value": f"Mind {key}.", "judge": {"method": "rule_based", "verify_funcs": verify}}


WORDS = rule("words", ("check_whether_response_word_count_in_range", [2, 4]))
NO_SEA = rule("no_sea", ("check_whether_whole_response_not_contain_certain_substring", ["sea"]))
BOTH = rule(
    "both",
    ("check_whether_response_paragraph_number_in_range", [1, 1]),
    ("check_whether_total_keyword_in_list_metioned_in_range", [["boat", "gull"], 2, 2]),
)
SENTENCES = rule("sentences", ("check_whether_response_sentence_number_in_range", [1, 1]))


def item(constraints: list[dict], answer: str | None, infer_type: str = "main", answers: tuple[str, ...] = ()) -> Item:
    tag = "P-Level" if answers else "C-Level"
    task = Task(
        id="1",
        kind="open_qa",
        question="Describe it.",
        images=("lake.jpg",),
        source=f"mm-ifeval/{tag}",
        meta={
            "published_id": "1",
            "index": None,
            "tag": tag,
            "infer_type": infer_type,
            "del_cons": "tone" if infer_type != "main" else None,
            "instruction": "Describe it.",
            "constraints": constraints,
            "answers": list(answers),
        },
    )
    text = "<think>x</think>" + (f"<answer>{answer}</answer>" if answer else "")
    return Item(task, (answered(task, text),))


def test_an_item_is_the_share_of_its_rules_all_of_whose_functions_hold():
    figures = BENCHMARK.score(
        [
            item([WORDS, NO_SEA, fixture.TONE], "A boat, a gull."),  # both hold: 1
            item([WORDS, BOTH], "A boat and a boat"),  # 5 words; 1 paragraph, 2 mentions: 1/2
            item([WORDS, BOTH], "A boat\n\nA gull"),  # 4 words; 2 paragraphs: 1/2
            item([NO_SEA], "The Sea"),  # engine mode minds the case: 1
            item([fixture.TONE, fixture.ROLE], "A boat."),  # no rule: left out
            item([NO_SEA], None),  # no answer: 0, though an empty text has no sea
            item([WORDS], "one two three four five", infer_type="aux_cmp_gpt"),  # aux: in no figure
        ]
    )
    assert figures["c_level_rule"].value == pytest.approx((1 + 0.5 + 0.5 + 1 + 0) / 5)
    assert (figures["c_level_rule"].n, figures["no_rule"].value, figures["no_rule"].n) == (5, 1 / 6, 6)
    assert figures["parse_failures"].value == 1 / 6
    assert figures["p_level_rule"].value is None
    assert not [name for name in figures if name.startswith("sentences_by")]


def test_of_constraints_with_the_same_key_the_last_rule_counts():
    again = NO_SEA | {"key": "words"}
    figures = BENCHMARK.score([item([WORDS, again, fixture.TONE | {"key": "words"}], "one two three four five")])
    assert figures["c_level_rule"].value == 1


def test_the_figures_say_what_split_the_sentences():
    figures = BENCHMARK.score(
        [item([SENTENCES], "One. Two."), item([SENTENCES, WORDS], "One, two."), item([WORDS], "a b")]
    )
    assert figures["c_level_rule"].value == pytest.approx((0 + 1 + 1) / 3)
    assert figures[f"sentences_by/{installed_splitter()}"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("answers", "text", "right"),
    [
        (["3"], "There are 3 ducks.", True),
        (["3"], "There are 13 ducks.", False),
        (["3"], "There are 30 ducks.", False),
        (["3", "Left  bank"], "On the left\nbank: 3", True),
        (["3", "left bank"], "3 ducks", False),
        (["C++"], "It is C++, I think", True),
    ],
)
def test_a_p_level_answer_has_to_name_every_point(answers, text, right):
    assert names_all(answers, text) is right
    assert BENCHMARK.score([item([], text, answers=tuple(answers))])["p_level_rule"].value == right


def read(form: str, folder) -> list[Task]:
    fixture.build(folder / "published", form)
    convert(get_set("mm-ifeval"), folder / "published", folder / "tasks.jsonl")
    return read_tasks(folder / "tasks.jsonl")


@pytest.mark.parametrize("form", fixture.FORMS)
def test_every_form_gives_the_same_prompts_and_no_constraints_to_judge_by(form, tmp_path):
    tasks = read(form, tmp_path)
    assert [task.id for task in tasks] == ["7", "7-without-role", "8", "300"]
    assert tasks[0].question.startswith("Describe the picture. Your answer must be 3-8 words. Name the lake")
    assert tasks[0].question.endswith("Speak as a fisher.")
    assert "fisher" not in tasks[1].question
    assert [c["key"] for c in tasks[1].meta["constraints"]] == ["word_count", "keywords", "tone"]
    assert tasks[3].question == "How many ducks, and where?"
    assert (tasks[0].gold, tasks[3].gold) == (None, ("3, left bank",))
    assert not any(task.constraints for task in tasks)
    assert [task.meta["infer_type"] for task in tasks] == ["main", "aux_cmp_gpt", "main", "main"]


def test_the_official_files_hold_the_published_rows_and_the_predictions(tmp_path):
    texts = ("A lake.", "A pond.", "Oh hill!", "3 on the left bank")
    tasks = read("tsv", tmp_path)
    items = [
        Item(task, (answered(task, f"<think>x</think><answer>{text}</answer>"),))
        for task, text in zip(tasks, texts, strict=True)
    ]
    files = BENCHMARK.official(items)
    level = [json.loads(line) for line in files["mm-ifeval_C-Level.jsonl"].splitlines()]
    assert [(row["infer_type"], row.get("del_cons"), row["prediction"]) for row in level] == [
        ("main", None, "A lake."),
        ("aux_cmp_gpt", "role", "A pond."),
        ("main", None, "Oh hill!"),
    ]
    assert level[0]["constraints"] == fixture._rows()[0]["constraints"]
    [perception] = [json.loads(line) for line in files["mm-ifeval_P-Level.jsonl"].splitlines()]
    assert (perception["answer"], perception["tag"]) == (["3", "left bank"], "P-Level")
    table = list(csv.DictReader(io.StringIO(files["MM-IFEval.tsv"]), dialect="excel-tab"))
    assert [row["index"] for row in table] == ["0", "1", "2", "3"]
    assert json.loads(table[0]["constraints"])[1]["key"] == "keywords"
    assert [row["prediction"] for row in table] == list(texts)
