"""`armlite train`: run a recipe."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armlite.cli.options import ImportOption

if TYPE_CHECKING:
    from armlite.recipe import Recipe


def train(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file, for example recipes/pocket.yaml; or a run directory, with --resume")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for example stages.sft.steps=200")] = None,
    stage: Annotated[
        str | None, typer.Option(help="run sft, grpo1, sft2 or grpo2 alone, on its predecessor's checkpoint")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with an interrupted run")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and each stage's work")] = False,
    output: Annotated[Path | None, typer.Option(help="run directory; else runs/RECIPE")] = None,
    force: Annotated[bool, typer.Option("--force", help="train although `armlite plan` says it cannot fit")] = False,
    seeds: Annotated[
        str | None, typer.Option(help="several runs with a control each, as 0,1,2; writes RECIPE.results.json")
    ] = None,
    variants: Annotated[str | None, typer.Option(help="of a claims file these alone, as full,more_sft")] = None,
    workers: Annotated[int, typer.Option(min=1, help="of a claims file: seeds at once")] = 1,
    imports: ImportOption = None,
) -> None:
    """Train a judge: SFT cold start, GRPO stage 1 and 2, an evaluation after each, and a report.

    Example: armlite train recipes/pocket.yaml stages.sft.steps=200 --output runs/short
    """
    from armlite.claims.settings import is_claims
    from armlite.cli.screen import numbers
    from armlite.errors import ArmliteError, nearest
    from armlite.recipe import load_recipe, saved_recipe
    from armlite.stages import STAGES

    if is_claims(recipe):
        from armlite.cli.claims import train_claims

        asked = numbers(seeds) if seeds else None
        alone = variants.split(",") if variants else None
        train_claims(recipe, (overrides or [], imports or []), output, asked, alone, workers, dry_run)
        return
    if variants is not None or workers != 1:
        raise ArmliteError(f"--variants and --workers are for claims files, and {recipe} is none (kind: claims)")
    if recipe.is_dir():
        recipe, output = _of_run(recipe, overrides, resume, output)
        loaded = load_recipe(recipe, (), imports) if imports else saved_recipe(recipe)
    else:
        loaded = load_recipe(recipe, overrides or [], imports or [])
    if stage is not None and stage not in STAGES:
        raise ArmliteError(f"there is no stage {stage!r}.{nearest(stage, STAGES)} Stages: {', '.join(STAGES)}")
    if dry_run:
        _print_plans(loaded, recipe)
        return
    if loaded.model.backend == "unsloth":
        from armlite.models.unsloth import prepare

        prepare()
    folder = output or Path("runs") / loaded.name
    from armlite.cli.training import draw_end, make_display
    from armlite.lock import command_line
    from armlite.train.processes import is_first

    try:
        with make_display() as screen:
            if seeds is not None:
                from armlite.train.seeds import run_seeds, write_results

                runs = run_seeds(loaded, folder, numbers(seeds), screen.notify)
                write_results(recipe.with_suffix(".results.json"), runs)
                return
            from armlite.train.run import train as run

            run(loaded, folder, stage, resume, screen.notify, force)  # type: ignore[arg-type]
    except KeyboardInterrupt as stop:
        if is_first():
            again = command_line(*([] if seeds is not None else ["--resume"]))
            print(f"{stop or 'stopped'}; go on with: {again}", file=sys.stderr)
        raise
    draw_end(folder)


def _print_plans(recipe: "Recipe", file: Path) -> None:
    """The recipe, and behind it as comments what its stages, its benchmarks and the build of its data will take."""
    from armlite.cli.screen import print_plan
    from armlite.plan.seconds import read_profile
    from armlite.train.benchmark_plan import benchmark_lines, benchmark_plan

    profile, lines = read_profile(file.with_suffix(".bench.json")), []
    if recipe.data.build is not None:
        from armlite.curation.plan import make_plan, plan_lines
        from armlite.curation.recipe import load_data_recipe
        from armlite.train.building import check_data, with_rounds

        data = load_data_recipe(recipe.data.build)
        recipe = with_rounds(recipe, data)
        check_data(recipe, data)
        lines = plan_lines(make_plan(data, recipe.model.path, profile))
    print_plan(recipe)
    lines = benchmark_lines(benchmark_plan(recipe, profile)) + lines
    sys.stdout.write("".join(f"# {line}\n" for line in lines))


def _of_run(folder: Path, overrides: list[str] | None, resume: bool, output: Path | None) -> tuple[Path, Path]:
    """The recipe of a run directory, and the directory.

    Raises:
        ArmliteError: there is no run, or more is asked for than to go on with it.
    """
    from armlite.errors import ArmliteError

    file = folder / "recipe.yaml"
    if not file.is_file():
        raise ArmliteError(f"{folder} holds no run: it has no recipe.yaml")
    if overrides or output is not None:
        raise ArmliteError(f"{folder} goes on with the recipe that it was begun with: leave out what would change it")
    if not resume:
        raise ArmliteError(f"{folder} holds a run already: --resume goes on with it")
    return file, folder
