"""Check a constraint with a verifier: by hand, exactly as the tool counts; and with --model by a judge that calls it.

Run: python examples/check_constraint.py "The pier is long. A lighthouse stands at its end." --words 5 8
"""

import argparse

from armlite import Judge, tell_mistakes_in_a_line
from armlite.tools.checks.verifiers import check

VERIFIER = "check_whether_response_word_count_in_range"
"""One of 19: `armlite tools list` names the others."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("response", nargs="?", default="The pier is long. A lighthouse stands at its end.")
    parser.add_argument("--words", nargs=2, type=int, default=(5, 8), metavar=("LEAST", "MOST"))
    parser.add_argument("--model", help="have a judge check it too, such as openai:MODEL@URL")
    args = parser.parse_args()

    least, most = args.words
    result = check(VERIFIER, args.response, lower_bound=least, upper_bound=most)
    print(f"verifier: {result.ok} ({result.detail})")
    if args.model:
        # The judge reads the constraint as text; which of its tools can check it, it has to find out.
        rule = f"The response has {least} to {most} words."
        verdict = Judge.load(args.model).check("Describe the harbour.", args.response, constraints=[rule])
        print(f"judge: {verdict.correct} ({verdict.status})")
        for item in verdict.evidence:
            print(f"- {item.tool}: {item.text}")


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    main()
