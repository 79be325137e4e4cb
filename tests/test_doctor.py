"""The doctor: it reports on a real environment and says how to mend what is wrong."""

import json
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from real.kit import RANGES
from typer.testing import CliRunner

from armlite.cli import app
from armlite.doctor import TORCHVISION, Finding, _package, examine


def test_every_required_package_and_the_4_bit_layers_are_looked_at():
    findings = {finding.name: finding for finding in examine()}
    required = [Requirement(r).name for r in requires("armlite") or () if "extra" not in r]
    assert {"python", "4-bit weights", "disk", "armlite uses", *required} <= set(findings)
    assert all(f.fix for f in findings.values() if f.state == "problem")


def test_the_versions_that_were_tried_are_both_ends_of_the_ranges():
    kept = yaml.safe_load((Path(__file__).parents[1] / "armlite/tried.yaml").read_text("utf-8"))
    [said] = [finding.text for finding in examine() if finding.name == "tried with"]
    ranges = {r.name: r.specifier for r in map(Requirement, requires("armlite") or ()) if "extra" not in str(r.marker)}
    for run in kept.values():
        assert run["versions"]["transformers"] in said and run["date"] in said
        assert all(ranges[name].contains(run["versions"][name]) for name in ("transformers", "trl", "torch", "peft"))
        assert run["passed"] > 50


@pytest.mark.parametrize(
    ("wanted", "says"),
    [("pydantic<1", "needs <1"), ("no-such-package-here>=2", "not installed")],
)
def test_a_package_that_is_missing_or_out_of_range_comes_with_the_command_that_mends_it(wanted, says):
    finding = _package(Requirement(wanted))
    assert finding == Finding(finding.name, "problem", finding.text, f"pip install '{wanted}'")
    assert says in finding.text


def test_a_torch_that_a_kit_brought_comes_with_the_way_back():
    finding = _package(Requirement("torch<2"))
    assert finding.state == "problem" and "but armlite needs <2" in finding.text
    assert finding.fix.startswith(f"pip install 'torch<2' '{TORCHVISION}'") and "armlite docs kits" in finding.fix


def test_the_ranges_that_are_named_with_a_kit_are_those_of_the_package():
    [torch] = [r.replace(" ", "") for r in requires("armlite") or () if Requirement(r).name == "torch"]
    wanted = {str(Requirement(torch).specifier), str(Requirement(TORCHVISION).specifier)}
    assert {str(Requirement(r).specifier) for r in RANGES} == wanted
    page = (Path(__file__).parents[1] / "armlite/docs/kits.md").read_text("utf-8")
    assert page.count(" ".join(f"'{r}'" for r in RANGES)) == 2


def test_the_command_prints_json_and_its_exit_status_says_whether_something_is_wrong():
    run = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(run.stdout)
    assert run.exit_code == int(any(f["state"] == "problem" for f in findings))
    text = CliRunner().invoke(app, ["doctor"])
    assert "torch" in text.stdout and text.exit_code == run.exit_code
