"""`coldtui doctor`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from coldtui.cli.doctor import certificate, clock, minor, skew, terminal
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


def test_a_missing_permission_names_verb_and_resource(cli: Cli) -> None:
    """A verb that is not granted fails with what to grant; without either kubelet right there is a warning."""

    def poor() -> FakeKube:
        kube = a_site()
        kube.allowed = lambda verb, group, resource: not (resource == "pods" and verb == "watch")
        return kube

    found = cli("doctor", connector=poor)
    assert found.code == 1
    assert any("not permitted: watch pods" in row[-1] for row in found.rows if row[0] == "FAIL")


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


def test_version_skew_of_kubelets() -> None:
    """A kubelet newer than the server, or four minors older, is a warning; up to three older is fine."""
    assert (minor("v1.34.4+k3s1"), minor("odd")) == (34, None)
    world = with_nodes(healthy(), [replace(node(v), kubelet_version=v) for v in ("v1.35.0", "v1.31.9", "v1.30.1", "v1.34.4")])
    assert sorted(check.words.split()[2] for check in skew(world)) == ["v1.30.1", "v1.35.0"]


def test_terminal_facts() -> None:
    """In a pipe the console cannot be drawn, which is a warning and not a failure."""
    assert next(iter(terminal({"TERM": "xterm"}))).state == "warn"
