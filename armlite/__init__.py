"""armlite: judges that check before they judge.

The names below are loaded when they are first used: `import armlite` reads no model library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armlite.adapters.trl import reward_func as reward_func
    from armlite.episode import EpisodeSettings as EpisodeSettings
    from armlite.errors import ArmliteError as ArmliteError
    from armlite.errors import tell_mistakes_in_a_line as tell_mistakes_in_a_line
    from armlite.evals.benchmarks import benchmark as benchmark
    from armlite.judge import Judge as Judge
    from armlite.memory import Limits as Limits
    from armlite.models import chat_model as chat_model
    from armlite.panel import Cascade as Cascade
    from armlite.panel import Panel as Panel
    from armlite.rewards import reward as reward
    from armlite.tools import register as register
    from armlite.tools.tool import tool as tool
    from armlite.types import Task as Task
    from armlite.types import Trajectory as Trajectory
    from armlite.types import Verdict as Verdict

__version__ = "0.1.0"
_HOMES = {
    "ArmliteError": "armlite.errors",
    "Cascade": "armlite.panel",
    "EpisodeSettings": "armlite.episode",
    "Judge": "armlite.judge",
    "Limits": "armlite.memory",
    "Panel": "armlite.panel",
    "Task": "armlite.types",
    "Trajectory": "armlite.types",
    "Verdict": "armlite.types",
    "benchmark": "armlite.evals.benchmarks",
    "chat_model": "armlite.models",
    "register": "armlite.tools",
    "reward": "armlite.rewards",
    "reward_func": "armlite.adapters.trl",
    "tell_mistakes_in_a_line": "armlite.errors",
    "tool": "armlite.tools.tool",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'armlite' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
