"""Steps of a build: each is done once for the same inputs, goes on after a kill, and says why it is done anew.

A step's stamp, `steps/NAME.json`, holds its inputs (settings, and the digests of files) and, once it is done, its
counts and the digests of what it wrote. A step's own journal keeps what is done within it.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.data.making.output import Counts, rejects_of, work_of
from armlite.journal import DIGEST, differences
from armlite.store import file_digest, read_json, write_atomic


class Steps:
    """The steps of one folder.

    Args:
        out: the folder.
        say: told of each step whether it is made, made anew (and why), or there already.
    """

    def __init__(self, out: Path, say: Callable[[str], None]):
        self.out, self._say = out, say
        self.counts: dict[str, Counts] = {}
        """Of the steps so far, in order."""
        self.anew: dict[str, str] = {}
        """Steps that had been done with other inputs -> what has changed."""
        self.rejects: dict[str, Path] = {}

    def before(self, name: str) -> dict[str, Any]:
        """The inputs that a step was begun with; empty if it was not."""
        return dict(read_json(self._stamp(name), {}).get("inputs", {}))

    def run(self, name: str, inputs: Mapping[str, Any], outputs: Sequence[Path], make: Callable[[], Counts]) -> Counts:
        """Do a step, unless it is done.

        Args:
            name: in the stamp's file name.
            inputs: all that decides its result, plain data; files as digests.
            outputs: the files that it writes; the rejects are beside the first.
            make: does it; is called with none of `outputs` there.

        Raises:
            ArmliteError: from `make`; the step is then not done, and what its journal holds is kept.
        """
        stamp, inputs = read_json(self._stamp(name), None), json.loads(json.dumps(inputs))
        if stamp is None or stamp["inputs"] != inputs or not self._whole(stamp, outputs):
            if stamp is not None and stamp["inputs"] != inputs:
                self.anew[name] = _changed(stamp["inputs"], inputs)
                for file in outputs:
                    shutil.rmtree(work_of(file), ignore_errors=True)
            self._say(f"{name}: {f'made anew, since {self.anew[name]}' if name in self.anew else 'being made'}")
            for file in (*outputs, rejects_of(outputs[0])):
                file.unlink(missing_ok=True)
            write_atomic(self._stamp(name), json.dumps({"inputs": inputs}, indent=1) + "\n")
            counts = make()
            files = {str(file.relative_to(self.out)): file_digest(file) for file in outputs}
            stamp = {"inputs": inputs, "counts": counts.as_json(), "files": files}
            write_atomic(self._stamp(name), json.dumps(stamp, indent=1, ensure_ascii=False) + "\n")
        else:
            self._say(f"{name}: is there")
        found = dict(stamp["counts"])
        head = found.pop("in"), found.pop("kept"), Counter(found.pop("rejected"))
        self.counts[name], self.rejects[name] = Counts(*head, found), rejects_of(outputs[0])
        return self.counts[name]

    def table(self) -> list[dict[str, Any]]:
        """The counts of each step so far, in order."""
        return [{"step": step, **counts.as_json()} for step, counts in self.counts.items()]

    def rejected(self) -> list[dict[str, Any]]:
        """Each row that a step so far has left out, with the step."""
        return [
            {"step": step, **json.loads(line)}
            for step, file in self.rejects.items()
            if file.is_file()
            for line in file.read_text(encoding="utf-8").splitlines()
        ]

    def forget_others(self) -> None:
        """Remove what earlier recipes made and this one does not ask for."""
        for stamp in (self.out / "steps").glob("*.json"):
            if stamp.stem not in self.counts:
                files = [self.out / name for name in read_json(stamp).get("files", {})]
                mine = {name for one in self.counts for name in read_json(self._stamp(one))["files"]}
                for file in (f for f in files if str(f.relative_to(self.out)) not in mine):
                    file.unlink(missing_ok=True)
                    rejects_of(file).unlink(missing_ok=True)
                self._say(f"{stamp.stem}: is no part of the recipe any more")
                stamp.unlink()

    def _stamp(self, name: str) -> Path:
        return self.out / "steps" / f"{name}.json"

    def _whole(self, stamp: Mapping[str, Any], outputs: Sequence[Path]) -> bool:
        """Whether a step is done and what it wrote is there as it wrote it."""
        files = {str(file.relative_to(self.out)): file for file in outputs}
        known = stamp.get("files", {})
        return set(known) == set(files) and all(f.is_file() and file_digest(f) == known[n] for n, f in files.items())


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    key, was, now = differences(old, new)[0]
    if all(map(_is_content, (was, now))):
        return f"{key} has changed"
    return f"{key} was {was!r} and is {now!r}"


def _is_content(value: Any) -> bool:
    """Whether a value is a file's digest, or a list of such."""
    return all(DIGEST.fullmatch(str(one)) for one in (value if isinstance(value, list) else [value]))


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, at once."""
    write_atomic(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
