"""`armlite export traces`: every judgment in OpenTelemetry's, OpenInference's and Inspect's form; by
`tests/real/traces.py` their own libraries read these.
"""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from command_line import is_one_line, runner
from trace_rows import SCRIPTS, make

from armlite.store import read

COMMITTED = json.loads((Path(__file__).parent / "real/committed/traces.json").read_text("utf-8"))
NAMES = sorted([*SCRIPTS, "lost"])


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = make(tmp_path_factory.mktemp("rows"))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    return file


def exported(run, rows, form, tmp_path, *more):
    out = tmp_path / f"{form}.json"
    code, said, _ = run("export", "traces", rows, "--format", form, "--out", out, *more)
    assert code == 0 and str(out) in said
    return json.loads(out.read_text("utf-8"))


def spans(found):
    """Trace id -> its spans, attributes as plain values."""
    [resource] = found["resourceSpans"]
    [scope] = resource["scopeSpans"]
    traces = {}
    for span in scope["spans"]:
        plain = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
        traces.setdefault(span["traceId"], []).append({**span, "attributes": plain})
    return list(traces.values())


def test_a_judgment_is_a_trace_of_its_judge_its_turns_and_its_tools(run, rows, tmp_path):
    traces = spans(exported(run, rows, "otel", tmp_path))
    assert len(traces) == len(NAMES) + 1
    looked = traces[NAMES.index("looked")]
    assert [span["name"] for span in looked] == [
        "invoke_agent armlite",
        "chat m",
        "execute_tool image_zoom_in_tool",
        "chat m",
    ]
    judge, first, tool, last = (span["attributes"] for span in looked)
    assert {span.get("parentSpanId") for span in looked} == {None, looked[0]["spanId"]}
    assert judge["gen_ai.operation.name"] == "invoke_agent" and judge["gen_ai.conversation.id"] == "looked/0"
    assert json.loads(tool["gen_ai.tool.call.arguments"])["bbox_2d"] == [0, 0, 500, 500]
    [asked] = json.loads(first["gen_ai.output.messages"])
    assert [part["type"] for part in asked["parts"]] == ["reasoning", "tool_call"]
    assert asked["parts"][1]["id"] == tool["gen_ai.tool.call.id"] and asked["finish_reason"] == "tool_call"
    seen = json.loads(last["gen_ai.input.messages"])
    assert [message["role"] for message in seen] == ["user", "assistant", "tool"]
    assert [part["type"] for part in seen[2]["parts"]] == ["tool_call_response", "uri"]
    assert (last["gen_ai.usage.input_tokens"], last["gen_ai.usage.output_tokens"]) == ("340", "12")
    assert "gen_ai.usage.input_tokens" not in first, "what a model does not say is not 0"
    [event] = looked[0]["events"]
    said = {a["key"]: next(iter(a["value"].values())) for a in event["attributes"]}
    assert said["gen_ai.evaluation.score.label"] == "Response 1 is better"


def test_failures_are_told_where_they_happened(run, rows, tmp_path):
    traces = dict(zip([*NAMES, "demo"], spans(exported(run, rows, "otel", tmp_path)), strict=True))

    def failed(name):
        return [span["name"].split()[0] for span in traces[name] if span.get("status", {}).get("code") == 2]

    assert failed("looked") == failed("no-answer") == failed("wrong") == []
    assert failed("tool-error") == ["execute_tool"]
    assert failed("away") == ["invoke_agent", "chat"]
    assert failed("lost") == ["invoke_agent"] and len(traces["lost"]) == 1
    assert [span["name"].split()[0] for span in traces["bad-call"]] == ["invoke_agent", "chat", "chat"]
    assert [span["name"].split()[0] for span in traces["unknown-tool"]] == ["invoke_agent", "chat", "chat"]
    assert traces["cut"][1]["attributes"]["gen_ai.response.finish_reasons"]["values"] == [{"stringValue": "length"}]


@pytest.mark.parametrize("form", ["otel", "openinference"])
def test_judgments_lie_one_behind_the_other_up_to_their_file_s_time(run, rows, tmp_path, form):
    traces = spans(exported(run, rows, form, tmp_path))
    times = [(int(t[0]["startTimeUnixNano"]), int(t[0]["endTimeUnixNano"])) for t in traces]
    assert times[-1][1] == 1_700_000_000 * 10**9
    assert all(end == start for (_, end), (start, _) in pairwise(times))
    assert {end - start for start, end in times[:-1]} == {1_500_000_000}, "the seconds that were measured"
    for trace in traces:
        inner = [(int(s["startTimeUnixNano"]), int(s["endTimeUnixNano"])) for s in trace]
        assert all(start < end for start, end in inner)
        assert all(a[1] == b[0] for a, b in pairwise(inner[1:])) and inner[-1][1] <= inner[0][1]
    ids = [span["spanId"] for trace in traces for span in trace]
    assert (
        len(ids) == len(set(ids)) and {len(i) for i in ids} == {16} and {len(t[0]["traceId"]) for t in traces} == {32}
    )
    assert traces == spans(exported(run, rows, form, tmp_path)), "ids and times are the same again"


def test_openinference_flattens_the_conversation(run, rows, tmp_path):
    traces = spans(exported(run, rows, "openinference", tmp_path, "--id", "looked"))
    [[judge, first, tool, last]] = [[span["attributes"] for span in trace] for trace in traces]
    assert [s["openinference.span.kind"] for s in (judge, first, tool, last)] == ["AGENT", "LLM", "TOOL", "LLM"]
    assert last["llm.input_messages.1.message.contents.0.message_content.image.image.url"].startswith("images/")
    assert first["llm.output_messages.0.message.tool_calls.0.tool_call.function.name"] == "image_zoom_in_tool"
    assert last["llm.input_messages.3.message.tool_call_id"] == "call_1"
    assert last["llm.token_count.total"] == "352" and json.loads(judge["metadata"])["decision"] == 1
    assert tool["output.value"] and "llm.token_count.total" not in first


def test_an_inspect_log_scores_what_can_be_scored(run, rows, tmp_path):
    log = exported(run, rows, "inspect", tmp_path)
    samples = {sample["id"]: sample for sample in log["samples"]}
    values = {name: s["scores"]["verdict"]["value"] for name, s in samples.items() if "scores" in s}
    demo = next(name for name in samples if name not in NAMES)
    right = dict.fromkeys(("looked", "tool-error", "bad-call", "check", demo), "C")
    assert values == {**right, "wrong": "I"}, "no verdict, or no known answer: not scored, which is not wrong"
    [score] = log["results"]["scores"]
    assert (score["scored_samples"], score["unscored_samples"]) == (6, len(samples) - 6)
    assert score["metrics"]["accuracy"]["value"] == pytest.approx(5 / 6)
    assert (
        "does not answer" in samples["away"]["error"]["message"] and "gone.png" in samples["lost"]["error"]["message"]
    )
    looked = samples["looked"]
    assert [m["role"] for m in looked["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert len(looked["attachments"]) == 2 and looked["total_time"] == 1.5
    assert all(text.startswith("data:image/png;base64,") for text in looked["attachments"].values())
    assert log == exported(run, rows, "inspect", tmp_path)


def test_a_picture_that_is_gone_is_named_and_costs_no_export(run, rows, tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text(rows.read_text("utf-8"), encoding="utf-8")
    log = exported(run, file, "inspect", tmp_path)
    [content, *_] = next(s for s in log["samples"] if s["id"] == "looked")["messages"][1]["content"]
    assert content["type"] == "text" and "is missing" in content["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "otle"], "Did you mean 'otel'?"),
        (["--id", "loked"], "Did you mean 'looked'?"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(run, rows, tmp_path, words, said):
    code, out, err = run("export", "traces", rows, "--out", tmp_path / "x.json", *words)
    assert (code, out) == (2, "") and is_one_line(err, said) and not (tmp_path / "x.json").exists()


def test_a_model_may_still_be_exported_without_saying_so(run, tmp_path):
    for words in (["weights", "nowhere"], ["nowhere"], ["./traces"]):
        code, _, err = run("export", *words, "--out", tmp_path / "judge")
        assert code == 2 and is_one_line(err, f"there is no model {words[-1]}")


def test_their_own_libraries_have_read_all_of_it(rows):
    count = len(list(read(rows)))
    assert COMMITTED["versions"].keys() >= {"inspect_ai", "opentelemetry-proto", "openinference-semantic-conventions"}
    for form in ("otel", "openinference"):
        assert COMMITTED[form]["traces"] == count and COMMITTED[form]["faults"] == []
    assert COMMITTED["inspect"]["samples"] == count and COMMITTED["inspect"]["faults"] == []
