"""The names that an operator types: short ones where the operation's own is long, each listed once, both understood."""

from __future__ import annotations

import pytest

from coldtui.cli.acts import ALIASES, Verbs, operation_name
from coldtui.cli.catalogue import COMMANDS
from coldtui.cli.run import understand
from coldtui.operations.catalogue import OPERATIONS
from tests.cli.means import Cli


def test_every_operation_of_the_database_has_one_name_in_the_help(cli: Cli) -> None:
    """Help lists the listings and each operation once, by its short name where it has one."""
    names = list(Verbs("postgres"))
    assert len(names) == len(set(names)) == sum(entry.name.startswith("postgres.") for entry in OPERATIONS)
    shown = [line.split()[0] for line in cli("postgres", "--help").out.partition("Verbs\n")[2].partition("\n\n")[0].splitlines()]
    assert shown == [*("status", "sessions", "locks", "databases"), *names]
    assert {
        "switchover",
        "failover",
        "restart",
        "fence",
        "unfence",
        "hibernate",
        "wake",
        "reclone",
        "cancel",
        "terminate",
        "maintenance",
    } == set(names)


@pytest.mark.parametrize(("short", "name"), ALIASES.items())
def test_both_names_are_the_same_operation(short: str, name: str) -> None:
    """The short name and the operation's own give the same words and flags; each usage line says what was typed."""
    noun, _, verb = short.partition(" ")
    long = name.partition(".")[2]
    typed, own = COMMANDS[noun].verbs[verb], COMMANDS[noun].verbs[long]
    assert (typed.name, own.name) == (short, f"{noun} {long}")
    assert (typed.words, typed.flags, typed.about) == (own.words, own.flags, own.about)
    assert operation_name(typed.name) == operation_name(own.name) == name


def test_a_name_that_is_no_verb_is_offered_the_short_one(cli: Cli) -> None:
    """A slip is led to what help lists."""
    found = cli("postgres", "restrat", "postgres-2")
    assert (found.code, found.out) == (2, "")
    assert "did you mean restart?" in found.err


def test_state_and_listings_are_verbs_too() -> None:
    """`postgres status` and the others take the flags of listings."""
    assert understand(["postgres", "status", "--json"]).flags == {"json": True}
    parsed = understand(["postgres", "--json", "locks", "--filter", "app"])
    assert parsed.command is not None
    assert (parsed.command.name, parsed.flags) == ("postgres locks", {"json": True, "filter": "app"})


def test_choices_of_a_flag_are_told(cli: Cli) -> None:
    """Help names what a flag may be."""
    assert "auto, wait, out-of-service, patch, delete-pod" in cli("postgres", "failover", "--help").out
