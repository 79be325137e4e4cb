"""What two rounds of self-made traces are worth: `python tests/real/self_taught.py RUN`, of a finished run of
`recipes/self-taught.yaml`, writes `recipes/self-taught.results.json`. `python tests/readme.py` then makes the tables of
`armlite docs data` of it.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from armlite.curation.rounds import round_rows
from armlite.store import read_json, write_atomic
from armlite.train.report import summaries

RESULTS = Path(__file__).parents[2] / "recipes" / "self-taught.results.json"
FIGURES = ("accuracy", "tool_calls_per_task", "tool_success_rate")


def results(run: Path) -> dict:
    """The figures of a run, as plain data."""
    greedy = {name: found["greedy"] for name, found in summaries(run).items()}
    return {
        "recipe": "self-taught",
        "date": datetime.now(UTC).date().isoformat(),
        "environment": read_json(run / "environment.json"),
        "rounds": round_rows(read_json(run / "data" / "build.json")),
        "stages": read_json(run / "stages.json"),
        "items": next(iter(greedy.values()))["items"],
        "greedy": {
            name: {key: value for key, value in found["figures"].items() if key.partition("/")[0] in FIGURES}
            for name, found in greedy.items()
        },
    }


if __name__ == "__main__":
    write_atomic(RESULTS, json.dumps(results(Path(sys.argv[1])), indent=1) + "\n")
    print(RESULTS)
