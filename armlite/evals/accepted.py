"""Whether an answer would count as right for a question, by the scorer of the benchmark that the question is from.

For whoever makes wrong answers and must not make a right one; no scorer itself.
"""

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.figures import Answer, Item
from armlite.types import Step, StopReason, Task, Trajectory, Turn


def counts_as_right(task: Task, text: str) -> bool:
    """Does the benchmark's main figure give anything for this answer, alone?

    Raises:
        ArmliteError: the task's source does not begin with a benchmark's name.
    """
    benchmark = get_benchmark(task.source.split("/")[0])
    turn = Turn(text=f"<answer>{text}</answer>", answer=text)
    played = Trajectory(task=task, steps=(Step(turn=turn),), stop=StopReason.ANSWERED, decision=text)
    value = benchmark.score([Item(task, (Answer(played),))])[benchmark.main].value
    return bool(value)
