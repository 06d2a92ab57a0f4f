"""Operations as commands: planned, confirmed as their rung asks, followed, with exit codes that a script can rest on. On a whole lab."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldtui.cli import secrets
from coldtui.cli.acts import ACT, Verbs, command_of, values_of
from coldtui.cli.args import command_help
from coldtui.cli.catalogue import COMMANDS, GLOBAL
from coldtui.cli.follow import not_begun
from coldtui.cli.run import understand
from coldtui.domain.errors import Cancelled, ColdError, Forbidden, Refused, Unreachable, UsageError
from coldtui.domain.plans import Finding, Plan, Rung, Weight
from coldtui.lab.demo import DemoLab, DemoOptions, start
from coldtui.operations.catalogue import CATALOGUE, OPERATIONS
from coldtui.operations.params import make, params_of
from tests.cli.means import Cli, Result
from tests.lab.apiserver.site import Client
from tests.tui.terminal import Terminal

NODE = "k3s-worker-4"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoLab]:
    home = tmp_path_factory.mktemp("lab")
    own = {"XDG_CACHE_HOME": str(home / "cache"), "XDG_RUNTIME_DIR": str(home / "run")}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        with start(DemoOptions(dir=home / "demo", still=True)) as made:
            yield made
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def at(cli: Cli, lab: DemoLab, tmp_path: Path) -> Cli:
    """The command line on the lab, with a journal of this test's own."""
    cli.environ = {**cli.environ, "COLDTUI_CONFIG": str(lab.config), "COLDTUI_STATE": str(tmp_path / "state"), "PATH": os.environ["PATH"]}
    del cli.environ["COLDTUI_KUBECONFIG"]
    text = lab.config.read_text().replace(re.search(r"state_dir: .*", lab.config.read_text())[0], f"state_dir: {tmp_path / 'state'}")  # type: ignore[index]
    config = tmp_path / "config.yaml"
    config.write_text(text)
    cli.environ["COLDTUI_CONFIG"] = str(config)
    return cli


@pytest.fixture
def node(lab: DemoLab) -> Iterator[Any]:
    """Whether the node is cordoned; it is not after the test."""
    client = Client(lab.kubeconfig)

    def cordoned() -> bool:
        return bool(client.get(f"/api/v1/nodes/{NODE}").json["spec"].get("unschedulable"))

    yield cordoned
    client.patch(f"/api/v1/nodes/{NODE}", {"spec": {"unschedulable": None}}, "application/merge-patch+json")


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


# ------------------------------------------------------------ the plan


def test_a_plan_changes_nothing_and_ends_with_the_word(at: Cli, node: Any) -> None:
    """`--plan` prints verdict and steps; the last line is the word for `--yes`, alone; exit 0, and the node is as before."""
    result = at("node", "cordon", NODE, "--plan")
    assert result.code == 0
    assert result.out.splitlines()[-1] == NODE
    assert "GO" in result.out
    assert not node()
    made = at("node", "cordon", NODE, "--plan", "--json")
    assert made.json["outlook"] == "go"
    assert list(made.json)[-1] == "confirm"
    assert made.json["confirm"] == NODE


def test_a_plan_that_is_blocked_ends_with_three(at: Cli) -> None:
    """A drain that would delete data says so on stderr; there is no word to confirm it; the JSON says why."""
    result = at("node", "drain", "k3s-worker-1", "--plan")
    assert result.code == 3
    assert "cannot be confirmed" in result.err
    assert result.out.splitlines()[-1] != "k3s-worker-1"
    made = at("node", "drain", "k3s-worker-1", "--plan", "--json")
    assert made.code == 3
    assert made.json["blocked"]


def test_an_unknown_node_offers_the_nearest(at: Cli) -> None:
    """A slip in the name is one sentence with the name that was meant."""
    result = at("node", "drain", "k3s-worker-44", "--plan")
    assert (result.code, result.out) == (1, "")
    assert "no node k3s-worker-44" in result.err
    assert NODE in result.err


def test_a_plan_takes_no_confirmation(at: Cli) -> None:
    """`--plan` with `--yes` is a mistake, not an act."""
    assert at("node", "cordon", NODE, "--plan", "--yes", NODE).code == 2


# ------------------------------------------------------------ confirming


def test_a_small_act_acts_at_once_and_leaves_its_mark(at: Cli, node: Any) -> None:
    """Cordon needs no word; it ends when the node shows it; run and audit tell of it; once more there is nothing to do."""
    result = at("node", "cordon", NODE)
    assert result.code == 0, result.err
    assert node()
    assert f"Cordon {NODE}: done" in result.err
    again = at("node", "cordon", NODE)
    assert (again.code, again.out) == (0, "")
    assert "cordoned already" in again.err
    assert [entry["what"] for entry in at("audit", "list", "--json").json["audit"]] == ["ended", "confirmed"]
    assert [run["state"] for run in at("runs", "--json").json["runs"]] == ["done"]
    assert at("node", "uncordon", NODE, "--json").code == 0
    assert not node()


def test_production_asks_for_a_word(at: Cli, node: Any) -> None:
    """On a production site even a cordon must be confirmed: refused without a terminal, done with the word."""
    at.environ["COLDTUI_PRODUCTION"] = "true"
    refused = at("node", "cordon", NODE)
    assert refused.code == 3
    assert not node()
    assert at("node", "cordon", NODE, "--yes", NODE).code == 0
    assert node()


def test_without_a_terminal_the_exact_command_is_named(at: Cli, node: Any) -> None:
    """A disruptive act in a script is refused with the command that would do it; that command does it."""
    refused = at("node", "drain", NODE, "--delete-emptydir", "--timeout", "60")
    assert refused.code == 3
    assert "there is no terminal to ask on" in refused.err
    line = refused.err.strip().rpartition(" · ")[2]
    words = shlex.split(line)
    assert words == ["coldtui", "node", "drain", NODE, "--delete-emptydir", "--timeout", "60", "--yes", NODE]
    assert not node()
    done = at(*words[1:])
    assert done.code == 0, done.err
    assert node()
    assert re.search(r"^\d\d:\d\d:\d\dZ pods/\S+: gone", done.out, re.M)
    assert "step 1 of 3: Cordon" in done.err
    assert done.err.splitlines()[-1].startswith(f"coldtui: Drain {NODE}: done")


def test_the_wrong_word_names_the_right_one(at: Cli, node: Any) -> None:
    """A word for another node confirms nothing."""
    result = at("node", "drain", NODE, "--delete-emptydir", "--yes", "k3s-worker-3")
    assert result.code == 3
    assert "'k3s-worker-3' does not confirm" in result.err
    assert f"the word is {NODE}" in result.err
    assert not node()


def test_read_only_refuses_and_the_refusal_is_in_the_audit(at: Cli, node: Any) -> None:
    """With --read-only nothing is changed, whatever word is given."""
    result = at("--read-only", "node", "cordon", NODE, "--yes", NODE)
    assert result.code == 3
    assert "nothing may be changed" in result.err
    assert not node()
    (entry,) = at("audit", "list", "--json").json["audit"]
    assert entry["what"] == "refused"
    assert at("--read-only", "node", "cordon", NODE, "--plan").code == 3


def test_a_grave_option_needs_name_and_reason(at: Cli, node: Any) -> None:
    """What asks no disruption budget is of the top rung: with the word and without a reason it is refused."""
    result = at("node", "drain", NODE, "--delete-emptydir", "--disable-eviction", "--yes", NODE)
    assert result.code == 3
    assert "reason" in result.err
    assert not node()
    plan = at("node", "drain", NODE, "--delete-emptydir", "--disable-eviction", "--plan", "--json").json
    assert (plan["rung"], plan["needs_reason"]) == (3, True)


def test_json_is_a_line_for_each_event_and_the_result_last(at: Cli, node: Any) -> None:
    """Every line is JSON; steps and pods are among them; the last has state and exit code."""
    result = at("node", "drain", NODE, "--delete-emptydir", "--yes", NODE, "--json")
    assert result.code == 0, result.err
    told = events(result)
    assert {"started", "finished", "item", "ended", "result"} <= {line["event"] for line in told}
    assert (told[-1]["event"], told[-1]["state"], told[-1]["exit"]) == ("result", "done", 0)
    assert told[-1]["run"] == told[0]["run"]


def test_detached_it_prints_the_id_and_goes_on(at: Cli, node: Any) -> None:
    """`--detach` returns with the id alone on stdout; `run follow` shows the run to its end, with its exit code."""
    result = at("node", "drain", NODE, "--delete-emptydir", "--yes", NODE, "--detach")
    assert result.code == 0, result.err
    id = result.out.strip()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", id)
    followed = at("run", "follow", id)
    assert followed.code == 0
    assert "gone" in followed.out
    assert at("run", "show", id, "--json").json["state"] == "done"


def test_json_ends_with_a_result_also_when_nothing_was_begun(at: Cli, node: Any) -> None:
    """Refused, and nothing to do: one line that a script can read, with the exit code."""
    refused = at("node", "drain", NODE, "--delete-emptydir", "--yes", "k3s-worker-3", "--json")
    assert refused.code == 3
    (told,) = events(refused)
    assert (told["event"], told["run"], told["state"], told["exit"]) == ("result", None, "refused", 3)
    nothing = at("node", "uncordon", NODE, "--json")
    assert nothing.code == 0
    assert events(nothing)[0]["state"] == "done"


@pytest.mark.parametrize(("fault", "code"), [("api-down", 4), ("unauthorized", 5)])
def test_an_api_that_does_not_answer_or_does_not_let_us(at: Cli, lab: DemoLab, fault: str, code: int) -> None:
    """Unreachable is 4, refused credentials are 5; nothing is planned and no run begins."""
    lab.fault(fault, True)
    try:
        assert at("node", "cordon", NODE).code == code
        assert at("node", "drain", NODE, "--plan").code == code
    finally:
        lab.fault(fault, False)
    assert at("runs", "--json").json["runs"] == []


# ------------------------------------------------------------ on a terminal


def on_terminal(at: Cli, *words: str) -> Terminal:
    environ = {**at.environ, "HOME": str(at.folder)}
    return Terminal([sys.executable, "-m", "coldtui", *words], cols=100, rows=40, environ=environ)


@pytest.mark.parametrize(("typed", "code"), [("drain", 0), ("yes", 3), ("", 3)])
def test_a_disruptive_act_shows_its_plan_and_wants_the_verb(at: Cli, node: Any, typed: str, code: int) -> None:
    """The plan is shown, the verb is asked for; another word, or none, does nothing and ends with 3."""
    t = on_terminal(at, "node", "drain", NODE, "--delete-emptydir")
    try:
        t.until("Type drain to go on:")
        assert not node()
        t.send(f"{typed}\n")
        assert t.wait(40) == code
        assert node() is (code == 0)
    finally:
        t.close()


def test_ctrl_c_at_the_question_does_nothing(at: Cli, node: Any) -> None:
    """Leaving at the prompt ends at once with 6, says so, and nothing was changed."""
    t = on_terminal(at, "node", "drain", NODE, "--delete-emptydir")
    try:
        t.until("Type drain to go on:")
        t.send("\x03")
        assert t.wait() == 6
        assert "coldtui: cancelled · nothing was done" in t.text
        assert not node()
    finally:
        t.close()
    assert at("audit", "list", "--json").json["audit"] == []


def test_what_was_typed_before_the_question_is_no_answer(at: Cli, node: Any) -> None:
    """Type-ahead does not confirm: what was in the terminal before the question is dropped."""
    t = on_terminal(at, "node", "drain", NODE, "--delete-emptydir")
    try:
        t.send("drain\ndrain\n")
        t.until("Type drain to go on:")
        t.quiet(0.5)
        assert t.code is None
        assert not node()
        t.send("\x03")
        assert t.wait() == 6
    finally:
        t.close()


def test_a_closed_terminal_does_not_stop_the_run(at: Cli, node: Any, lab: DemoLab) -> None:
    """The terminal is closed in the middle of a drain: it goes on to its end, and another session follows it."""
    t = on_terminal(at, "node", "drain", NODE, "--delete-emptydir", "--yes", NODE)
    try:
        t.until("evicting", 20)
        t.hang_up()
        t.wait()
    finally:
        t.close()
    (run,) = at("runs", "--json").json["runs"]
    assert at("run", "follow", run["id"]).code == 0
    assert node()


# ------------------------------------------------------------ made from the declarations


@pytest.mark.parametrize("entry", [e for e in OPERATIONS if e.name.startswith("node.")], ids=lambda e: e.name)
def test_every_operation_on_nodes_is_a_command(entry: Any) -> None:
    """Each parameter is a flag or a word, none hides another, the help names exit codes; the noun's line in --help names the verb."""
    operation = CATALOGUE[entry.name]
    noun, _, verb = entry.name.partition(".")
    command = Verbs(noun)[verb]
    assert command == command_of(operation)
    names = [name for flag in command.flags for name in flag.names]
    assert len(names) == len(set(names))
    assert not set(names) & {name for flag in GLOBAL for name in flag.names}
    assert {name for flag in ACT for name in flag.names} <= set(names)
    assert "Exit codes: 0 done" in command_help(command, GLOBAL)
    assert verb in COMMANDS[noun].about
    assert len(command.words) == sum(p.required for p in params_of(operation.params))


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (Forbidden("needs patch on nodes"), "refused", 5),
        (Refused("no"), "refused", 3),
        (Cancelled("no"), "cancelled", 6),
        (Unreachable("no"), "failed", 4),
    ],
)
def test_an_act_that_did_not_begin_says_how(error: ColdError, state: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The result as JSON: a missing right refuses an act, it does not fail it."""
    not_begun(error)
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["state"], told["exit"]) == (None, state, code)


def test_flags_become_parameters() -> None:
    """Switches, numbers (negative ones too) and texts reach the operation's own checks; what was not given is left to its defaults."""
    operation = CATALOGUE["node.drain"]
    parsed = understand(["node", "drain", "w1", "--grace", "-1", "--delete-emptydir", "--pod-selector=app=x"])
    values = values_of(operation, parsed.words, parsed.flags)
    assert values == {"node": "w1", "grace": "-1", "delete_emptydir": True, "pod_selector": "app=x"}
    made = make(operation.params, values)
    assert (made.node, made.grace, made.delete_emptydir) == ("w1", -1, True)
    with pytest.raises(UsageError, match="grace"):
        make(operation.params, values_of(operation, ("w1",), understand(["node", "drain", "w1", "--grace", "soon"]).flags))


@pytest.mark.parametrize(
    ("argv", "words", "offer"),
    [
        (["node"], "node needs a verb", "cordon"),
        (["node", "drian", "x"], "unknown verb 'drian' of node", "did you mean drain?"),
        (["run", "flollow", "x"], "unknown verb 'flollow' of run", "did you mean follow?"),
        (["audit", "verfy"], "unknown verb 'verfy' of audit", "did you mean verify?"),
        (["node", "drain"], "node drain needs NODE", "coldtui node drain NODE [flags]"),
        (["node", "drain", "x", "--disable-evicton"], "unknown flag '--disable-evicton' of node drain", "did you mean --disable-eviction?"),
        (["node", "--zzz", "drain", "x"], "unknown flag '--zzz' of node", "flags of a verb stand behind it"),
        (["run", "show"], "run show needs ID", ""),
    ],
)
def test_mistakes_in_verbs_offer_what_is_nearest(argv: list[str], words: str, offer: str) -> None:
    """The noun names its verbs, a verb its flags; a slip is answered with what was meant."""
    with pytest.raises(UsageError) as caught:
        understand(argv)
    assert str(caught.value).startswith(words)
    assert offer in str(caught.value)


def test_help_on_everything_loads_no_operation() -> None:
    """`coldtui --help` names the nouns without importing what is behind them; one verb imports its own operation only."""
    code = "import sys; sys.argv[1:] = ['--help']; from coldtui.__main__ import main; main(); print([m for m in sys.modules if 'operations' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"
    code = code.replace("'--help'", "'node', 'cordon', '--help'")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert "drain" not in done.stdout.splitlines()[-1]


# ------------------------------------------------------------ secrets

PLAN = Plan("node.reboot", "Reboot w1", "nodes/w1", (), (), (), Rung.DISRUPTIVE, "reboot", "w1")
WANTS = replace(PLAN, findings=(Finding("needs-secret.sudo", Weight.NOTE, "sudo on w1 wants a password", "secrets/sudo/w1"),))


class Called:
    """As much of a call as secrets ask for."""

    def __init__(self, fd: int | None) -> None:
        flags = {} if fd is None else {"secrets_fd": fd}
        self.parsed = replace(understand(["nodes"]), flags=flags)


def piped(data: str) -> int:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as pipe:  # it fits into the pipe
        pipe.write(data.encode())
    return read


def test_secrets_come_through_a_descriptor() -> None:
    """One JSON object on an inherited descriptor; the values are secrets whose text is hidden."""
    found = secrets.given(Called(piped('{"sudo/w1": "hunter2"}')), WANTS)  # type: ignore[arg-type]
    assert found["sudo/w1"].reveal() == "hunter2"
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("data", ["", "[]", "hunter2", '{"a": 1}', '{"a": '])
def test_what_is_no_object_of_texts_is_a_mistake_that_shows_nothing(data: str) -> None:
    """Exit 2, with an example; what was read is in no message."""
    with pytest.raises(UsageError) as caught:
        secrets.given(Called(piped(data)), WANTS)  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
    assert "sudo/k3s-worker-1" in str(caught.value)


def test_a_missing_secret_without_a_terminal_is_refused() -> None:
    """It says which secret and how to give it; a plan that needs none asks for none."""
    with pytest.raises(Refused) as caught:
        secrets.given(Called(None), WANTS)  # type: ignore[arg-type]
    assert "sudo/w1" in str(caught.value)
    assert "--secrets-fd" in str(caught.value)
    assert secrets.given(Called(None), PLAN) == {}  # type: ignore[arg-type]


def test_the_target_of_a_switchover_may_be_named() -> None:
    """`--to X` and a bare word mean the same, as scripts may use either."""
    from coldtui.operations.catalogue import find

    operation = find("postgres.switchover")
    assert values_of(operation, (), {"to": "pg-2"}) == values_of(operation, ("pg-2",), {}) == {"to": "pg-2"}
