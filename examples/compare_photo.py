"""Compare two answers about a photo: the verdict, the reason, and the crops that it rests on, kept for `armlite view`.

Without --image it is about a drawn market stall, whose price tags are too small to be read without a closer look.
Qwen2.5-VL-7B wants a GPU; any OpenAI-compatible server will do as well: --model openai:MODEL@URL.

Run: python examples/compare_photo.py --image photo.jpg --question "Who won?" --answer "Ann" --answer "Bo"
"""

import argparse

from armlite import Judge, tell_mistakes_in_a_line
from armlite.judge import save
from armlite.view.demo import stall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="Qwen/Qwen2.5-VL-7B-Instruct")
    parser.add_argument("--image", default=stall())
    parser.add_argument("--question", default="What does a kilo of lemons cost at this stall?")
    parser.add_argument("--answer", action="append", help="give two; else two prices")
    parser.add_argument("--out", default="judgments", help="folder for the judgment and its crops")
    args = parser.parse_args()

    judge = Judge.load(args.model)
    answers = args.answer or ["A kilo of lemons costs 2.40.", "Lemons are 3.80 a kilo."]
    # `swap` judges in both orders: a judge that simply likes the first place comes out as `split`.
    verdict = judge.compare(args.question, answers, images=args.image, swap=True)

    print(f"{verdict.status}: answer {verdict.choice}, confidence {verdict.confidence}")
    print(verdict.rationale)
    for item in verdict.evidence:
        print(f"- {item.tool}{item.arguments}")
    print(f"armlite view {save(verdict, args.out)}")


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    main()
