"""verifiers' part of `suites.py`, run by its own Python: cases from stdin, scores as the last line of stdout.

Finished rollouts (traces with the recorded reply) are scored by their tasks, which the judge is plugged into by its id.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path

import verifiers.v1 as vf

MODULE = """
from armlite import Judge
from armlite.adapters.verifiers import judge_class

PocketJudge = judge_class(lambda: Judge.load({model!r}), "compare", against="against")
__all__ = ["PocketJudge"]
"""


class Data(vf.TaskData):
    """A case."""

    against: str
    document: str | None = None
    constraints: list[dict] = []


class Asked(vf.Task[Data, vf.State, vf.TaskConfig]):
    """A task without a reward of its own."""


def task_of(case):
    """The task of a case, its pictures as data URLs in the prompt."""
    urls = ["data:image/png;base64," + base64.b64encode(Path(image).read_bytes()).decode() for image in case["images"]]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.append({"type": "text", "text": case["question"]})
    known = {name: case[name] for name in ("against", "document", "constraints")}
    data = Data(prompt=[vf.UserMessage.model_validate({"content": parts})], name=case["id"], **known)
    return Asked(data, vf.TaskConfig(judges=[{"id": "pocket_judge"}]))


async def score(task, reply):
    """The reward of a finished rollout, or the error."""
    about = vf.TraceTask(type="Asked", data=task.data, hash=task.hash, key=task.key)
    trace = vf.Trace(task=about, agent=vf.AgentInfo(config=vf.AgentConfig()), root_reply=reply)
    try:
        await task.score(trace)
    except vf.TaskError as error:
        return None, str(error), trace
    return trace.reward, None, trace


async def run(cases):
    return await asyncio.gather(*(score(task_of(case), case["response"]) for case in cases))


def main():
    """Score all rollouts and tell what their traces say."""
    given = json.load(sys.stdin)
    Path("pocket_judge.py").write_text(MODULE.format(model=given["model"]))
    sys.path.insert(0, str(Path.cwd()))
    found = asyncio.run(run(given["cases"]))
    told = {
        "scores": [reward for reward, _, _ in found],
        "totals": {"rewarded": sum(r is not None for r, _, _ in found), "errors": sum(r is None for r, _, _ in found)},
        "reason": found[0][2].info["armlite"][0]["reason"],
        "lost": found[-1][1].rpartition("/")[2],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
