"""Trajectories as OTLP/JSON traces, one a judgment: a span of the judge, in it a span of each turn and each tool.

Attributes are OpenTelemetry's conventions for generative AI (`gen_ai.*`, in development) or OpenInference's (Phoenix,
Arize). The envelope is https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hex, 64-bit numbers as
texts, enumerations as numbers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from armlite.store import Saved
from armlite.telemetry.messages import Said, digest, messages, timed
from armlite.types import Trajectory
from armlite.view.text import decision_words

Convention = Literal["otel", "openinference"]
INTERNAL, CLIENT = 1, 3
"""Kinds of spans."""
ERROR = 2
"""Status of a span."""
TOOL_SHARE = 1000
"""Nanoseconds of a tool's span: tools are not timed apart."""


def traces(rows: Iterable[Saved], end: float, convention: Convention, version: str) -> dict[str, Any]:
    """An OTLP `TracesData`, as JSON.

    Args:
        end: when the last judgment ended, in seconds since 1970.
        version: armlite's.
    """
    spans = [span for row, start, stop in timed(rows, end) for span in _trace(row, start, stop, convention)]
    resource = {"attributes": _attributes({"service.name": "armlite", "service.version": version})}
    scope = {"scope": {"name": "armlite", "version": version}, "spans": spans}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _trace(row: Saved, start: int, stop: int, convention: Convention) -> list[dict[str, Any]]:
    trajectory = row.trajectory
    trace = digest("trace", trajectory.to_json())[:32]
    named = _otel if convention == "otel" else _openinference

    def span(name: str, number: int, times: tuple[int, int], what: dict[str, Any], wrong: str = "") -> dict[str, Any]:
        made: dict[str, Any] = {
            "traceId": trace,
            "spanId": digest(trace, number)[:16],
            "parentSpanId": digest(trace, 0)[:16],
            "name": name,
            "kind": CLIENT if name.startswith("chat") else INTERNAL,
            "startTimeUnixNano": str(times[0]),
            "endTimeUnixNano": str(times[1]),
            "attributes": _attributes(what),
        }
        if number == 0:
            del made["parentSpanId"]
        if wrong:
            made["status"] = {"code": ERROR, "message": wrong}
        return made

    said = messages(trajectory)
    fault = trajectory.fault.reason if trajectory.fault is not None else ""
    judge = span("invoke_agent armlite", 0, (start, stop), named("agent", trajectory, said, -1), fault)
    if convention == "otel":
        judge["events"] = [_verdict(trajectory, stop)]
    found, at = [judge], start
    for number, message in enumerate(said):
        if message.turn is not None:
            end = at + _share(trajectory, message, stop - start)
            wrong = message.turn.text if message.turn.finish == "error" else ""
            name = f"chat {trajectory.model}".strip()
            found.append(span(name, number + 1, (at, end), named("chat", trajectory, said, number), wrong))
            at = end
        elif message.tool:
            wrong, end = "" if message.ok else message.text, at + TOOL_SHARE
            what = named("tool", trajectory, said, number)
            found.append(span(f"execute_tool {message.tool}", number + 1, (at, end), what, wrong))
            at = end
    return found


def _share(trajectory: Trajectory, message: Said, length: int) -> int:
    """A turn's part of a judgment's time: by the tokens that it wrote."""
    assert message.turn is not None
    room = length - TOOL_SHARE * sum(step.observation is not None for step in trajectory.steps)
    weights = sum(step.turn.tokens + 1 for step in trajectory.steps)
    return max(1, room * (message.turn.tokens + 1) // weights)


def _verdict(trajectory: Trajectory, time: int) -> dict[str, Any]:
    """The verdict as the conventions' event of an evaluation."""
    decision = trajectory.decision
    what: dict[str, Any] = {
        "gen_ai.evaluation.name": f"armlite.{trajectory.task.kind}",
        "gen_ai.evaluation.score.label": decision_words(trajectory.task, decision),
        "gen_ai.evaluation.explanation": trajectory.steps[-1].turn.think if trajectory.steps else None,
    }
    if isinstance(decision, bool | int | float):
        what["gen_ai.evaluation.score.value"] = float(decision)
    return {"name": "gen_ai.evaluation.result", "timeUnixNano": str(time), "attributes": _attributes(what)}


def _otel(kind: str, trajectory: Trajectory, said: Sequence[Said], number: int) -> dict[str, Any]:
    """Attributes of a span by OpenTelemetry's conventions. Contents are the JSON of its message schemas."""
    turns = [message.turn for message in said if message.turn is not None]
    conversation = {"gen_ai.conversation.id": f"{trajectory.task.id}/{trajectory.rollout}"}
    if kind == "tool":
        message, asking = said[number], said[number - 1].turn
        arguments = asking.call.arguments if asking is not None and asking.call is not None else {}
        return {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": message.tool,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": message.call,
            "gen_ai.tool.call.arguments": _json(arguments),
            "gen_ai.tool.call.result": message.text,
            "error.type": None if message.ok else "ToolError",
        }
    model = {"gen_ai.provider.name": "armlite", "gen_ai.request.model": trajectory.model or None}
    system = [{"type": "text", "content": message.text} for message in said if message.role == "system"]
    asked = [message for message in said[: number if kind == "chat" else 2] if message.role != "system"]
    shown = {
        "gen_ai.system_instructions": _json(system) if system else None,
        "gen_ai.input.messages": _json([{"role": m.role, "parts": _parts(m)} for m in asked]),
    }
    if kind == "agent":
        last = next((message for message in reversed(said) if message.turn is not None), None)
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "armlite",
            **model,
            **conversation,
            **shown,
            "gen_ai.output.messages": _json([_written(last)]) if last is not None else None,
            "gen_ai.usage.input_tokens": sum(turn.prompt_tokens for turn in turns) or None,
            "gen_ai.usage.output_tokens": sum(turn.tokens for turn in turns) or None,
            "armlite.stop": trajectory.stop.value,
            "armlite.task.kind": trajectory.task.kind,
            "error.type": trajectory.stop.value if trajectory.fault is not None else None,
        }
    turn = said[number].turn
    assert turn is not None
    return {
        "gen_ai.operation.name": "chat",
        **model,
        **conversation,
        **shown,
        "gen_ai.output.messages": _json([_written(said[number])]),
        "gen_ai.response.finish_reasons": [_finish(said[number])],
        "gen_ai.usage.input_tokens": turn.prompt_tokens or None,
        "gen_ai.usage.output_tokens": turn.tokens or None,
        "error.type": "model_error" if turn.finish == "error" else None,
    }


def _parts(message: Said) -> list[dict[str, Any]]:
    """Contents of a message by OpenTelemetry's schema."""
    pictures = [{"type": "uri", "modality": "image", "uri": f"images/{file}"} for file in message.files]
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.call, "response": message.text}, *pictures]
    if message.turn is None:
        return [*pictures, {"type": "text", "content": message.text}]
    parts: list[dict[str, Any]] = [{"type": "reasoning", "content": message.thought}] if message.thought else []
    if message.rest:
        parts.append({"type": "text", "content": message.rest})
    if (call := message.turn.call) is not None:
        parts.append({"type": "tool_call", "id": message.call, "name": call.name, "arguments": call.arguments})
    return parts


def _written(message: Said) -> dict[str, Any]:
    return {"role": "assistant", "parts": _parts(message), "finish_reason": _finish(message)}


def _finish(message: Said) -> str:
    assert message.turn is not None
    return "tool_call" if message.turn.call is not None else message.turn.finish


def _openinference(kind: str, trajectory: Trajectory, said: Sequence[Said], number: int) -> dict[str, Any]:
    """Attributes of a span by OpenInference's conventions, lists flattened as they ask for."""
    session = {"session.id": f"{trajectory.task.id}/{trajectory.rollout}"}
    if kind == "tool":
        message, asking = said[number], said[number - 1].turn
        arguments = _json(asking.call.arguments if asking is not None and asking.call is not None else {})
        return {
            "openinference.span.kind": "TOOL",
            "tool.name": message.tool,
            "tool.id": message.call,
            "tool.parameters": arguments,
            "input.value": arguments,
            "input.mime_type": "application/json",
            "output.value": message.text,
            "output.mime_type": "text/plain",
        }
    if kind == "agent":
        last = next((message.text for message in reversed(said) if message.turn is not None), None)
        about = {"stop": trajectory.stop.value, "kind": trajectory.task.kind, "decision": trajectory.decision}
        return {
            "openinference.span.kind": "AGENT",
            "agent.name": "armlite",
            **session,
            "input.value": trajectory.prompt,
            "input.mime_type": "text/plain",
            "output.value": last,
            "output.mime_type": "text/plain",
            "metadata": _json(about),
        }
    turn = said[number].turn
    assert turn is not None
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": trajectory.model or None,
        "llm.provider": "armlite",
        **session,
        "input.value": said[number - 1].text,
        "input.mime_type": "text/plain",
        "output.value": turn.text,
        "output.mime_type": "text/plain",
        **_flat("llm.input_messages", said[:number]),
        **_flat("llm.output_messages", [said[number]]),
        "llm.finish_reason": _finish(said[number]),
        "llm.token_count.prompt": turn.prompt_tokens or None,
        "llm.token_count.completion": turn.tokens or None,
        "llm.token_count.total": turn.prompt_tokens + turn.tokens or None,
    }


def _flat(prefix: str, said: Sequence[Said]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, message in enumerate(said):
        place = f"{prefix}.{i}.message"
        found[f"{place}.role"] = message.role
        if message.files:
            contents = [*message.files, message.text]
            for j, content in enumerate(contents):
                kind = "text" if j == len(contents) - 1 else "image"
                found[f"{place}.contents.{j}.message_content.type"] = kind
                key = "message_content.text" if kind == "text" else "message_content.image.image.url"
                found[f"{place}.contents.{j}.{key}"] = content if kind == "text" else f"images/{content}"
        else:
            found[f"{place}.content"] = message.text
        if message.role == "tool":
            found[f"{place}.tool_call_id"] = message.call
        if message.turn is not None and (call := message.turn.call) is not None:
            found[f"{place}.tool_calls.0.tool_call.id"] = message.call
            found[f"{place}.tool_calls.0.tool_call.function.name"] = call.name
            found[f"{place}.tool_calls.0.tool_call.function.arguments"] = _json(call.arguments)
    return found


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Key-value pairs of OTLP; what is None is left out."""
    return [{"key": key, "value": _any(value)} for key, value in values.items() if value is not None]


def _any(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any(part) for part in value]}}
    return {"stringValue": value}
