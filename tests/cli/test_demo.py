"""`coldtui demo`: what is wrong with its words is said before anything is started."""

from __future__ import annotations

import pytest

from coldtui.lab.demo import faults
from tests.cli.means import Cli


@pytest.mark.parametrize("version", ["x", "v1", "1.34.1", "v1.34.1+", "v2.0.0"])
def test_a_version_that_is_none_is_one_clear_line(cli: Cli, version: str) -> None:
    """A version that cannot be one ends with 2, the remedy and no traceback."""
    found = cli("demo", "--headless", "--k3s-version", version)
    assert found.code == 2
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert f"--k3s-version {version} is no version of K3s" in found.err
    assert "v1.34.4+k3s1" in found.err


def test_the_machine_of_a_fault_can_be_named_in_both_ways() -> None:
    """What the list of faults says is what is understood."""
    assert "node=NAME" in faults()["node-down"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["node-down", "on", "--node", "a", "node=b"], "different things"),
        (["slow", "on", "--node", "a"], "is for no node"),
    ],
)
def test_a_node_that_means_nothing_is_refused(cli: Cli, words: list[str], said: str) -> None:
    """A machine named twice, or for a fault that has none, ends with 2 and switches nothing."""
    found = cli("demo", "fault", *words)
    assert found.code == 2
    assert said in found.err
