"""Every script in `examples/` does what its docstring says, run as a user would run it, in a folder of its own."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from make_pdf import write_pdf
from PIL import Image

from armlite import store
from armlite.recipe import load_recipe
from armlite.train.run import train

EXAMPLES = Path(__file__).parents[1] / "examples"
TESTS = Path(__file__).parent
MODEL = "{model}"
"""Stands for the scripted server in a command line."""


def calls(name, **arguments):
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<think>I had better check.</think>\n<tool_call>\n{call}\n</tool_call>"


def says(answer):
    return f"<think>I have seen it.</think>\n<answer>{answer}</answer>"


FIRST = says("Overall Judgment: Answer 1 is better.")
WORDS = "check_whether_response_word_count_in_range"
TINY = "threads=1 data.n_traces=24 data.n_tasks=3 data.n_evaluation=3 evaluation.max_new_tokens=8 evaluation.swap=false"
ONE_STEP = ["stages.sft.steps=1", "stages.grpo1=null", "stages.grpo2=null"]
CASES = {
    "compare_photo.py": [
        (
            f"--model {MODEL} --image photo.png --question Which? --answer Ann --answer Bo",
            [calls("image_zoom_in_tool", image="original_image", bbox_2d=[0, 0, 500, 500]), FIRST],
            ["split: answer None, confidence 0.5", "armlite view judgments/trajectories.jsonl"],
        ),
        (
            f"--model {MODEL} --out mine",
            [calls("image_zoom_in_tool", image="original_image", bbox_2d=[356, 753, 427, 819]), says("Tie")],
            ["judged: answer 0, confidence 1.0", "I have seen it.", "- image_zoom_in_tool{'image': 'original_image'"],
        ),
    ],
    "judge_pdf.py": [
        (
            f"paper.pdf 'What stands there?' 'A lighthouse.' --model {MODEL}",
            [
                calls("doc_page_retrieval_by_query", filename="paper", query="lighthouse"),
                says("Overall Judgment: True"),
            ],
            ["correct\nI have seen it.", "- looked for 'lighthouse', read page 2"],
        ),
        (
            f"paper.pdf 'What stands there?' 'A lighthouse.' --model {MODEL}",
            [calls("doc_page_retrieval_by_index", filename="paper", image_idx=3), says("I would rather not say.")],
            ["could not judge (no_answer)"],
        ),
    ],
    "check_constraint.py": [
        ("", [], ["verifier: False (", "10 words"]),
        (
            f"'A pier and a lighthouse.' --words 3 6 --model {MODEL}",
            [calls(WORDS, response="text_0", lower_bound=3, upper_bound=6), says("Overall Judgment: True")],
            ["verifier: True", "judge: True (judged)", f"- {WORDS}: Check result: True"],
        ),
    ],
    "add_a_tool.py": [
        (
            "photo.png",
            [],
            ["Usage: mean_colour(image: string).", "The mean colour of `original_image` is [10, 20, 200]."],
        ),
        (
            f"photo.png --model {MODEL}",
            [calls("mean_colour", image="original_image"), FIRST],
            ["judged: answer 1\n- The mean colour of `original_image` is [10, 20, 200]."],
        ),
    ],
    "openai_server.py": [
        (
            f"--model {MODEL} --votes 3 --image photo.png",
            [
                calls("image_zoom_in_tool", image="original_image", bbox_2d=[0, 0, 500, 500]),
                says("Overall Judgment: 8"),
            ],
            ["vote 3, step 1: image_zoom_in_tool", "vote 1, step 2: ", "judged: 8.0 of 10, confidence 1.0"],
        ),
    ],
    "best_of_n.py": [
        (
            f"answers.txt 'Which?' --model {MODEL}",
            [FIRST],
            ["knockout, 8 comparisons: split, answer None", "- correct: no_answer.", "total: None"],
        ),
        (
            f"two.txt 'Which?' --model {MODEL}",
            [says("Overall Judgment: True")],
            ["round_robin, 1 comparisons: no_answer", "- plain: yes. I have seen it.", "total: 1.0"],
        ),
    ],
    "own_trl_trainer.py": [("1", [], ["reward: ["])],
    "judge_as_reward.py": [
        (f"{MODEL} check", [says("Overall Judgment: True")], ["reward: [1.0]"]),
        (f"{MODEL} group", [FIRST], ["reward: [0.5]"]),
    ],
    "judge_data.py": [],  # wants a run: below
    "train_pocket.py": [
        (
            f"--output run --n 3 {TINY} stages.sft.steps=1 stages.grpo1=null stages.grpo2=null",
            [],
            ["base: accuracy", "sft: accuracy", "with_tools=False: accuracy", "on 3 tasks", "report: run/report.md"],
        ),
    ],
}
"""Script -> (command line, what the server says turn by turn, what the output holds)."""
RUNS = [
    pytest.param(script, *case, id=f"{script}-{number}")
    for script, cases in CASES.items()
    for number, case in enumerate(cases, 1)
]


@pytest.fixture
def folder(tmp_path):
    """Where a script is run: a bluish photo and a PDF of three pages."""
    Image.new("RGB", (320, 240), (10, 20, 200)).save(tmp_path / "photo.png")
    write_pdf(tmp_path / "paper.pdf", ["# Intro\nThe pier.", "# Results\nA lighthouse stands there.", "The end."])
    (tmp_path / "answers.txt").write_text("\n".join(f"Answer {n}." for n in range(9)))
    (tmp_path / "two.txt").write_text("One.\nTwo.\n")
    return tmp_path


@pytest.mark.parametrize(("script", "words", "turns", "output"), RUNS)
def test_an_example_runs_as_it_says(script, words, turns, output, folder, server):
    httpx.post(f"{server}/control", json={"turns": turns}).raise_for_status()
    model = f"openai:judge-7b@{server}/v1"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *shlex.split(words.replace(MODEL, model))],
        cwd=folder,
        env=clean | {"OMP_NUM_THREADS": "1", "ARMLITE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for expected in output:
        assert expected in done.stdout
    asked = httpx.get(f"{server}/record").json()["requests"]
    assert bool(asked) == bool(turns), "what the script printed came from the model, or from none"


def test_what_compare_photo_keeps_can_be_looked_at(folder, server):
    httpx.post(f"{server}/control", json={}).raise_for_status()
    model = f"openai:judge-7b@{server}/v1"
    subprocess.run([sys.executable, str(EXAMPLES / "compare_photo.py"), "--model", model], cwd=folder, check=True)
    rows = list(store.read(folder / "judgments"))
    assert [row.trajectory.order for row in rows] == [(1, 2), (2, 1)]
    crop = next(info for info in rows[0].trajectory.images if info.parent)
    assert store.open_image(rows[0].path, crop).size == (crop.width, crop.height)


def test_judge_data_makes_pairs_and_traces_and_a_mix_and_trains_on_them(folder, server):
    """Even by a model that has learnt nothing; the traces are made by the scripted server, which zooms and says 1."""
    recipe = load_recipe(EXAMPLES.parent / "recipes" / "pocket.yaml", [*TINY.split(), *ONE_STEP])
    train(recipe, folder / "run")
    httpx.post(f"{server}/control", json={}).raise_for_status()
    small = "threads=1 stages.sft.steps=1 stages.grpo2.steps=1 stages.grpo2.num_generations=2 data.n_evaluation=3"
    size = "stages.grpo2.tasks_per_step=2 stages.grpo2.per_device_train_batch_size=4 stages.grpo2.max_new_tokens=8"
    command = ["--run", "run", "--out", "made", "--n", "24", "--k", "1", "--judge", f"openai:judge-7b@{server}/v1"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "judge_data.py"), *command, *small.split(), *size.split()],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "140"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = {cells[0]: cells[1:] for line in done.stdout.splitlines() if len(cells := re.findall(r"[^│]+", line)) > 3}
    table = {name.strip(): [int(cell) for cell in cells[:3]] for name, cells in rows.items()}
    steps = ["pairs, injected", "filter, injected", "pairs, written", "filter, written", "traces", "mix", "sft", "grpo"]
    assert list(table) == steps
    assert all(taken == rejected + kept for taken, rejected, kept in table.values())
    kept = {name: row[2] for name, row in table.items()}
    taken = {name: row[0] for name, row in table.items()}
    assert taken["pairs, injected"] == taken["pairs, written"] == 16
    assert taken["filter, injected"] == taken["traces"] == kept["pairs, injected"] > 10
    assert taken["mix"] == kept["filter, injected"] + kept["filter, written"]
    assert taken["sft"] == kept["traces"] > 0 and taken["grpo"] == kept["mix"] > 0
    assert table["mix"][1] > 0, "what was made both ways is a duplicate"


WRONG = {
    "add_a_tool.py": "gone.png",
    "best_of_n.py": "answers.txt Q? --model nowhere",
    "check_constraint.py": "--model nowhere",
    "compare_photo.py": "--model nowhere --image gone.png",
    "judge_data.py": "--run nowhere --out made",
    "judge_pdf.py": "gone.pdf Q? A. --model nowhere",
    "openai_server.py": "--model openai:judge@http://127.0.0.1:1/v1",
    "train_pocket.py": "nothing.at.all=1",
}
"""Words that ask for what is not there; the two with TRL's own trainer take none that could be wrong."""


@pytest.mark.parametrize("script", WRONG)
def test_a_mistake_of_the_user_is_one_sentence(script, folder):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *shlex.split(WRONG[script])],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and done.stderr.splitlines()[-1].startswith("error: "), done.stderr


def test_loading_a_model_in_python_says_nothing_that_is_for_developers(pocket):
    code = f"from armlite import Judge; print(Judge.load({str(pocket.folder)!r}).prepare().model.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if "Warning" in line or "kernels" in line], done.stderr


def test_every_example_has_a_row():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(CASES)


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(script):
    text = script.read_text(encoding="utf-8")
    assert 10 <= len(text.splitlines()) <= (125 if script.name == "judge_data.py" else 40)
    assert re.match(rf'"""[A-Z].*?^Run: .*python examples/{script.name} .*?"""', text, re.DOTALL | re.MULTILINE)
