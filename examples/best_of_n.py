"""Find the best of many answers, and grade it by a rubric.

Each line of a file is an answer, as sampled from a model. Up to eight are compared each with each, more in a knockout.

Run: python examples/best_of_n.py answers.txt "How does a tide come about?" --model openai:judge@http://localhost:8000/v1
"""

import argparse
from pathlib import Path

from armlite import Judge, tell_mistakes_in_a_line
from armlite.rubric import Criterion, Rubric

CORRECT = Criterion(name="correct", text="Nothing in it is wrong.", weight=3)
PLAIN = Criterion(name="plain", text="A child of ten would understand it.", weight=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, help="a file with an answer on each line")
    parser.add_argument("question")
    parser.add_argument("--model", default="Qwen/Qwen2.5-VL-7B-Instruct")
    args = parser.parse_args()
    answers = args.answers.read_text(encoding="utf-8").splitlines()

    judge = Judge.load(args.model)
    verdict = judge.best(args.question, answers)
    print(f"{verdict.method}, {verdict.comparisons} comparisons: {verdict.status}, answer {verdict.choice}")
    winner = verdict.choice or 1  # where nobody was found the best, any is as good as another
    grade = judge.grade(args.question, answers[winner - 1], Rubric(criteria=(CORRECT, PLAIN)))
    for part in grade.criteria:
        print(f"- {part.criterion.name}: {part.choice or part.verdict.status}. {part.verdict.rationale}")
    print(f"total: {grade.total}")


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    main()
