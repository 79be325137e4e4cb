"""Have the libraries themselves read what `armlite export traces` writes: `python tests/real/traces.py`, in a minute.

Judgments that end in every way (`tests/trace_rows.py`) are exported in each form. In an environment of its own (pip)
OpenTelemetry's protobuf messages parse the two traces, whose attributes must be names of the published conventions, and
inspect_ai reads, and writes again, the log. The findings go to `committed/traces.json`.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMITTED = HERE / "committed" / "traces.json"
PACKAGES = (
    "inspect_ai",
    "opentelemetry-proto",
    "opentelemetry-semantic-conventions",
    "openinference-semantic-conventions",
)
OURS = ("armlite.", "service.", "error.type")
"""Beginnings of attributes that are not of the conventions for generative AI."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", type=Path, help="where the environment is, or is made  [default: a new one]")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        check(asked.inside)
        return
    sys.path.insert(0, str(HERE.parent))
    from trace_rows import make

    folder = Path(tempfile.mkdtemp(prefix="traces-"))
    rows = make(folder / "rows")
    for form in ("otel", "openinference", "inspect"):
        words = ["export", "traces", rows, "--format", form, "--out", folder / f"{form}.json"]
        subprocess.run([sys.executable, "-m", "armlite", *map(str, words)], check=True)
    env = asked.env or folder / "env"
    python = env / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    subprocess.run([python, __file__, "--inside", folder], check=True)


def check(folder: Path) -> None:
    """Read all three, and write down what came of it."""
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
    }
    for form in ("otel", "openinference"):
        found[form] = parsed(folder / f"{form}.json", known_names(form))
    found["inspect"] = log_of(folder / "inspect.json")
    COMMITTED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))


def known_names(form: str) -> set[str]:
    """Names of attributes that the conventions have."""
    if form == "otel":
        from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

        return {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    from openinference.semconv import trace

    classes = [thing for name, thing in vars(trace).items() if name.endswith("Attributes")]
    return {value for c in classes for value in vars(c).values() if isinstance(value, str)}


def parsed(file: Path, known: set[str]) -> dict[str, Any]:
    """Parse a file as protobuf's `TracesData` and look at every span."""
    from google.protobuf import json_format
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    plain = json.loads(file.read_text("utf-8"))
    for span in plain["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):  # hex in OTLP/JSON, base64 in protobuf's own
            if name in span:
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    data = json_format.ParseDict(plain, TracesData())
    faults, names = [], set()
    spans = [span for resource in data.resource_spans for scope in resource.scope_spans for span in scope.spans]
    roots = {span.trace_id: span.span_id for span in spans if not span.parent_span_id}
    for span in spans:
        if len(span.trace_id) != 16 or len(span.span_id) != 8:
            faults.append(f"{span.name}: ids of {len(span.trace_id)} and {len(span.span_id)} bytes")
        if span.parent_span_id and span.parent_span_id != roots.get(span.trace_id):
            faults.append(f"{span.name}: its parent is not in its trace")
        if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
            faults.append(f"{span.name}: it ends before it begins")
        names |= {attribute.key for attribute in span.attributes}
        names |= {attribute.key for event in span.events for attribute in event.attributes}
    unknown = sorted(name for name in names if not name.startswith(OURS) and not spelt(name, known))
    faults += [f"{name} is no attribute of the conventions" for name in unknown]
    TracesData.FromString(data.SerializeToString())
    return {"traces": len(roots), "spans": len(spans), "attributes": len(names), "faults": faults}


def spelt(name: str, known: set[str]) -> bool:
    """Whether a name is one of the conventions, or made of some, as `llm.input_messages.0.message.role`."""
    first, _, rest = name.partition(".")
    if first.isdigit():
        return spelt(rest, known)
    return name in known or any(name.startswith(f"{k}.") and spelt(name[len(k) + 1 :], known) for k in known)


def log_of(file: Path) -> dict[str, Any]:
    """Read a log with inspect_ai, write it in its own binary form, and read that."""
    from inspect_ai.log import read_eval_log, write_eval_log

    log = read_eval_log(str(file), resolve_attachments=True)
    write_eval_log(log, str(file.with_suffix(".eval")))
    again = read_eval_log(str(file.with_suffix(".eval")))
    faults = []
    before, after = (sorted(str(sample.id) for sample in one.samples or []) for one in (log, again))
    if before != after:
        faults.append(f"samples {before} become {after}")
    images = [c for s in log.samples or [] for m in s.messages for c in m.content if getattr(c, "type", "") == "image"]
    faults += [f"a picture is {image.image[:40]}" for image in images if not image.image.startswith("data:image/png")]
    calls = [(m, call) for s in log.samples or [] for m in s.messages for call in getattr(m, "tool_calls", None) or []]
    assert log.results is not None
    return {
        "samples": len(log.samples or []),
        "scored": log.results.scores[0].scored_samples,
        "accuracy": log.results.scores[0].metrics["accuracy"].value,
        "errors": sum(sample.error is not None for sample in log.samples or []),
        "pictures": len(images),
        "tool_calls": len(calls),
        "faults": faults,
    }


if __name__ == "__main__":
    main()
