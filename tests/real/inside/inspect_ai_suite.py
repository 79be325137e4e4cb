"""inspect_ai's part of `suites.py`, run by its own Python: cases from stdin, scores as the last line of stdout."""

import json
import math
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, ModelOutput
from inspect_ai.solver import solver

from armlite import Judge
from armlite.adapters.inspect_ai import judge_scorer


@solver
def recorded():
    """The output under test, as it was recorded."""

    async def solve(state, generate):
        state.output = ModelOutput.from_content("recorded", state.metadata["response"])
        return state

    return solve


def main():
    """Run the task and tell what its log says."""
    given = json.load(sys.stdin)
    samples = []
    for case in given["cases"]:
        content = [ContentText(text=case["question"]), *(ContentImage(image=image) for image in case["images"])]
        known = {name: case[name] for name in ("response", "document", "constraints")}
        samples.append(
            Sample(id=case["id"], input=[ChatMessageUser(content=content)], target=case["against"], metadata=known)
        )
    task = Task(dataset=samples, solver=recorded(), scorer=judge_scorer(Judge.load(given["model"]), "compare"))
    [log] = eval(task, model="mockllm/model", display="none", log_dir="logs", log_images=False)
    assert log.status == "success", log.error
    by_id = {sample.id: sample.scores["armlite_compare"] for sample in log.samples}
    scores = [by_id[case["id"]] for case in given["cases"]]
    [totals] = log.results.scores
    told = {
        "scores": [None if math.isnan(score.value) else score.value for score in scores],
        "totals": {
            "mean": round(totals.metrics["mean"].value, 4),
            "scored": totals.scored_samples,
            "unscored": totals.unscored_samples,
        },
        "reason": scores[0].explanation,
        "lost": [scores[-1].reason, scores[-1].explanation.rpartition("/")[2]],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
