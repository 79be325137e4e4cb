"""Which trajectories to look at, and where their pixels are; mistakes in the choice are the user's."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from armlite import store
from armlite.errors import ArmliteError, nearest
from armlite.store import Saved
from armlite.types import ImageInfo
from armlite.view.entries import ALWAYS, Entry, Value, entries, opening
from armlite.view.where import fits, is_number, parse

RowPixels = Callable[[Saved, ImageInfo], Image.Image]
"""Opens the pixels of an image of a row; raises ArmliteError where they are gone."""


@dataclass(frozen=True)
class Selection:
    """What is looked at, and in which order."""

    where: str = ""
    """Conditions, as `armlite.view.where` reads them."""
    search: str = ""
    """Text that has to be in a row, in capitals or not."""
    sort: str = ""
    """A field; with `-` before it the largest come first. Rows without it come last."""
    n: int | None = None
    """So many at most."""
    beside: str = ""
    """A stage whose judgment of the same task is shown beside each."""


def load(path: Path | None, demo: bool = False) -> tuple[list[Saved], RowPixels]:
    """All rows below a path, or the demo's, and how to open their images.

    Raises:
        ArmliteError: nothing to read.
        DataError: a row that breaks its schema.
    """
    if demo:
        if path is not None:
            raise ArmliteError(f"--demo shows its own trajectory; leave out {path}")
        from armlite.view.demo import demo as make

        row, images = make()
        return [row], lambda _, info: images[info.file]
    if path is None:
        raise ArmliteError("name a trajectory file or a run directory, or use --demo")
    rows = list(store.read(path))
    if not rows:
        raise ArmliteError(f"{path} holds no trajectories")
    return rows, from_disk


def from_disk(row: Saved, info: ImageInfo) -> Image.Image:
    """Open an image of a row that `store.read` gave."""
    if row.path is None:
        raise ValueError("this row was not read from a file")
    return store.open_image(row.path, info)


def choose(rows: Sequence[Saved], index: int | None = None, id: str | None = None) -> list[Saved]:
    """The row with a number (from 1), all rows of a task id (its rollouts), or everything.

    Raises:
        ArmliteError: no such number, no such id, or both asked for.
    """
    if index is not None and id is not None:
        raise ArmliteError("use either --index or --id")
    if index is not None:
        if not 1 <= index <= len(rows):
            raise ArmliteError(f"--index {index} is out of range; there are trajectories 1 to {len(rows)}")
        return [rows[index - 1]]
    if id is None:
        return list(rows)
    found = [row for row in rows if row.trajectory.task.id == id]
    if not found:
        raise ArmliteError(f"no trajectory has the id {id!r}.{nearest(id, {row.trajectory.task.id for row in rows})}")
    return found


def select(found: Sequence[Entry], selection: Selection) -> list[Entry]:
    """The rows that fit, in the order wished for; at least one.

    Raises:
        ArmliteError: the conditions cannot be read, a field is not known, or nothing fits.
    """
    known = fields_of(found)
    conditions = parse(selection.where, known)
    if selection.n is not None and selection.n < 1:
        raise ArmliteError(f"--n {selection.n} shows nothing; give at least 1")
    wanted = selection.search.lower()
    kept = [entry for entry in found if fits(entry, conditions) and (not wanted or wanted in entry.text)]
    if not kept:
        raise ArmliteError(_nothing(found, selection))
    return in_order(kept, selection.sort, known)[: selection.n]


def in_order(found: Sequence[Entry], sort: str, known: Iterable[str]) -> list[Entry]:
    """Sorted by a field, smallest first (`-` before it: largest); rows without it come last.

    Raises:
        ArmliteError: there is no such field.
    """
    name = sort.removeprefix("-").lower()
    if not name:
        return list(found)
    if name not in {*known}:
        raise ArmliteError(
            f"--sort: there is no field {name!r}.{nearest(name, known)} Fields: {', '.join(sorted(known))}"
        )

    def key(entry: Entry) -> Value:
        return min(entry.fields[name])

    with_it = [entry for entry in found if name in entry.fields]
    return sorted(with_it, key=key, reverse=sort[0] == "-") + [entry for entry in found if name not in entry.fields]


def fields_of(found: Sequence[Entry]) -> set[str]:
    """Fields that can be named: those of every row, and the parts of the rewards that these have."""
    return {*ALWAYS, *(name for entry in found for name in entry.fields)}


def _nothing(found: Sequence[Entry], selection: Selection) -> str:
    """That nothing fits, and what there is of the fields that were named."""
    said = [f"--where {selection.where!r}"] if selection.where else []
    said += [f"--search {selection.search!r}"] if selection.search else []
    there = []
    for condition in {c.field: c for part in parse(selection.where, fields_of(found)) for c in part}.values():
        name = condition.field
        values = {v for entry in found for v in entry.fields.get(name, ())}
        if not values:
            there.append(f"none has {name}")
        elif is_number(name):
            numbers = [v for v in values if not isinstance(v, str)]
            there.append(f"{name} is {min(numbers):g} to {max(numbers):g}")
        else:
            few = sorted(map(str, values))
            there.append(f"{name} is {', '.join(few[:8])}{', ...' if len(few) > 8 else ''}")
    return f"no trajectory fits {' and '.join(said)}{': ' if there else ''}{'; '.join(there)}"


@dataclass(frozen=True)
class Chosen:
    """What a command line chose to look at."""

    entries: list[Entry]
    """Those that fit, in order."""
    everything: list[Entry]
    """All that was read."""
    beside: list[Entry | None]
    """For each of `entries` the one to compare it with; empty: nothing is compared."""
    pixels: RowPixels
    opening: str
    """The conditions that a look at everything begins with; empty where something was chosen."""


def gather(
    path: Path | None,
    demo: bool,
    selection: Selection,
    compare: tuple[str, str] | None = None,
    index: int | None = None,
    id: str | None = None,
) -> Chosen:
    """Read rows and choose.

    Args:
        path: a file or folder of trajectories.
        demo: the demo's in its place.
        selection: what fits.
        compare: two stages: those after the second, each with the same task after the first.
        index: only the row with this number, from 1, of those that fit.
        id: only rows of this task.

    Raises:
        ArmliteError: nothing to read, or nothing fits.
    """
    rows, pixels = load(path, demo)
    everything = entries(rows, path)
    if id is not None:
        choose(rows, index, id)
        everything = [entry for entry in everything if entry.row.trajectory.task.id == id]
    found = everything
    if compare is not None:
        found = [e for e in everything if fits(e, parse(f'stage="{compare[1]}"'))]
        for stage in compare:
            if all(e.first("stage") != stage for e in everything):
                stages = sorted({str(e.first("stage")) for e in everything if "stage" in e.fields})
                raise ArmliteError(f"--compare: there is no stage {stage!r}; there are {', '.join(stages) or 'none'}")
    found = select(found, selection)
    if index is not None:
        number = index - 1
        choose([entry.row for entry in found], index)
        found = [found[number]]
    whole = selection == Selection() and compare is None and index is None and id is None
    return Chosen(
        entries=found,
        everything=everything,
        beside=partners(found, everything, compare[0]) if compare else [],
        pixels=pixels,
        opening=opening(everything) if whole else "",
    )


def partners(found: Sequence[Entry], everything: Sequence[Entry], stage: str) -> list[Entry | None]:
    """For each row the judgment of the same task, in the same round and order of responses, after another stage."""

    def key(entry: Entry) -> tuple[object, ...]:
        trajectory = entry.row.trajectory
        return trajectory.task.id, entry.first("round"), trajectory.order, trajectory.rollout

    there = {key(e): e for e in reversed(everything) if e.first("stage") == stage}
    anyhow = {e.row.trajectory.task.id: e for e in reversed(everything) if e.first("stage") == stage}
    return [there.get(key(entry)) or anyhow.get(entry.row.trajectory.task.id) for entry in found]
