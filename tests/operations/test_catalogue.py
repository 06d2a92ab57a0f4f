"""The catalogue: names cost nothing, and what is behind them fits together."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from coldtui.domain.errors import UsageError
from coldtui.operations.catalogue import CATALOGUE, OPERATIONS, find, steps_of
from coldtui.operations.engine import Step
from coldtui.operations.params import params_of
from tests.operations.means import ROOT

ALL = tuple(CATALOGUE)
OF_THE_SITE = ("postgres.failover",)
"""Whose object is the site's own where none is given."""


def test_names_are_known_without_importing_what_is_behind() -> None:
    """Help and completion list operations; only the one that is asked for is loaded."""
    code = (
        "import json, sys\nfrom coldtui.operations.catalogue import CATALOGUE\n"
        "print(json.dumps([list(CATALOGUE), 'node.cordon' in CATALOGUE, 'node.fly' in CATALOGUE,"
        " [m for m in sys.modules if m.startswith('coldtui.operations.') and not m.endswith('.catalogue') or m == 'asyncio']]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60)
    names, known, unknown, loaded = json.loads(done.stdout)
    assert names == list(ALL)
    assert (known, unknown) == (True, False)
    assert loaded == []


@pytest.mark.parametrize("name", ALL)
def test_an_entry_leads_to_its_operation(name: str) -> None:
    """Same name, noun and verb, something to say of itself, parameters that begin with the object, and an undo that exists."""
    operation = CATALOGUE[name]
    assert operation.name == name
    assert name.count(".") == 1
    assert operation.title
    assert operation.about[0].islower()
    assert not operation.about.endswith(".")
    params = params_of(operation.params)
    assert params[0].required or name in OF_THE_SITE
    assert all(p.about for p in params)
    assert not operation.undo or operation.undo in CATALOGUE
    assert set(steps_of(operation)) == {step.name for step in operation.steps}


def test_each_name_of_a_step_means_one_step() -> None:
    """Over the whole catalogue: a plan in the journal names steps, and a resume finds the same."""
    found: dict[str, Step] = {}
    for name in ALL:
        for step in CATALOGUE[name].steps:
            assert step.name
            assert found.setdefault(step.name, step) is step, f"{step.name} of {name} is another one elsewhere"


def test_an_operation_is_named_once() -> None:
    """The tuple has no name twice."""
    assert len({entry.name for entry in OPERATIONS}) == len(OPERATIONS)


def test_an_unknown_operation_offers_the_nearest() -> None:
    """As every mistyped word does."""
    with pytest.raises(UsageError, match=r"unknown operation node\.cordn · did you mean node\.cordon\?"):
        find("node.cordn")
    with pytest.raises(UsageError, match=r"known: node\.cordon"):
        find("xyzzy")
