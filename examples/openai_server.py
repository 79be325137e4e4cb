"""Judge through an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a hosted service) and watch each step arrive.

The server needs no support for tools: calls are plain text. The key, where it wants one, is in OPENAI_API_KEY.

Run: vllm serve Qwen/Qwen2.5-VL-7B-Instruct, and then
     python examples/openai_server.py --model openai:Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1
"""

import argparse

from armlite import Judge, tell_mistakes_in_a_line
from armlite.episode import Episode
from armlite.types import Step
from armlite.view.demo import stall


def show(episode: Episode, step: Step) -> None:
    said = step.turn.answer or (step.turn.call and f"{step.turn.call.name} {step.turn.call.arguments}")
    print(f"vote {episode.conversation.rollout + 1}, step {len(episode.steps)}: {said or step.turn.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="openai:Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1")
    parser.add_argument("--image", default=stall())
    parser.add_argument("--question", default="Which fruit at this stall is cheapest, and what does a kilo cost?")
    parser.add_argument("--answer", default="Apples, at 2.10 a kilo.")
    parser.add_argument("--votes", type=int, default=5)
    args = parser.parse_args()

    # `workers` requests are in flight at once; further options of `OpenAIModel` go the same way.
    judge = Judge.load(args.model, temperature=0.7, max_new_tokens=1024, workers=4)
    verdict = judge.rate(args.question, args.answer, images=args.image, votes=args.votes, on_step=show)
    print(f"{verdict.status}: {verdict.rating} of 10, confidence {verdict.confidence}")
    print(verdict.rationale)


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    main()
