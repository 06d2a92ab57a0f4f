"""The command line taken apart."""

from __future__ import annotations

import pytest

from coldtui.__main__ import TAKES_A_VALUE, wants_console
from coldtui.cli.args import command_help
from coldtui.cli.catalogue import COMMANDS, GLOBAL
from coldtui.cli.run import understand
from coldtui.domain.errors import UsageError


def test_flags_are_understood_wherever_they_stand() -> None:
    """Global flags before and after the noun, values with and without =, short ones glued."""
    parsed = understand(["--context", "cold", "pods", "--kubeconfig=/k", "-nkube-system", "-w", "--sort", "age", "-o=wide"])
    assert parsed.command is COMMANDS["pods"]
    assert dict(parsed.flags) == {
        "context": "cold", "kubeconfig": "/k", "namespace": "kube-system", "watch": True, "sort": "age", "output": "wide",
    }  # fmt: skip
    assert dict(understand(["logs", "-fp", "-c", "app", "web"]).flags) == {"follow": True, "previous": True, "container": "app"}
    assert understand(["logs", "--", "-odd-name"]).words == ("-odd-name",)


@pytest.mark.parametrize(
    ("argv", "words", "offer"),
    [
        (["nodse"], "unknown command 'nodse'", "did you mean nodes?"),
        (["--contxt", "x"], "unknown flag '--contxt'", "did you mean --context?"),
        (["nodes", "--jsn"], "unknown flag '--jsn' of nodes", "did you mean --json?"),
        (["nodes", "-x"], "unknown flag '-x' of nodes", ""),
        (["nodes", "--json=yes"], "--json takes no value", "write --json alone"),
        (["nodes", "--sort"], "--sort needs COLUMN", "write --sort COLUMN"),
        (["nodes", "-o", "wid"], "-o cannot be 'wid'", "did you mean wide?"),
        (["nodes", "more"], "nodes does not take 'more'", "coldtui nodes [flags]"),
        (["logs"], "logs needs POD", "coldtui logs POD [flags]"),
        (["logs", "a", "--tail", "-5"], "--tail needs a whole number", ""),
        (["logs", "a", "--tail", "٣"], "--tail needs a whole number", ""),
        (["\x1b[31m"], "unknown command '\ufffd[31m'", ""),
    ],
)
def test_mistakes_offer_what_is_nearest(argv: list[str], words: str, offer: str) -> None:
    """One sentence that names the mistake, and the remedy; control characters are harmless."""
    with pytest.raises(UsageError) as caught:
        understand(argv)
    assert str(caught.value).startswith(words)
    assert offer in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_entrance_knows_which_flags_take_a_value() -> None:
    """The list that decides before any import whether the console is wanted is the catalogue's."""
    assert {name for flag in GLOBAL if flag.value for name in flag.names} == TAKES_A_VALUE


@pytest.mark.parametrize(
    ("argv", "console"),
    [
        ([], True), (["--context", "nodes"], True), (["--read-only", "--mouse"], True), (["nodes"], False), (["--context", "a", "pods"], False),
        (["--help"], False), (["--version"], False), (["--context=a"], True), (["-n", "x"], True),
    ],
)  # fmt: skip
def test_the_console_is_recognised(argv: list[str], console: bool) -> None:
    """Only a call without a command draws the saved picture."""
    assert wants_console(argv) is console
    if "--help" not in argv and "--version" not in argv:
        assert (understand(argv).command is None) is console


@pytest.mark.parametrize("name", ["status", "nodes", "logs", "doctor", "demo"])
def test_help_names_the_exit_codes(name: str) -> None:
    """Whoever writes a script finds what each end means in the help of the command itself."""
    assert "Exit codes: 0 " in command_help(COMMANDS[name], GLOBAL)
