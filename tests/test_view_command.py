"""`armlite view`: keys lead from trajectory to trajectory, a pipe gets text, JSON or a page, mistakes are one line."""

import io
import os
import pty
import re
import signal
import termios

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner
from view_rows import chosen_rows, demo_rows, hostile_row, new_console, output_of, plain_words, small_run

from armlite import store
from armlite.cli.view import view
from armlite.errors import ArmliteError
from armlite.store import Saved
from armlite.types import Score
from armlite.view.demo import demo
from armlite.view.entries import entries
from armlite.view.html import article
from armlite.view.keys import RESIZED, pressed, resizes
from armlite.view.pager import page
from armlite.view.selection import Selection, gather


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch):
    monkeypatch.delenv("ARMLITE_IMAGES", raising=False)


@pytest.mark.parametrize(
    ("keys", "visited"),
    [
        (b"q", [1]),
        (b"nnnnq", [1, 2, 3]),
        (b"npq", [1, 2, 1]),
        (b"\x1b[C\x1b[Dq", [1, 2, 1]),
        (b"3\rpq", [1, 3, 2]),
        (b"93\x7f\x7f2\nq", [1, 2]),
        (b"9\rzq", [1]),
        (b"G q", [1, 2]),
        (b"\x04", [1]),
        (b"n\x1b", [1, 2]),
    ],
)
def test_keys_lead_from_trajectory_to_trajectory_and_the_terminal_is_given_back(keys, visited):
    rows, images = demo_rows(3)
    main, end = pty.openpty()
    with open(end, closefd=False) as keyboard, open(main, "wb", buffering=0):
        # The keys are typed ahead; without line mode, so that Ctrl-D and Enter wait as bytes.
        before = termios.tcgetattr(end)
        before[0] &= ~termios.ICRNL
        before[3] &= ~termios.ICANON
        termios.tcsetattr(end, termios.TCSANOW, before)
        os.write(main, keys)
        console = new_console()
        page(console, chosen_rows(rows, images), protocol="none", keyboard=keyboard)
        assert termios.tcgetattr(end)[3] == before[3]
        assert before[3] & termios.ECHO
    os.close(end)
    assert [int(n) for n in re.findall(r"task-(\d)\x1b", output_of(console))] == visited
    assert output_of(console).count("\x1b[?1049h") == output_of(console).count("\x1b[?1049l") == 1


@pytest.fixture
def typed(tmp_path):
    """Plays keys into the viewer of a small run; gives the screens that were drawn, in plain words."""

    def play(keys, width=100, **wishes):
        return screens_of(gather(small_run(tmp_path / "run"), False, Selection(), **wishes), keys, width)

    return play


def screens_of(chosen, keys, width):
    main, end = pty.openpty()
    with open(end, closefd=False) as keyboard, open(main, "wb", buffering=0):
        before = termios.tcgetattr(end)
        before[0] &= ~termios.ICRNL
        before[3] &= ~termios.ICANON
        termios.tcsetattr(end, termios.TCSANOW, before)
        os.write(main, keys)
        options = {"force_terminal": True, "color_system": "truecolor", "highlight": False}
        console = Console(file=io.StringIO(), width=width, height=200, **options)
        page(console, chosen, protocol="none", keyboard=keyboard)
    os.close(end)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output_of(console).replace("\x1b[H\x1b[2J", "\f"))
    return plain.split("\f")[1:]


def where(screen):
    return re.search(r"(sft|grpo1) · .*? · \d of \d", screen)[0]


def test_a_run_opens_at_its_last_evaluation_and_conditions_search_and_sort_are_typed(typed):
    first, everything, failed, again, found, sorted_ = typed(
        b"f\x15\rf\x15status=failed\rf\x15\r/step 2\x7f\x7f\x7f\x7f\x7f\x7fPEARS\rs-reward\rq"
    )
    assert "grpo1 · greedy" in first
    assert "stage=grpo1 and round=greedy" in first
    assert where(everything) == "grpo1 · greedy · 1 of 7"
    assert "grpo1 · temperature" in failed
    assert "status=failed" in failed
    assert where(again) == "grpo1 · temperature · 2 of 7"
    assert "search 'PEARS'" in found
    assert "by -reward" in sorted_


def test_a_mistake_in_a_condition_is_told_and_the_page_stays(typed):
    _, after = typed(b"f\x15stag=sft\rq")
    assert "there is no field 'stag'. Did you mean 'stage'?" in after
    assert "grpo1 · greedy" in after


def test_w_leads_to_the_next_wrong_one_and_says_where_there_is_none(typed):
    screens = typed(b"f\x15\rwwwwq")
    assert [where(s) for s in screens[1:]] == [
        "grpo1 · greedy · 1 of 7",
        "grpo1 · temperature · 2 of 7",
        "sft · greedy · 3 of 7",
        "grpo1 · GRPO step 2 · 5 of 7",
    ]
    assert "no wrong one further on" in screens[-1]


def test_two_trajectories_stand_side_by_side_and_a_group_below_them(typed):
    *_, screen = typed(b"f\x15step=2\rcnq", width=120)
    assert re.search(r"demo-market-stall .* │ +demo-market-stall", screen)
    assert re.search(r"✓ right.* │ .*✗ wrong", screen)
    assert "4 rollouts of this task in step 2: 3 × Response 2 is better, 1 × Response 1 is better" in screen
    assert re.search(r"✗ #1 +Response 1 is better +2 +– +0.3 +0.3 +-1.5 *\n", screen)
    assert all(len(line) <= 120 for line in screen.splitlines())


def test_comparing_two_stages_shows_both(typed):
    first = typed(b"q", width=120, compare=("sft", "grpo1"))[0]
    assert re.search(r"sft · greedy .* │ .*", first)
    assert re.search(r" │ .*grpo1 · greedy · 1 of 6", first)


def test_the_keys_are_listed_and_80_columns_hold_all_that_is_said(typed):
    screens = typed(b"f\x15step=2\r?nq", width=80)
    assert "next, previous wrong one" in screens[2]
    assert all(len(line.split("\r")[-1]) <= 80 for screen in screens for line in screen.splitlines())
    assert "reward" not in screens[1] or "…" not in screens[1]
    assert "q quit" in screens[1]


def test_x_shows_long_texts_whole():
    row = hostile_row()
    task = row.trajectory.task.model_copy(update={"responses": ("word " * 300 + "THE END", "b", "c")})
    row = row.model_copy(update={"trajectory": row.trajectory.model_copy(update={"task": task})})
    screens = screens_of(chosen_rows([row, row], {}), b"xq", 80)
    assert ["THE END" in screen for screen in screens] == [False, True]
    assert "(307 more characters)" in screens[0]


def test_a_long_name_is_shown_whole_in_a_narrow_terminal():
    (row,), images = demo_rows(1)
    task = row.trajectory.task.model_copy(update={"id": "-".join(["a-very-long-name"] * 9)})
    row = row.model_copy(update={"trajectory": row.trajectory.model_copy(update={"task": task})})
    console = Console(file=io.StringIO(), width=80, highlight=False)
    page(console, chosen_rows([row], images), keyboard=io.StringIO(""))
    assert task.id in re.sub(r"\s+", "", output_of(console))


def test_a_change_of_the_terminals_size_comes_among_the_keys():
    main, end = pty.openpty()
    with open(end) as keyboard, open(main, "wb", buffering=0), resizes() as wake:
        os.kill(os.getpid(), signal.SIGWINCH)
        assert next(pressed(keyboard, wake)) == RESIZED


def test_without_a_keyboard_everything_is_printed():
    rows, images = demo_rows(3)
    console = Console(file=io.StringIO(), width=100, highlight=False)
    page(console, chosen_rows(rows, images), keyboard=io.StringIO("n"))
    text = plain_words(output_of(console))
    assert re.findall(r"task-(\d) .*?(\d) of 3", text) == [("1", "1"), ("2", "2"), ("3", "3")]
    assert text.count("verdict") == 3


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(view)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0
        return result

    return run


@pytest.fixture
def saved(tmp_path):
    rows, images = demo_rows(3)
    store.save(tmp_path / "run" / "eval" / "rows.jsonl", rows, images)
    return tmp_path / "run", rows


def test_json_prints_the_selected_rows_as_they_were_saved(command, saved):
    run, rows = saved
    lines = command(run, "--json").stdout.splitlines()
    assert [Saved.from_json(line) for line in lines] == rows
    assert command(run, "--json", "--index", 2).stdout.splitlines() == lines[1:2]
    assert command(run, "--json", "--id", "task-3").stdout.splitlines() == lines[2:]
    assert Saved.from_json(command("--demo", "--json").stdout) == demo()[0]


def test_html_goes_to_its_file_and_text_to_the_pipe(command, saved, tmp_path):
    run, _ = saved
    target = tmp_path / "page.html"
    result = command(run, "--html", target)
    assert result.stdout == ""
    assert f"wrote {target} (3 of 3 trajectories)" in result.stderr
    assert 'id="rows-0"' in target.read_text("utf-8")
    assert "[image img_0 960x640]" in command(run, "--index", 1).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a trajectory file or a run directory, or use --demo"),
        (["--demo", "x.jsonl"], "leave out x.jsonl"),
        (["RUN/evil"], r"no file or folder .*evil\. Did you mean 'eval'\?"),
        (["RUN/eval/images"], "holds no trajectories"),
        (["RUN", "--index", "0"], "--index 0 is out of range; there are trajectories 1 to 3"),
        (["RUN", "--index", "4"], "trajectories 1 to 3"),
        (["RUN", "--id", "task-33"], r"no trajectory has the id 'task-33'\. Did you mean 'task-3'\?"),
        (["RUN", "--id", "task-3", "--index", "3"], "either --index or --id"),
        (["--demo", "--html", "RUN"], "cannot write .*: it is not a regular file"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_in_one_line(command, saved, arguments, message):
    run, _ = saved
    with pytest.raises(ArmliteError, match=message) as error:
        command(*[a.replace("RUN", str(run)) for a in arguments])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
def test_a_reward_that_is_hardly_a_number_is_shown(command, saved, tmp_path, value):
    (row, *_), images = demo_rows(1)
    row = row.model_copy(update={"score": Score(parts={"answer": float(value), "format": 0.3})})
    store.save(tmp_path / "odd.jsonl", [row], images)
    assert re.search(rf"answer +{re.escape(f'{float(value):g}')}", command(tmp_path / "odd.jsonl").stdout)
    command(tmp_path / "odd.jsonl", "--html", tmp_path / "page.html")
    assert not re.search(r"width:(nan|inf)", article(entries([row])[0], {}))


def test_a_picture_without_width_is_told(command, saved):
    file = next(saved[0].rglob("rows.jsonl"))
    file.write_text(re.sub(r'"width":\d+', '"width":0', file.read_text("utf-8")), encoding="utf-8")
    with pytest.raises(
        ArmliteError, match=r"row 1, field trajectory\.images\.0\.width: Input should be greater than 0"
    ):
        command(file)
