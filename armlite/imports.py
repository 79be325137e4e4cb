"""The user's own Python files and modules, run before names are looked up: their tools, rewards and models are known
then.

They run only where the user says so, on the command line or in the recipe given to `train`. Those that a run directory
lists are told and not run: a stranger's run must not run a stranger's code.
"""

import hashlib
import logging
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError, nearest

_RAN: list[str] = []
_NOT_RUN: list[str] = []
_LIBRARIES = (str(Path(__file__).parent), *(sysconfig.get_path(p) for p in ("stdlib", "purelib", "platlib")))


def located(names: Iterable[str], folder: Path | str = ".") -> list[str]:
    """Imports as they are found from anywhere: the path of a `.py` file, relative to `folder`, is made absolute."""
    return [str(Path(folder, Path(n).expanduser()).resolve()) if n.endswith(".py") else n for n in names]


def run_imports(names: Iterable[str]) -> None:
    """Run files (`my_tools.py`) and modules (`mypkg.rewards`, from the current folder or installed), each once a
    process.

    Raises:
        ArmliteError: there is no such file or module, or it fails; names the file and the line.
    """
    for name in names:
        path = Path(name).expanduser()
        if name.endswith(".py"):
            if not path.is_file():
                near = nearest(path.name, [p.name for p in path.parent.glob("*.py")]) if path.parent.is_dir() else ""
                raise ArmliteError(f"cannot import {name}: there is no such file.{near}")
        elif not all(part.isidentifier() for part in name.split(".")):
            raise ArmliteError(f"cannot import {name!r}: give a .py file or a module, such as mypkg.rewards")
        try:
            _run_file(path.resolve()) if name.endswith(".py") else _run_module(name)
        except (Exception, SystemExit) as error:
            raise ArmliteError(f"cannot import {name}: {_told(error, name)}") from error
        _RAN.append(name)


def list_imports(names: Iterable[str]) -> None:
    """Say in a line that a run directory's imports are not run, those that the user has run himself left out."""
    ran = {Path(name).name for name in _RAN}
    new = [name for name in names if Path(name).name not in ran and name not in _NOT_RUN]
    if new:
        _NOT_RUN.extend(new)
        logging.getLogger("armlite").warning(imports_hint().removeprefix(". "))


def imports_hint() -> str:
    """What to add to a complaint about an unknown name: the listed imports that might know it, or nothing."""
    if not _NOT_RUN:
        return ""
    options = " ".join(f"--import {name}" for name in _NOT_RUN)
    return f". The run lists imports, which are not run unless you say so: {options}"


def origin(thing: Any) -> str:
    """Where a tool, a reward or a function was made: `shipped`, its file, or its module where that has no file."""
    module = getattr(thing, "function", thing).__module__
    if module.partition(".")[0] == "armlite":
        return "shipped"
    return getattr(sys.modules.get(module), "__file__", None) or module


def check_free(kind: str, name: str, thing: Any, held: Any) -> None:
    """See that a name is free; the same file may define it again.

    Raises:
        ArmliteError: something from elsewhere holds it.
    """
    if held is not None and origin(held) != origin(thing):
        raise ArmliteError(f"there are two {kind}s {name!r}: {origin(held)} and {origin(thing)}; rename one")


def _run_file(path: Path) -> None:
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    _search(path.parent)
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise


def _run_module(name: str) -> None:
    _search(Path.cwd())
    import_module(name)


def _search(folder: Path) -> None:
    """Find modules in a folder too, after all others: a file `types.py` there must not stand for Python's."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _told(error: BaseException, name: str) -> str:
    """`FILE, line N: what went wrong`: the innermost line that is neither a library's nor ours."""
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r}, neither in the current folder nor installed"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    last = ([f for f in frames if not f.filename.startswith(_LIBRARIES)] or frames)[-1]
    file, line, text = last.filename, last.lineno, f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        file, line, text = error.filename, error.lineno, f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, ArmliteError):
        text = str(error)
    return f"{file}, line {line}: {' '.join(text.split())}"
