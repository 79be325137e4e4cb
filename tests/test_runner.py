"""The runner: many jobs, each to its own end; a fault is its job's alone; nobody waits for the slowest."""

import ast
import queue
import threading
import time
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError, InputError
from armlite.judge import Judge
from armlite.loop import Reply
from armlite.memory import Memory
from armlite.models.lazy import LazyModel
from armlite.models.sampling import Sampling
from armlite.models.scripted import ScriptedModel
from armlite.runner import AHEAD, Job, run_jobs
from armlite.tools import register
from armlite.tools.tool import tool
from armlite.types import Observation, StopReason, Task

PACKAGE = Path(__file__).parents[1] / "armlite"
ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"


def call(name, **arguments):
    import json

    return f"<think>I look.</think>\n<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def task(name, **fields):
    return Task(**{"id": name, "kind": "pairwise", "question": "Which?", "responses": ("a", "b")} | fields)


def job(name, root=".", **fields):
    return Job(task(name, **fields), EpisodeSettings(), root)


class Timed:
    """A model that takes some seconds for each turn, any number of them at once; it keeps count of those in flight."""

    name, in_flight = "timed", 4

    def __init__(self, seconds, threads=0):
        self.seconds, self.threads = seconds, threads
        self.most, self._open, self._ended = 0, 0, queue.SimpleQueue()

    def session(self):
        return self

    def submit(self, conversation):
        self._open += 1
        self.most = max(self.most, self._open)
        threading.Timer(self.seconds(conversation), self._ended.put, (conversation,)).start()

    def wait(self):
        conversation = self._ended.get()
        if conversation is None:
            return []
        self._open -= 1
        return [(conversation, self.reply(conversation))]

    def reply(self, conversation):
        return Reply(ANSWER)

    def wake(self):
        self._ended.put(None)

    def close(self, conversation):
        pass


def test_the_loop_is_called_by_the_runner_alone():
    callers = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "armlite.loop":
                callers |= {file.relative_to(PACKAGE).as_posix() for alias in node.names if alias.name == "play"}
            if isinstance(node, ast.Attribute) and node.attr == "play" and ast.unparse(node.value).endswith("loop"):
                callers.add(file.relative_to(PACKAGE).as_posix())
    assert callers == {"runner.py"}


DRIVES_ONE = {
    "bench/run.py": "replays its script to know how long it is",
    "evals/faithfulness.py": "replays finished judgments, to change what was seen in them",
    "loop.py": "is the loop",
    "pocket/baselines.py": "one fixed call without a model",
    "pocket/lab/baselines.py": "fixed calls without a model",
    "train/environment.py": "replays a completion of TRL's own loop",
    "view/demo.py": "one scripted judgment for people",
}


def test_no_other_code_drives_episodes():
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "advance":
                found.add(file.relative_to(PACKAGE).as_posix())
    assert found == set(DRIVES_ONE), "an episode is advanced by the loop; elsewhere a model is never asked"


def test_the_next_job_begins_when_one_ends_and_outcomes_come_as_they_end():
    model = Timed(lambda conversation: 0.3 if conversation.task_id == "slow" else 0.01)
    jobs = [job("slow"), *(job(f"t{i}") for i in range(12))]
    opened = []
    ended = [o.task.id for o in run_jobs((opened.append(j.task.id) or j for j in jobs), model)]
    assert ended[-1] == "slow" and sorted(ended) == sorted(opened)
    assert model.most == 4, "as many at once as the model can use"
    one = Timed(lambda _: 0.001)
    assert [o.task.id for o in run_jobs(jobs, one, in_flight=1)] == [j.task.id for j in jobs] and one.most == 1


@pytest.mark.parametrize(("ahead", "most"), [(False, 6), (True, 6 + AHEAD)])
def test_jobs_are_taken_when_there_is_room_and_not_much_earlier(ahead, most):
    taken = []
    jobs = (taken.append(i) or job(f"t{i}") for i in range(100))
    outcomes = run_jobs(jobs, ScriptedModel([ANSWER]), in_flight=3, ahead=ahead)
    next(outcomes)
    assert len(taken) <= most
    outcomes.close()
    assert len(taken) <= most


class Noted(Job):
    """Writes down which thread opens it."""

    opened: dict[str, str] = {}

    def open(self):
        Noted.opened[self.task.id] = threading.current_thread().name
        if self.task.id == "bad":
            raise InputError("nothing is there")
        return super().open()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_local_model_does_not_wait_for_files_that_threads_can_open_meanwhile(ahead, monkeypatch):
    monkeypatch.setattr(Noted, "opened", {})
    names = [*(f"t{i}" for i in range(12)), "bad", *(f"t{i}" for i in range(12, 20))]
    jobs = [Noted(task(name), EpisodeSettings()) for name in names]
    known, least = [], 1 + AHEAD if ahead else 2
    """What had been opened when the second one was at the model, and how much is to be."""

    def seconds(conversation):
        if conversation.task_id == "t1":
            end = time.monotonic() + 30
            while len(Noted.opened) < least and time.monotonic() < end:  # nothing but threads can open them now
                time.sleep(0.005)
            known.extend(Noted.opened)
        return 0.01

    start = time.monotonic()
    outcomes = list(run_jobs(jobs, Timed(seconds), in_flight=1, ahead=ahead))
    elapsed = time.monotonic() - start
    assert [o.task.id for o in outcomes] == names, "in their order, whoever was open first"
    assert [o.task.id for o in outcomes if o.fault] == ["bad"]
    assert any("opening" in thread for thread in Noted.opened.values()) == ahead
    assert set(known) == set(names[:least])
    assert sum(o.seconds for o in outcomes) <= elapsed, "the time in line does not count"


def test_a_server_has_threads_of_its_own_that_open_files():
    jobs = [Noted(task(f"t{i}"), EpisodeSettings()) for i in range(4)]
    list(run_jobs(jobs, Timed(lambda _: 0.01, threads=2)))
    assert not any("opening" in Noted.opened[job.task.id] for job in jobs)


def test_a_bug_while_a_job_is_opened_ahead_is_raised_in_its_turn():
    class Broken(Job):
        def open(self):
            raise RuntimeError("a bug")

    played = run_jobs([job("a"), job("b"), Broken(task("c"), EpisodeSettings())], Timed(lambda _: 0.01), in_flight=1)
    assert next(played).task.id == "a"
    with pytest.raises(RuntimeError, match="a bug"):
        list(played)


def test_jobs_may_come_while_others_are_played_and_the_run_ends_when_none_is_left():
    model = Timed(lambda conversation: 0.3 if conversation.task_id == "first" else 0.01)
    waiting = queue.SimpleQueue()

    def come():
        for name in ("second", "third"):
            time.sleep(0.05)
            waiting.put(job(name))
            model.wake()

    coming = threading.Thread(target=come)
    coming.start()
    jobs = iter(lambda: waiting.get() if not waiting.empty() else None, "never")
    ended = [o.task.id for o in run_jobs(chain([job("first")], jobs), model)]
    coming.join()
    assert ended == ["second", "third", "first"], "they joined, and left as they ended"


class Left(Job):
    """Nobody waits for it any more once it has been played for a while."""

    gone = threading.Event()
    wanted = property(lambda self: not self.gone.is_set())


@pytest.mark.parametrize("threads", [0, 4])
def test_a_job_that_nobody_waits_for_any_more_is_closed_and_gives_its_place_to_the_next(threads):
    model = Timed(lambda conversation: 0.4 if conversation.task_id == "left" else 0.5, threads)
    closed, jobs = [], [Left(task("left"), EpisodeSettings()), job("next")]
    model.close = lambda conversation: closed.append((conversation.task_id, time.monotonic() - start))
    Left.gone.clear()
    start = time.monotonic()
    threading.Timer(0.1, lambda: (Left.gone.set(), model.wake())).start()
    outcomes = list(run_jobs(jobs, model, in_flight=1))
    assert [o.task.id for o in outcomes] == [name for name, _ in closed] == ["left", "next"]
    assert closed[0][1] < 0.3, "at once, and what the model still says of it is not listened to"
    assert outcomes[0].episode.stop is None and outcomes[1].trajectory.decision == 1


@pytest.fixture
def spoilt(tmp_path):
    """Files that cannot be read, each in its own way, and jobs that need them."""
    whole = Image.radial_gradient("L").convert("RGB")
    whole.save(tmp_path / "good.png")
    whole.save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:-4000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "letter.pdf").write_text("Dear Sir,")
    return tmp_path


BAD = {
    "missing": ({"images": ("no.png",)}, "no.png does not exist"),
    "half": ({"images": ("half.png",)}, "half.png cannot be read"),
    "empty": ({"images": ("good.png", "empty.png")}, "empty.png cannot be read"),
    "no pdf": ({"document": "letter.pdf"}, "letter.pdf is not a PDF"),
}


def test_a_job_that_cannot_be_opened_is_an_outcome_with_a_fault_and_the_rest_is_played(spoilt):
    jobs = [job(name, spoilt, **fields) for name, (fields, _) in BAD.items()]
    jobs = [job("a", spoilt, images=("good.png",)), *jobs, job("z")]
    found = {o.task.id: o for o in run_jobs(jobs, ScriptedModel([ANSWER], "m"))}
    assert set(found) == {"a", "z", *BAD}
    for name, (_, why) in BAD.items():
        outcome = found[name]
        assert outcome.fault.whose == "data" and why in outcome.fault.reason
        assert outcome.trajectory.stop is StopReason.BAD_INPUT and outcome.trajectory.fault == outcome.fault
        assert (outcome.trajectory.model, outcome.trajectory.order, outcome.trajectory.steps) == ("m", (1, 2), ())
        assert (outcome.images, outcome.tokens) == ({}, 0)
    for name in ("a", "z"):
        assert found[name].fault is None and found[name].trajectory.decision == 1
    assert len(found["a"].images) == 1


def test_a_file_that_breaks_amid_an_episode_ends_that_episode_alone(spoilt, monkeypatch):
    @tool(needs="nothing")
    def look_up(memory, /, entry: int):
        """Look into a file of one's own.

        Args:
            entry: Which.
        """
        raise InputError(f"torn.db: entry {entry} cannot be read")

    monkeypatch.setattr("armlite.tools._REGISTERED", {})
    register(look_up)
    look = call("look_up", entry=35)
    model = ScriptedModel(lambda c: look if c.task_id == "torn" and c.turns == 0 else ANSWER)
    jobs = [job("torn", spoilt, images=("good.png",)), job("whole")]
    torn, whole = sorted(run_jobs(jobs, model), key=lambda o: o.task.id)
    assert torn.fault.whose == "data" and "torn.db: entry 35 cannot be read" in torn.fault.reason
    assert torn.trajectory.stop is StopReason.BAD_INPUT
    assert torn.trajectory.steps[-1].turn.call.arguments["entry"] == 35, "what was asked for is on record"
    assert torn.trajectory.steps[-1].observation is None and len(torn.trajectory.images) == 1
    assert whole.trajectory.decision == 1


def test_a_tool_that_cannot_work_is_the_users_fault_and_a_bug_in_one_is_raised(monkeypatch):
    monkeypatch.setattr("armlite.tools._REGISTERED", {})

    @tool
    def ask_sensor(memory: Memory, /) -> Observation:
        """Ask the sensor."""
        raise ArmliteError("the sensor is not plugged in")

    @tool
    def divide(memory: Memory, /) -> Observation:
        """Divide."""
        return Observation(ok=True, text=str(1 / 0))

    register(ask_sensor)
    register(divide)
    [outcome] = run_jobs([job("t")], ScriptedModel([call("ask_sensor"), ANSWER]))
    assert (outcome.fault.whose, outcome.fault.reason) == ("user", "the sensor is not plugged in")
    with pytest.raises(ZeroDivisionError):
        list(run_jobs([job("t")], ScriptedModel([call("divide"), ANSWER])))


def test_a_model_that_cannot_be_asked_is_the_models_fault():
    [outcome] = run_jobs([job("t")], ScriptedModel([Reply("no route", "error")]))
    assert (outcome.fault.whose, outcome.fault.reason) == ("model", "no route")
    assert outcome.trajectory.stop is StopReason.MODEL_ERROR


def test_a_model_is_not_loaded_for_jobs_that_cannot_be_opened():
    nowhere = LazyModel("no/where/at/all", Sampling(), {})
    [outcome] = run_jobs([job("t", images=("no.png",))], nowhere)
    assert outcome.fault is not None
    with pytest.raises(ArmliteError, match="no model"):
        list(run_jobs([job("t")], nowhere))


def test_a_judge_says_what_could_not_be_read(spoilt):
    verdict = Judge(ScriptedModel([ANSWER])).judge(task("t", images=("half.png",)), root=spoilt)
    assert (verdict.status, verdict.choice) == ("bad_input", None)
    assert "half.png cannot be read" in verdict.rationale
    votes = Judge(ScriptedModel([ANSWER])).judge(task("t"), votes=3)
    assert (votes.status, len(votes.trajectories)) == ("judged", 3)


def test_beside_a_server_tools_run_in_threads_while_others_go_on(monkeypatch):
    monkeypatch.setattr("armlite.tools._REGISTERED", {})
    names = []

    @tool
    def dawdle(memory: Memory, /) -> Observation:
        """Look at nothing for a while."""
        names.append(threading.current_thread().name)
        time.sleep(0.3)
        return Observation(ok=True, text="nothing")

    register(dawdle)
    jobs = [job("slow"), *(job(f"t{i}") for i in range(9))]
    for threads in (0, 2):
        model = Timed(lambda _: 0.01, threads)
        model.reply = lambda c: Reply(call("dawdle") if c.task_id == "slow" and c.turns == 0 else ANSWER)
        steps = []
        ended = [o.task.id for o in run_jobs(jobs, model, on_step=lambda *step, steps=steps: steps.append(step))]
        assert len(ended) == 10 and len(steps) == 11
        assert (ended[-1] == "slow") == bool(threads), "without threads the others wait for the tool"
    assert names[0] == "MainThread" and names[1].startswith("armlite-tools")


def test_a_bug_in_a_thread_is_raised_and_not_swallowed(monkeypatch):
    monkeypatch.setattr("armlite.episode.Episode.advance", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(run_jobs([job("t")], Timed(lambda _: 0.001, threads=2)))


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda memory: memory.images["img_0"].paste("red", (0, 0, 4, 4)), RuntimeError, "changed img_0"),
        (lambda memory: "a text", TypeError, "gave str, not an Observation"),
    ],
)
def test_a_tool_may_neither_paint_what_is_recorded_nor_give_something_else(spoil, error, says, tmp_path, monkeypatch):
    monkeypatch.setattr("armlite.tools._REGISTERED", {})

    @tool
    def careless(memory: Memory, /) -> Observation:
        """Do it wrongly."""
        return spoil(memory) or Observation(ok=True, text="done")

    register(careless)
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "a.png")
    model = ScriptedModel([call("careless"), ANSWER])
    with pytest.raises(error, match=says):
        list(run_jobs([job("t", tmp_path, images=("a.png",))], model))


def test_whoever_stops_asking_does_not_wait_for_a_slow_tool(monkeypatch):
    monkeypatch.setattr("armlite.tools._REGISTERED", {})
    begun, ends = threading.Event(), threading.Event()

    @tool
    def hang(memory: Memory, /) -> Observation:
        """Come back only when told."""
        begun.set()
        ends.wait(60)
        return Observation(ok=True, text="back")

    register(hang)
    model = Timed(lambda _: 0.01, threads=2)
    model.reply = lambda c: Reply(call("hang") if c.task_id == "slow" and c.turns == 0 else ANSWER)
    outcomes = run_jobs([job("quick"), job("slow"), *(job(f"t{i}") for i in range(40))], model)
    while not begun.is_set():
        next(outcomes)
    working = [t for t in threading.enumerate() if t.name == "armlite-tools"]
    outcomes.close()
    assert working and all(thread.daemon for thread in working), "nor does the process"
    ends.set()
