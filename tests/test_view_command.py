"""`armlite view`: keys lead from trajectory to trajectory, a pipe gets text, JSON or a page, mistakes are one line."""

import io
import os
import pty
import re
import termios

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner
from view_rows import demo_rows, new_console, output_of, plain_words

from armlite import store
from armlite.cli.view import view
from armlite.errors import ArmliteError
from armlite.store import Saved
from armlite.types import Score
from armlite.view.demo import demo
from armlite.view.entries import entries
from armlite.view.html import article
from armlite.view.pager import page


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
        (b"9\rxq", [1]),
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
        page(console, rows, lambda _, info: images[info.file], protocol="none", keyboard=keyboard)
        assert termios.tcgetattr(end)[3] == before[3]
        assert before[3] & termios.ECHO
    os.close(end)
    assert [int(n) for n in re.findall(r"task-(\d)\x1b", output_of(console))] == visited
    assert output_of(console).count("\x1b[?1049h") == output_of(console).count("\x1b[?1049l") == 1


def test_without_a_keyboard_everything_is_printed():
    rows, images = demo_rows(3)
    console = Console(file=io.StringIO(), width=100, highlight=False)
    page(console, rows, lambda _, info: images[info.file], keyboard=io.StringIO("n"))
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
