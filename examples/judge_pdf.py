"""Judge a claim against a PDF: is it correct, and which pages did the judge look up to find out?

Qwen2.5-VL-7B wants a GPU; any OpenAI-compatible server will do as well: --model openai:MODEL@URL.

Run: python examples/judge_pdf.py report.pdf "How many units were sold in 2023?" "About 1,200."
"""

import argparse

from armlite import Judge, tell_mistakes_in_a_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", help="a PDF file or a folder of page images")
    parser.add_argument("question")
    parser.add_argument("answer")
    parser.add_argument("--model", default="Qwen/Qwen2.5-VL-7B-Instruct")
    args = parser.parse_args()

    verdict = Judge.load(args.model).check(args.question, args.answer, document=args.document)

    # Not being able to judge is a status; then `correct` is None and never a default.
    print({True: "correct", False: "not correct", None: f"could not judge ({verdict.status})"}[verdict.correct])
    print(verdict.rationale)
    for item in verdict.evidence:
        sought = item.arguments.get("query", item.arguments.get("image_idx"))
        print(f"- looked for {sought!r}, read page {', '.join(map(str, item.data['pages']))}")


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    main()
