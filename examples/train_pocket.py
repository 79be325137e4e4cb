"""Train the pocket judge from Python: read a recipe, change what you like, train, and evaluate with and without tools.

Minutes on two CPU cores. Words of the form key=value change the recipe.

Run: python examples/train_pocket.py --output runs/mine seed=1 data.expert_share=0.8
"""

import argparse
from pathlib import Path
from typing import Any

from armlite.evals.run import evaluate_tasks
from armlite.recipe import load_recipe
from armlite.train.run import train


def tell(event: str, values: dict[str, Any]) -> None:
    if event == "evaluated":
        print(f"{values['stage']}: accuracy {values['summary']['rollout']['accuracy']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--recipe", default=Path(__file__).parents[1] / "recipes" / "pocket.yaml")
    parser.add_argument("--output", type=Path, default="runs/mine")
    parser.add_argument("--n", type=int, default=300, help="tasks to evaluate on")
    args = parser.parse_args()

    run = train(load_recipe(args.recipe, args.overrides), args.output, notify=tell)
    for with_tools in (True, False):
        # A seed that no training has seen: other tasks than those of the run's own evaluations.
        figures = evaluate_tasks(str(run), "pocket", args.n, seed=1000, with_tools=with_tools, swap=False)
        low, high = figures["ci95"]["accuracy"]
        print(f"{with_tools=}: accuracy {figures['accuracy']:.3f} ({low:.3f} to {high:.3f}) on {figures['n']} tasks")
    print(f"report: {run / 'report.md'}")


if __name__ == "__main__":
    main()
