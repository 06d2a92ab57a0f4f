"""`coldtui doctor`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from coldtui.cli.doctor import RIGHTS, SLOW_S, certificate, clock, minor, skew, terminal
from coldtui.domain.errors import ColdError, Throttled, Unauthorized, Unreachable
from coldtui.domain.nodes import Lease
from coldtui.lab.fakes import FakeKube
from tests.cli.means import Cli, a_site
from tests.tui.worlds import NOW, healthy, node, with_nodes, with_shelf


def states(found: dict[str, list[dict[str, str]]]) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for check in found["checks"]:
        out.setdefault(check["name"], set()).add(check["state"])
    return out


def test_a_well_site_is_well(cli: Cli) -> None:
    """Over a healthy site every check of the API passes, and the exit code is 0."""
    found = cli("doctor", "--json", connector=a_site)
    assert found.code == 0, found.out
    seen = states(found.json)
    for name in (
        "configuration",
        "state folder",
        "log",
        "kubeconfig",
        "login",
        "Kubernetes API",
        "version",
        "permissions",
        "CloudNativePG",
        "kubelets",
    ):
        assert seen[name] == {"ok"}, name


def test_a_dead_api_fails_with_exit_4_and_the_rest_is_still_checked(cli: Cli) -> None:
    """What does not need the API is told all the same."""
    kube = a_site()
    kube.kill()
    found = cli("doctor", kube=kube)
    assert found.code == 4
    assert [row[:2] for row in found.rows if row[0] == "FAIL"] == [["FAIL", "Kubernetes API"]]
    assert any(row[:2] == ["ok", "state folder"] for row in found.rows)
    assert "1 failed" in found.err


def test_a_missing_permission_names_verb_resource_and_group(cli: Cli) -> None:
    """A right without which nothing can be shown fails with 5; others are warnings, one line for each group, and nothing is said twice."""

    def poor() -> FakeKube:
        kube = a_site()
        kube.allowed = lambda verb, group, resource: (
            "*" not in (verb, group) and group != "longhorn.io" and not (resource == "pods" and verb == "watch")
        )
        return kube

    found = cli("doctor", connector=poor)
    assert found.code == 5
    said = {row[2].partition(" → ")[0]: row[0] for row in found.rows if row[1] == "permissions"}
    assert said["needs watch on pods"] == "FAIL"
    longhorn = "volumes, nodes, replicas, engines, backups, backuptargets, snapshots, recurringjobs, settings, volumeattachments"
    assert said[f"needs get, list, watch on {longhorn} (longhorn.io)"] == "warn"
    assert len(said) == 3


def test_every_right_of_the_viewers_account_is_asked_for() -> None:
    """What deploy/viewer-rbac.yaml grants on resources is what the doctor asks for, verb by verb."""
    documents = yaml.safe_load_all((Path(__file__).parents[2] / "deploy" / "viewer-rbac.yaml").read_text())
    granted = {
        (verb, resource, group)
        for document in documents
        for rule in document.get("rules") or ()
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
        for verb in rule["verbs"]
    }
    assert granted == {(r.verb, r.resource, r.group) for r in RIGHTS} | {("get", "nodes/stats", "")}


def test_a_user_who_may_do_everything_is_asked_one_question(cli: Cli) -> None:
    """An administrator's doctor is quick: the hundred rights are one question, and whether it may switch over another."""
    kube = a_site()
    assert cli("doctor", connector=lambda: kube).code == 0
    assert kube.count("may") == 2


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Unauthorized("credentials refused", hint="renew them"), 5, "credentials refused"),
        (Throttled("the API server asks to slow down"), 4, "asks to slow down"),
        (Unreachable("no answer: timed out"), 4, "timed out"),
    ],
)
def test_the_exit_code_is_that_of_every_other_command(cli: Cli, error: ColdError, code: int, words: str) -> None:
    """Refused credentials are 5, an API that answers nothing is 4, as `coldtui nodes` would end."""

    def ill() -> FakeKube:
        kube = a_site()
        kube.fail("facts", lambda: error, times=None)
        kube.fail("list", lambda: error, times=None)
        return kube

    found = cli("doctor", connector=ill)
    assert found.code == code == cli("nodes", connector=ill).code
    assert any(row[0] == "FAIL" and words in row[2] for row in found.rows)


def test_a_slow_api_is_slow_and_not_dead(cli: Cli) -> None:
    """When each answer takes its time the doctor says how long, and ends with 0 once all have come."""

    class Slow(FakeKube):
        async def alive(self, *, deadline_s: float = 3.0) -> str:
            await asyncio.sleep(SLOW_S + 0.05)
            return await super().alive(deadline_s=deadline_s)

    site = a_site()

    def slow() -> FakeKube:
        kube = Slow({kind: list(site.objects(kind).values()) for kind in ("nodes", "leases", "pods", "pg_clusters", "node_usage")})
        kube.stats = site.stats
        return kube

    found = cli("doctor", connector=slow)
    assert found.code == 0, found.out
    assert any(row[0] == "warn" and row[2].startswith(f"slow: {SLOW_S + 0.1:.1f} s a request") for row in found.rows)


def test_state_folder_and_odd_variables_are_told(cli: Cli) -> None:
    """A state folder that cannot be used fails with its remedy; a mistyped variable is a warning."""
    (cli.folder / "state").write_text("in the way")
    cli.environ["COLDTUI_THEM"] = "x"
    found = cli("doctor", "--json", connector=a_site)
    assert found.code == 1
    checks = {c["name"]: c for c in found.json["checks"]}
    assert checks["state folder"]["state"] == "fail"
    assert checks["state folder"]["remedy"] == "remove it or set state_dir"
    assert checks["environment"]["words"].startswith("COLDTUI_THEM means nothing")
    assert checks["log"]["state"] == "warn"


def test_a_kubeconfig_that_others_can_read_is_a_warning(cli: Cli) -> None:
    """It holds credentials."""
    (cli.folder / "kubeconfig").chmod(0o644)
    found = cli("doctor", "--json", connector=a_site).json
    assert any("chmod 600" in (c["remedy"] or "") for c in found["checks"] if c["name"] == "kubeconfig")


@pytest.mark.parametrize(("days", "state"), [(-1, "FAIL"), (10, "warn"), (200, "ok")])
def test_the_client_certificates_end(days: int, state: str) -> None:
    """Expired, soon, far: fail, warn, ok."""
    assert certificate(NOW + timedelta(days=days), NOW).state == state


def test_clock_skew_is_judged_by_the_nodes_leases() -> None:
    """Leases from the future or long past tell that a clock is wrong."""

    def at(seconds: float) -> str:
        lease = Lease("n", NOW + timedelta(seconds=seconds), NOW)
        return next(iter(clock(with_shelf(healthy(), "leases", [lease]), NOW))).state

    assert (at(-4), at(60), at(-300)) == ("ok", "warn", "warn")


@pytest.mark.parametrize(
    ("skew_s", "said"),
    [
        (90.0, "warn this machine is 90 s behind the API server"),
        (-7.0, "warn this machine is 7 s ahead of the API server"),
        (1.2, "ok agrees with"),
    ],
)
def test_the_servers_own_clock_is_compared(cli: Cli, skew_s: float, said: str) -> None:
    """The date of the API's answers tells how far this machine's clock is off; more than 5 s is a warning."""

    def skewed() -> FakeKube:
        kube = a_site()
        kube.skew_s = skew_s
        return kube

    found = cli("doctor", connector=skewed)
    assert any(" ".join((row[0], row[2])).startswith(said) for row in found.rows if row[1] == "clock"), found.out


def test_version_skew_of_kubelets() -> None:
    """A kubelet newer than the server, or four minors older, is a warning; up to three older is fine."""
    assert (minor("v1.34.4+k3s1"), minor("odd")) == (34, None)
    world = with_nodes(healthy(), [replace(node(v), kubelet_version=v) for v in ("v1.35.0", "v1.31.9", "v1.30.1", "v1.34.4")])
    assert sorted(check.words.split()[2] for check in skew(world)) == ["v1.30.1", "v1.35.0"]


def test_terminal_facts() -> None:
    """In a pipe the console cannot be drawn, which is a warning and not a failure."""
    assert next(iter(terminal({"TERM": "xterm"}))).state == "warn"
