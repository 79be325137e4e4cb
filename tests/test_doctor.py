"""The doctor: it reports on a real environment and says how to mend what is wrong."""

import json
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from armlite.cli import app
from armlite.doctor import Finding, _package, examine


def test_every_required_package_and_the_4_bit_layers_are_looked_at():
    findings = {finding.name: finding for finding in examine()}
    required = [Requirement(r).name for r in requires("armlite") or () if "extra" not in r]
    assert {"python", "4-bit weights", "disk", "armlite uses", *required} <= set(findings)
    assert all(f.fix for f in findings.values() if f.state == "problem")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [("pydantic<1", "needs <1"), ("no-such-package-here>=2", "not installed")],
)
def test_a_package_that_is_missing_or_out_of_range_comes_with_the_command_that_mends_it(wanted, says):
    finding = _package(Requirement(wanted))
    assert finding == Finding(finding.name, "problem", finding.text, f"pip install '{wanted}'")
    assert says in finding.text


def test_the_command_prints_json_and_its_exit_status_says_whether_something_is_wrong():
    run = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(run.stdout)
    assert run.exit_code == int(any(f["state"] == "problem" for f in findings))
    text = CliRunner().invoke(app, ["doctor"])
    assert "torch" in text.stdout and text.exit_code == run.exit_code
