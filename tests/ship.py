"""Remake the judge that comes with the package: `python tests/ship.py runs/pocket recipes/pocket.yaml`.

Of a finished run, and the recipe that made it.
"""

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from armlite.pocket.shipped import DECIDES, FOLDER, digest
from armlite.recipe import load_recipe, saved_recipe
from armlite.train.export import export_weights


def main(run: Path, recipe: Path) -> None:
    ran, wanted = saved_recipe(run / "recipe.yaml"), load_recipe(recipe)
    if differs := [key for key in DECIDES if getattr(ran, key) != getattr(wanted, key)]:
        raise SystemExit(f"{run} was trained with another `{differs[0]}` than {recipe} has")
    new = FOLDER.with_name("judge-new")
    shutil.rmtree(new, ignore_errors=True)
    export_weights(str(run), new, "bfloat16")
    (new / "README.md").unlink()
    made = {"date": datetime.now(UTC).date().isoformat(), "recipe": recipe.name, "digest": digest(recipe)}
    (new / "made.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    shutil.rmtree(FOLDER, ignore_errors=True)
    new.rename(FOLDER)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
