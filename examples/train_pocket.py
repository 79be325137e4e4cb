"""Train the pocket judge from Python: read a recipe, change what you like, train, and evaluate with and without tools.

Minutes on two CPU cores. Words of the form key=value change the recipe.
Run: python examples/train_pocket.py --output runs/mine seed=1 data.expert_share=0.8
"""

import argparse
from pathlib import Path
from typing import Any

from armlite import tell_mistakes_in_a_line
from armlite.evals.run import run_benchmark
from armlite.recipe import load_recipe
from armlite.train.run import train


def tell(event: str, values: dict[str, Any]) -> None:
    if event == "evaluated":
        print(f"{values['stage']}: accuracy {values['summary']['rollout']['figures']['accuracy']['value']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--recipe", default=Path(__file__).parents[1] / "recipes/pocket.yaml")
    parser.add_argument("--output", type=Path, default="runs/mine")
    parser.add_argument("--n", type=int, default=300, help="tasks to evaluate on")
    args = parser.parse_args()
    run = train(load_recipe(args.recipe, args.overrides), args.output, notify=tell)
    for with_tools in (True, False):  # on tasks of a seed that no training has seen
        out = run / "more" / str(with_tools)
        summary = run_benchmark("pocket", str(run), out=out, n=args.n, seed=1000, tools=with_tools, swap=False)
        value, n, (low, high) = summary["figures"]["accuracy"].values()
        print(f"{with_tools=}: accuracy {value:.3f} ({low:.3f} to {high:.3f}) on {n} tasks")
    print(f"report: {run / 'report.md'}")


if __name__ == "__main__":
    tell_mistakes_in_a_line()
    main()
