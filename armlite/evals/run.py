"""An evaluation: tasks in, judgments on disk as they are made, the benchmark's own figures out.

It goes on where a killed run stopped and makes failed judgments again; results depend neither on how many are in
flight nor on where it was interrupted. Scorers are in `armlite.evals.benchmarks` and `armlite.evals.tasks`, other
figures in `armlite.evals.conduct`.
"""

import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, Unpack

from armlite.data.convert import MISSING, convert, missing_words
from armlite.data.files import find_files
from armlite.data.tasks import moved, read_tasks, write_tasks
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import get_benchmark
from armlite.evals.figures import Benchmark
from armlite.evals.folder import TASKS, TRAJECTORIES, EvalRun, EvalSettings, read_run
from armlite.evals.likeness import BUDGETS, changed, like, request_fields, single_rules
from armlite.evals.orders import chosen_order, presented
from armlite.evals.report import summarise, write_results
from armlite.evals.tasks import ACCURACY, POCKET, is_tasks
from armlite.evals.writer import Writer
from armlite.journal import Journal, is_begun
from armlite.judge import VOTING_TEMPERATURE, Judge
from armlite.lock import held
from armlite.loop import ChatModel
from armlite.models import asked_at_once, maker_of, model_prefix
from armlite.models.endpoint import parse_spec, place_free
from armlite.models.lazy import writer_of
from armlite.runner import Job, run_jobs
from armlite.store import Saved, file_digest, pieces_digest, write_atomic
from armlite.tools.checks.measures import splitter_of
from armlite.tools.documents import ocr
from armlite.types import Task

SILENT = 16
"""A judge that gives no verdict in a third of so many judgments, the first, is told of."""
POCKET_TASKS = 300
"""How many pocket tasks an evaluation makes unless told otherwise."""
Told = Callable[[int, int | None], None]
"""Called with (done, of how many; None: not known)."""


def benchmark_of(name: str) -> Benchmark:
    """The benchmark that a word stands for: a name, `pocket`, or a JSONL file of tasks.

    Raises:
        ArmliteError: there is none; names the nearest.
    """
    return ACCURACY if is_tasks(name) else get_benchmark(name)


def default_folder(model: str, tools: bool) -> Path:
    """`runs/eval/<model>`: where runs go that were given no place."""
    name = place_free(model.removeprefix("openai:"))
    slug = re.sub(r"[^\w.]+", "-", name).strip("-.") or "model"
    return Path("runs/eval") / (slug if tools else f"{slug}-no-tools")


class Asked(TypedDict, total=False):
    """How an evaluation is asked for, as keywords of `run_benchmark`."""

    n: int | None
    """The first so many items; all unless given."""
    tools: bool
    """Show the model tools; True unless given."""
    votes: int
    """Rollouts of each presented order, 1 unless given; more than one of a greedy model are warmed up."""
    order: str | None
    """How responses are presented, one of `ORDERS`; None: as the official protocol does."""
    swap: bool | None
    """Judge pairs in both orders, or in one; None: as `order` says."""
    temperature: float
    """0, greedy, unless given."""
    seed: int
    """Random seed of pocket tasks, seeded orders and sampling; 0 unless given."""
    max_calls: int | None
    """Tool calls before the judge has to answer; None: as the judge's rules say."""
    skip_missing: bool
    """Judge without the items whose image files are not there."""
    like: str | None
    """`reference`: prompts, tools, limits and budgets as a published checkpoint was evaluated."""
    rule: Sequence[str]
    """`KEY=VALUE` for single rules of a judgment, as in `armlite.evals.likeness.RULES`; they win over `like`."""


def run_benchmark(
    name: str,
    model: str,
    path: Path | None = None,
    out: Path | None = None,
    *,
    workers: int | None = None,
    on_progress: Told | None = None,
    options: Mapping[str, Any] | None = None,
    **asked: Unpack[Asked],
) -> dict[str, Any]:
    """Judge a benchmark and score it, or go on with that.

    Args:
        name: of the benchmark; `pocket`; or a JSONL file of tasks.
        model: anything that `Judge.load` takes.
        path: folder of the published files; None: the hub.
        out: folder that the run's own folder, `<out>/<name>`, goes to.
        workers: episodes in flight; None: as many as the model can use.
        on_progress: called with (rows read, None), then with (judgments made, of how many).
        options: further ones of `Judge.load`.
        asked: how it is judged.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ArmliteError: no such benchmark, model or data, image files that are missing, or a folder of another run.
    """
    benchmark = benchmark_of(name)
    if path is not None and not path.exists():
        raise ArmliteError(f"there is no folder {path} to read {name} from")
    rules = _rules(name, asked)
    judge = _judge(name, model, rules, {**asked_at_once(model, workers), **(options or {})}, asked)
    settings = settings_of(benchmark, name, path, model, judge, rules, asked)
    folder = (out or default_folder(model, settings.tools)) / Path(name).stem

    def prepare() -> None:
        check_model_of(model)
        _prepare(name, path, folder, settings, on_progress or (lambda done, total: None))

    return judge_folder(folder, settings, judge, prepare, workers, model_prefix(model) is not None, on_progress)


def swap_observations(
    name: str, model: str, out: Path | None = None, options: Mapping[str, Any] | None = None, **asked: Unpack[Asked]
) -> dict[str, Any]:
    """Find out whether the verdicts of a finished evaluation follow from what its tools showed
    (`armlite.evals.faithfulness`); keeps the figures as `faithfulness.json` in its folder.

    Args:
        name: of the benchmark, as the others as `run_benchmark` was given them.

    Raises:
        ArmliteError: the model is a server's, no judgment is right and has a call, or as `run_benchmark`.
    """
    if model_prefix(model) is not None:
        raise ArmliteError(f"--faithfulness asks the model's own weights for probabilities, and {model} is elsewhere")
    from armlite.evals.faithfulness import faithfulness

    judge = _judge(name, model, _rules(name, asked), options or {}, asked)
    folder = (out or default_folder(model, asked.get("tools", True))) / Path(name).stem
    found = faithfulness(folder, judge.settings, judge.model.load())  # type: ignore[attr-defined]  # it is lazy
    write_atomic(folder / "faithfulness.json", json.dumps(found, indent=2) + "\n")
    return found


def judge_folder(
    folder: Path,
    settings: EvalSettings,
    judge: Judge,
    prepare: Callable[[], None],
    workers: int | None = None,
    alone: bool | None = None,
    on_progress: Told | None = None,
) -> dict[str, Any]:
    """Judge the tasks of a run's folder and score them, or go on with that.

    Args:
        folder: of the run.
        settings: all that decides its figures.
        judge: the model, and the rules that it judges by.
        prepare: writes the folder's `tasks.jsonl`; called where the run has not been begun.
        workers: episodes in flight; None: as many as the model can use.
        alone: as for `judge_jobs`.
        on_progress: called with (judgments made, of how many).

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ArmliteError: the folder is another run's, or from `prepare` or the model.
    """
    with held(folder):
        begun = is_begun(folder / TRAJECTORIES, settings.model_dump(mode="json"))
        if not begun or not (folder / TASKS).is_file():
            prepare()
        journal = Journal(folder / TRAJECTORIES, settings.model_dump(mode="json"))
        jobs = jobs_of(read_tasks(folder / TASKS), judge.settings, folder, settings)
        journal.redo_faults(jobs)
        judge_jobs(jobs, judge.model, journal, workers, alone, on_progress)
        return finish(folder)


def _rules(name: str, asked: Asked) -> dict[str, Any]:
    """The rules that differ from the judge's own; `order` among them where the reference says it."""
    word, calls = asked.get("like"), asked.get("max_calls")
    found = like(word, name) if word else {}
    return found | ({} if calls is None else {"max_calls": calls}) | single_rules(asked.get("rule", ()))


def _judge(name: str, model: str, rules: Mapping[str, Any], options: Mapping[str, Any], asked: Asked) -> Judge:
    """The judge with the rules it is to go by.

    Raises:
        ArmliteError: as `Judge.load`, or a value that a rule cannot have.
    """
    votes = asked.get("votes", 1)
    if votes < 1:
        raise ArmliteError(f"--votes {votes} must be at least 1")
    warmth = asked.get("temperature", 0.0) or (VOTING_TEMPERATURE if votes > 1 else 0.0)
    given = {"top_logprobs": 0} | {key: rules[key] for key in BUDGETS if key in rules}  # no figure is made of them
    given |= {key: value for key, value in options.items() if value is not None}
    if fields := request_fields(model, name) if asked.get("like") else {}:
        given["extra"] = {**fields, **given.get("extra", {})}
    judge = Judge.load(model, temperature=warmth, seed=asked.get("seed", 0), **given)
    settings = changed(judge.settings, rules)
    judge.settings = settings if asked.get("tools", True) else settings.model_copy(update={"tools": ()})
    return judge


def settings_of(
    benchmark: Benchmark,
    name: str,
    path: Path | None,
    model: str,
    judge: Judge,
    rules: Mapping[str, Any],
    asked: Asked,
) -> EvalSettings:
    """All that decides the figures of this run."""
    own, warmth = judge.settings, judge.model.sampling.temperature  # type: ignore[attr-defined]  # it is lazy
    machine = {"ocr": ocr.available(), "splitter": splitter_of(own.limits.verifier_mode)}
    return EvalSettings(
        benchmark=Path(name).name if is_tasks(name) else name,
        model=place_free(model),
        path=None if path is None else str(path.resolve()),
        digest=_input_digest(benchmark, name, path),
        n=asked.get("n"),
        tools=asked.get("tools", True),
        votes=asked.get("votes", 1),
        order=chosen_order(asked.get("order") or rules.get("order", benchmark.order), asked.get("swap")),
        temperature=warmth,
        seed=asked.get("seed", 0),
        max_calls=own.max_calls if own.tools != () else 0,
        episode={**own.model_dump(mode="json", exclude={"max_calls"}), **machine},
        writer=writer_of(judge.model),
        skip_missing=asked.get("skip_missing", False),
    )


def _input_digest(benchmark: Benchmark, name: str, path: Path | None) -> str | None:
    if is_tasks(name):
        return None if name == POCKET else file_digest(Path(name))
    if path is None or benchmark.dataset is None:
        return None
    with suppress(ArmliteError):  # files that are not there are told of when they are read
        return pieces_digest(find_files(benchmark.dataset, path), path if path.is_dir() else path.parent)
    return None


def finish(folder: Path) -> dict[str, Any]:
    """Score what a run's folder holds and write summary, report, official files and exports; returns the summary."""
    run: EvalRun = read_run(folder)
    benchmark = benchmark_of(run.settings.benchmark)
    summary = summarise(benchmark, run)
    write_results(benchmark, run, summary)
    return summary


def check_model_of(model: str) -> None:
    """Find out that there is no such model before rows are converted for it.

    Raises:
        ArmliteError: as `Judge.load` and loading would later.
    """
    prefix = model_prefix(model)
    if prefix is None:
        from armlite.models.places import check_model

        check_model(model)
    elif maker_of(prefix) and prefix == "openai":
        parse_spec(model)


def jobs_of(tasks: Iterable[Task], rules: EpisodeSettings, root: Path, settings: EvalSettings) -> list[Job]:
    """All judgments of a run. Rollouts are numbered through a task's orders, so each has a random stream of its own."""
    return [
        Job(task, rules, root, shown, first * settings.votes + vote)
        for task in tasks
        for first, shown in enumerate(presented(task, settings.order, settings.seed))
        for vote in range(settings.votes)
    ]


def judge_jobs(
    jobs: Sequence[Job],
    model: ChatModel,
    journal: Journal,
    in_flight: int | None = None,
    alone: bool | None = None,
    on_progress: Told | None = None,
) -> None:
    """Make the judgments that the journal has no row for, and write each down as it is made.

    Args:
        alone: a judgment's seconds are its own (a server's), or its share of the time that all take; None: no seconds
            are kept, so that equal judgments are equal rows.
    """
    told = on_progress or (lambda done, total: None)
    left, last, stops = journal.left(jobs), time.monotonic(), Counter[str]()
    told(len(jobs) - len(left), len(jobs))
    played = enumerate(run_jobs(left, model, in_flight=in_flight), len(jobs) - len(left) + 1)
    with Writer(journal) as writer:
        for number, outcome in played:
            now = time.monotonic()
            seconds, last = (outcome.seconds if alone else now - last), now
            timed = None if outcome.fault is not None or alone is None else round(seconds, 4)
            row = Saved(trajectory=outcome.trajectory, seconds=timed, alone=bool(alone))
            writer.add(row, outcome.images, Path(outcome.job.root))
            told(number, len(jobs))
            if outcome.fault is None:
                stops["judged" if row.trajectory.decision is not None else row.trajectory.stop.value] += 1
                if alone and stops.total() == min(len(left), SILENT):
                    _warn_of_silence(stops)


def _warn_of_silence(stops: Counter[str]) -> None:
    """Tell early that a served judge gives few verdicts: the figures of an hour later would be of something else."""
    silent = stops.total() - stops["judged"]
    if 3 * silent < stops.total():
        return
    why = ", ".join(f"{stop} {count}" for stop, count in stops.most_common() if stop != "judged")
    advice = "if armlite trained this judge, give the rules that go with it: --rules RUN|FILE"
    said = f"{silent} of the first {stops.total()} judgments have no verdict ({why}): {advice}"
    warnings.warn(said, UserWarning, stacklevel=2)


def _prepare(name: str, path: Path | None, folder: Path, settings: EvalSettings, told: Told) -> None:
    """Write the run's `tasks.jsonl`."""
    if name == POCKET:
        from armlite.pocket.world import generate

        write_tasks(folder / TASKS, generate("test", settings.n or POCKET_TASKS, settings.seed, folder))
        return
    if (dataset := benchmark_of(name).dataset) is None:
        tasks = read_tasks(name)[: settings.n]
        if not any(task.gold is not None for task in tasks):
            raise ArmliteError(f"{name}: no task has a gold answer, so there is nothing to score")
        write_tasks(folder / TASKS, [moved(task, Path(name).parent, folder) for task in tasks])
        return
    made = convert(dataset, path, folder / TASKS, n=settings.n, on_row=lambda rows: told(rows, None))
    if made.missing and not settings.skip_missing:
        (folder / TASKS).unlink()
        raise ArmliteError(
            f"{name}: {len(made.missing)} files that {made.incomplete} rows name are not there "
            f"(all in {folder / MISSING}; --skip-missing judges without them): {missing_words(made.missing, path)}"
        )
