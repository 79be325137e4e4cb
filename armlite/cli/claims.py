"""`armlite train FILE` where the file is one of claims: variants of a recipe, and what comes of them."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from armlite.claims.settings import Claims, load_claims
from armlite.errors import ArmliteError, nearest


def train_claims(
    file: Path,
    words: tuple[list[str], list[str]],
    output: Path | None,
    seeds: list[int] | None,
    variants: list[str] | None,
    workers: int,
    dry_run: bool,
) -> None:
    """Run what a claims file asks for, judge its claims, and show the table.

    Args:
        words: overrides and imports.
        seeds: None: those of the file.
        variants: names; None: all.
        workers: seeds at once.

    Raises:
        ArmliteError: the file, a variant, or a setting is wrong.
    """
    claims = load_claims(file, *words)
    names = [variant.name for variant in claims.variants]
    if unknown := [name for name in variants or () if name not in names]:
        raise ArmliteError(f"{file} has no variant {unknown[0]!r}.{nearest(unknown[0], names)} {', '.join(names)}")
    if dry_run:
        print_plan(claims)
        return
    asked, folder = seeds or list(claims.seeds), output or Path("runs") / f"claims-{claims.name}"
    from armlite.lock import held

    with held(folder):
        _run(claims, file, words, folder, asked, variants or names, workers)
        from armlite.claims.report import judge_claims, write_claims

        judged = judge_claims(claims, folder, asked)
        write_claims(folder, judged)
    _show(folder, judged)


def _run(
    claims: Claims,
    file: Path,
    words: tuple[list[str], list[str]],
    folder: Path,
    seeds: list[int],
    names: Sequence[str],
    workers: int,
) -> None:
    from armlite.claims.runs import make_bases, run_claims, run_side_by_side
    from armlite.cli.training import make_display
    from armlite.lock import command_line

    try:
        if workers > 1:
            with make_display() as screen:
                make_bases(claims, names, screen.notify)
            run_side_by_side(file, words, folder, seeds, names, workers)
            return
        with make_display() as screen:
            run_claims(claims, folder, seeds, names, screen.notify)
    except KeyboardInterrupt as stop:
        print(f"{stop or 'stopped'}; go on with: {command_line()}", file=sys.stderr)
        raise


def print_plan(claims: Claims) -> None:
    """Which variant trains which stages, and which it takes over."""
    from armlite.claims.runs import shared_stages

    for number, variant in enumerate(claims.variants):
        steps = {name: stage.steps for name, stage in variant.recipe.stages.named().items()}
        earlier = [v for v in claims.variants[:number] if v.control_of is None]
        shared = [(v.name, found) for v in earlier if (found := shared_stages(v.recipe, variant.recipe))]
        donor, taken = max(shared, key=lambda row: len(row[1]), default=("", []))
        own = [f"{name} {n} steps" for name, n in steps.items() if name not in taken]
        if variant.control_of is not None:
            own = [f"sft, as many steps as fit the time of {variant.control_of}"]
        over = f"{' and '.join(taken)} of {donor}, then " if taken else ""
        sys.stdout.write(f"{variant.name}: {over}{', '.join(own) or 'nothing more'}\n")
    sys.stdout.write(f"seeds {', '.join(map(str, claims.seeds))}\n")
    for claim in claims.claims:
        sys.stdout.write(f"claim {claim.id}: {claim.text}: {'; '.join(check.text for check in claim.checks)}\n")


def _show(folder: Path, judged: dict[str, object]) -> None:
    from armlite.claims.report import summary_rows

    table = Table(title=str(folder), title_justify="left")
    for column in ("", "claim", "verdict", "measured"):
        table.add_column(column)
    for row in summary_rows(judged):
        table.add_row(*row)
    Console().print(table)
    sys.stdout.write(f"claims: {folder / 'claims.md'}\n")
