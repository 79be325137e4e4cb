"""`armlite calibrate`: probabilities of verdicts that mean what they say."""

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlite.cli.options import ImportOption

if TYPE_CHECKING:
    from armlite.calibration import Fitted


def calibrate(
    verdicts: Annotated[list[Path], typer.Argument(help="Folders that `armlite judge FILE --out` wrote.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, JSON, JSONL or parquet: id, label.", show_default="labels of the rows"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The judge that they are of.", show_default="the one that judged")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="PNG of the reliability.", show_default="reliability.png in the first folder")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    imports: ImportOption = None,
) -> None:
    """Fit a temperature for each kind of task to judgments with known answers, and keep it with the judge.

    Afterwards the judge tells calibrated probabilities, and `"calibrated": true` in its verdicts. What is printed as
    `after` is of judgments that the temperature was not fitted to. Remove calibration.json to undo it.

    Example: armlite calibrate runs/pairs --labels labels.csv
    """
    from armlite.batch.calibrate import calibrate as fit
    from armlite.batch.calibrate import model_of
    from armlite.models.places import calibration_file

    model = model or model_of(verdicts[0])
    found, seen = fit(verdicts, labels, model)
    file = calibration_file(model)
    picture = plot or verdicts[0] / "reliability.png"
    _plot(seen["bins"], picture)
    found.save(file)
    if json:
        typer.echo(json_.dumps({**found.model_dump(mode="json"), **seen}))
    else:
        for kind, fitted in found.kinds.items():
            _draw(kind, fitted, seen["bins"][kind])
    left = f"; {seen['left_out']} judgments had no verdict, label or probability" if seen["left_out"] else ""
    typer.echo(f"kept in {file}; reliability drawn in {picture}{left}", err=True)


def _draw(kind: str, fitted: "Fitted", bins: dict[str, list[dict[str, Any]]]) -> None:
    from rich.console import Console

    from armlite.cli.screen import figures_table

    console = Console()
    table = figures_table(
        f"{kind}: {fitted.n:,} judgments, temperature {fitted.temperature:.2f}", "", "before", "after"
    )
    for name, words in (("ece", "expected calibration error"), ("brier", "Brier score"), ("accuracy", "accuracy")):
        table.add_row(words, f"{fitted.before[name]:.3f}", f"{fitted.after[name]:.3f}")
    console.print(table)
    rows = figures_table("said, and right (█ how often, │ as said), after", "said", "judgments", "right", "")
    for row in bins["after"]:
        low, high = 100 * row["from"], 100 * row["to"]
        share = f"{100 * row['accuracy']:.0f} %"
        rows.add_row(f"{low:.0f} to {high:.0f} %", f"{row['n']:,}", share, _bar(row["accuracy"], row["probability"]))
    console.print(rows)


def _bar(right: float, said: float, width: int = 30) -> str:
    """A bar as long as the share that was right, with a mark where it should end."""
    cells = ["█" if i < round(right * width) else " " for i in range(width + 1)]
    cells[round(said * width)] = "│"
    return "".join(cells).ljust(width + 1)


def _plot(bins: dict[str, dict[str, list[dict[str, Any]]]], file: Path) -> None:
    """For each kind of task the share that was right against the probability that was said, before and after."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(bins), figsize=(4.5 * len(bins), 4.2), squeeze=False)
    for axis, (kind, drawn) in zip(axes[0], bins.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as said")
        for name, marker in (("before", "x"), ("after", "o")):
            points = [(row["probability"], row["accuracy"], row["n"]) for row in drawn[name]]
            axis.plot([p for p, _, _ in points], [a for _, a, _ in points], marker=marker, label=name)
        axis.set(title=kind, xlabel="probability of the verdict", ylabel="share that was right")
        axis.set(xlim=(0, 1.02), ylim=(-0.02, 1.02))
        axis.legend(loc="lower right")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
