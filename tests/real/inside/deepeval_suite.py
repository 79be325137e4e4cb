"""deepeval's part of `suites.py`, run by its own Python: cases from stdin, scores as the last line of stdout."""

import json
import os
import sys

os.environ |= {"DEEPEVAL_TELEMETRY_OPT_OUT": "1", "DEEPEVAL_DISABLE_DOTENV": "1", "ERROR_REPORTING": "0"}

from deepeval import evaluate
from deepeval.evaluate import AsyncConfig, DisplayConfig, ErrorConfig
from deepeval.test_case import LLMTestCase, MLLMImage

from armlite import Judge
from armlite.adapters.deepeval import judge_metric


def main():
    """Evaluate the cases and tell what came of it."""
    given = json.load(sys.stdin)
    made = []
    for case in given["cases"]:
        pictures = "".join(str(MLLMImage(url=image, local=True)) for image in case["images"])
        known = {name: case[name] for name in ("document", "constraints")}
        made.append(
            LLMTestCase(
                name=case["id"],
                input=pictures + case["question"],
                actual_output=case["response"],
                expected_output=case["against"],
                metadata=known,
            )
        )
    metric = judge_metric(Judge.load(given["model"]), "compare")
    quiet = DisplayConfig(show_indicator=False, print_results=False, inspect_after_run=False)
    done = evaluate(
        test_cases=made,
        metrics=[metric],
        display_config=quiet,
        error_config=ErrorConfig(ignore_errors=False),
        async_config=AsyncConfig(run_async=True, max_concurrent=8),
    )
    order = {case["id"]: place for place, case in enumerate(given["cases"])}
    results = sorted(done.test_results, key=lambda result: order[result.name])
    rows = [result.metrics_data[0] for result in results]
    told = {
        "scores": [None if row.error else row.score for row in rows],
        "totals": {
            "passed": sum(bool(row.success) for row in rows),
            "failed": sum(not row.success and not row.error for row in rows),
            "errored": sum(bool(row.error) for row in rows),
        },
        "reason": rows[0].reason,
        "lost": rows[-1].error.rpartition("/")[2],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
