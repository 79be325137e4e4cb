"""The routes `/v1/judge` and `/v1/judge/batch`: what is judged comes in, verdicts go out."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from armlite.serve.body import read_body
from armlite.serve.engine import ServedJudge
from armlite.serve.inputs import Inputs
from armlite.serve.judgments import give_verdict, give_verdicts, read_judgment
from armlite.serve.service import Service
from armlite.serve.settings import Refusal
from armlite.types import Verdict

TRAJECTORY = "x-armlite-trajectory"
"""The header that holds the id of a verdict's trajectory."""


async def judge(service: Service, request: Request) -> Response:
    """Judge a task; the answer is the Verdict record."""
    body = await read_body(request, service.settings)

    def work(own: ServedJudge) -> tuple[str, str]:
        with Inputs(service.settings) as inputs:
            judgment = read_judgment(body, inputs)
            _check_count(judgment.rollouts, service)
            verdict = outside(give_verdict(judgment, own))
            return verdict.to_json(), service.keep(verdict)

    text, name = await service.work(request, work)
    request.state.told = {"trajectory": name}
    return Response(text, media_type="application/json", headers={TRAJECTORY: header(name)})


async def judge_batch(service: Service, request: Request) -> Response:
    """Judge several tasks at once; the answer has a verdict for each, in their order."""
    body = await read_body(request, service.settings)
    tasks = body.get("tasks") if isinstance(body, dict) else body
    if not isinstance(tasks, list) or not tasks:
        raise Refusal('the body must be {"tasks": [...]} with at least one task')
    if isinstance(body, dict) and (others := [name for name in body if name != "tasks"]):
        raise Refusal(f"{others[0]!r:.60}: there is no such field; there is tasks, a list")
    if len(tasks) > service.settings.batch:
        raise Refusal(f"{len(tasks)} tasks are too many: send at most {service.settings.batch} at once", 413)

    def work(own: ServedJudge) -> str:
        with Inputs(service.settings) as inputs:
            read = [read_judgment(task, inputs, f"tasks[{n}].") for n, task in enumerate(tasks)]
            _check_count(sum(one.rollouts for one in read), service)
            verdicts = [outside(verdict) for verdict in give_verdicts(read, own)]
            names = [service.keep(verdict) for verdict in verdicts]
            told = ", ".join(verdict.to_json() for verdict in verdicts)
            return f'{{"verdicts": [{told}], "trajectories": {json.dumps(names)}}}'

    return Response(await service.work(request, work), media_type="application/json")


def _check_count(count: int, service: Service) -> None:
    if count > service.settings.judgments:
        message = f"this takes {count} judgments (orders and votes counted); the most is {service.settings.judgments}"
        raise Refusal(message, 413)


def outside(verdict: Verdict) -> Verdict:
    """A verdict for a client: of a document that was put on our disk it holds the name only."""
    votes: list[Any] = []
    for vote in verdict.trajectories:
        document = vote.task.document
        task = vote.task.model_copy(update={"document": document and document.rpartition("/")[2]})
        votes.append(vote.model_copy(update={"task": task}))
    return verdict.model_copy(update={"trajectories": tuple(votes)})


def header(text: str) -> str:
    """A text as a header can hold it."""
    return text.encode("ascii", "backslashreplace").decode()
