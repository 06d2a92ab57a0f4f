"""Listings over a fake API server: rows, JSON, exit codes, watching."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coldtui.config.load import load
from coldtui.domain.errors import Forbidden, Misconfigured, NotInstalled, Unauthorized
from coldtui.domain.kinds import KINDS
from coldtui.lab.fakes import FakeKube
from coldtui.ports import Kube
from coldtui.wiring import Site, open_site
from tests import sample
from tests.cli.means import Cli, a_site
from tests.tui.worlds import HOSTILE, NODE_NAMES, deployment, node, pod


def test_nodes_are_kubectls_rows(cli: Cli) -> None:
    """NAME STATUS ROLES of every node, in kubectl's order, then ours."""
    found = cli("nodes", kube=a_site())
    assert found.code == 0
    assert [row[:3] for row in found.rows] == [
        ["NAME", "STATUS", "ROLES"], ["k3s-master", "Ready", "control-plane,master"], *(["k3s-worker-" + n, "Ready", "<none>"] for n in "1234"),
    ]  # fmt: skip
    assert found.err == ""


def test_json_is_the_site_documents(cli: Cli) -> None:
    """`nodes --json` holds the document's keys with values; ages and sources stand beside."""
    found = cli("nodes", "--json", kube=a_site()).json
    assert [n["name"] for n in found["nodes"]] == list(NODE_NAMES)
    first = found["nodes"][0]
    assert (first["status"], first["role"], first["cpu_usage"], first["disk_usage"], first["pods"]) == (
        "Ready",
        "control-plane,master",
        71.0,
        38.0,
        2,
    )
    assert found["_whole"] is True
    assert found["_sources"]["nodes"]["freshness"] == "live"


def test_status_prints_the_documents_four_parts(cli: Cli) -> None:
    """`status --json` has cluster, database, storage, backups; the plain form tells the same in words."""
    found = cli("status", "--json", kube=a_site()).json
    assert [key for key in found if not key.startswith("_")] == ["cluster", "database", "storage", "backups"]
    assert found["cluster"]["total_nodes"] == 5
    assert found["cluster"]["k3s_version"] == "v1.34.4+k3s1"
    text = cli("status", kube=a_site()).out
    assert "5/5 nodes" in text
    assert "● 5 ready" in text


@pytest.mark.parametrize(
    "noun", ["nodes", "pods", "deployments", "statefulsets", "daemonsets", "postgres", "backups", "storage", "vips", "events", "problems"]
)
def test_every_noun_prints_a_table_and_json(cli: Cli, noun: str) -> None:
    """Each listing succeeds over a healthy site in both forms, and JSON is one document."""
    assert cli(noun, kube=a_site()).code == 0
    found = cli(noun, "--json", kube=a_site())
    assert found.code == 0
    assert isinstance(found.json[noun], list)


def test_nothing_to_list_is_said_on_stderr(cli: Cli) -> None:
    """An empty listing prints no row and no heading, and a word on stderr."""
    found = cli("statefulsets", kube=a_site())
    assert (found.code, found.out, found.err) == (0, "", "coldtui: no stateful sets\n")


def test_a_database_that_does_not_exist_is_said(cli: Cli) -> None:
    """With a wrong postgres.cluster each verb says on stderr which is configured, which there are, and what to mend; JSON has it as the reason."""
    cli.environ["COLDTUI_POSTGRES_CLUSTER"] = "db/nope"
    said = "cluster db/nope of postgres.cluster does not exist; found: postgres/cold-postgres"
    for verb in ((), ("status",), ("sessions",)):
        found = cli("postgres", *verb, kube=a_site())
        assert f"{said} · mend postgres.cluster" in found.err, verb
    assert f"▲ missing  {said}" in cli("postgres", "status", kube=a_site()).out
    assert cli("postgres", "--json", kube=a_site()).json["_reasons"]["status"] == said


def test_namespace_filter_sort_and_trouble_choose_rows(cli: Cli) -> None:
    """-n, -A, --filter, --sort, --reverse and --trouble do what they say."""
    kube = a_site(pods=[pod("b", namespace="x"), pod("a", namespace="x", restarts=5), pod("loop", namespace="y", state="CrashLoopBackOff")])

    def names(*argv: str) -> list[str]:
        return [row["name"] for row in cli("pods", "--json", *argv, connector=lambda: _again(kube)).json["pods"]]

    assert names() == ["a", "b", "loop"]
    assert names("-n", "x") == ["a", "b"]
    assert names("--filter", "!loop") == ["a", "b"]
    assert names("--trouble") == ["loop"]
    assert names("--sort", "restarts") == ["a", "b", "loop"]
    assert names("--reverse") == ["loop", "b", "a"]
    cli.environ["COLDTUI_NAMESPACE"] = "y"
    assert names() == ["loop"]
    assert names("-A") == ["a", "b", "loop"]


def _again(kube: FakeKube) -> FakeKube:
    """A fresh connection to the same objects: a closed one stays closed."""
    return FakeKube({kind: list(kube.objects(kind).values()) for kind in ("nodes", "pods", "deployments", "leases")})


def test_forms_of_output(cli: Cli) -> None:
    """-o wide adds columns, -o name prints keys alone, --no-headers leaves the heading out."""
    kube = a_site(pods=[pod("one")])
    assert cli("pods", "-o", "name", connector=lambda: _again(kube)).out == "cold-prod/one\n"
    assert cli("pods", "--no-headers", connector=lambda: _again(kube)).rows[0][:2] == ["cold-prod", "one"]
    assert "NODE" in cli("pods", "-o", "wide", connector=lambda: _again(kube)).rows[0]
    assert "NODE" not in cli("pods", connector=lambda: _again(kube)).rows[0]


def test_hostile_names_print_harmlessly(cli: Cli) -> None:
    """Markup, wide letters and very long names come out as they are, one row each, and as valid JSON."""
    kube = a_site(pods=[pod(name) for name in HOSTILE])
    found = cli("pods", connector=lambda: _again(kube))
    assert len(found.out.splitlines()) == len(HOSTILE) + 1
    assert all(name in found.out for name in HOSTILE)
    assert {p["name"] for p in cli("pods", "--json", connector=lambda: _again(kube)).json["pods"]} == set(HOSTILE)


def _failing(make: Callable[[], Exception], kind: str = "*") -> FakeKube:
    kube = a_site()
    kube.fail("list", make, kind, times=None)
    return kube


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: Forbidden("needs list on nodes", verb="list", resource="nodes", hint="grant it"), 5, "needs list on nodes"),
        (lambda: Unauthorized("credentials refused", hint="re-copy k3s.yaml"), 5, "re-copy k3s.yaml"),
        (lambda: NotInstalled("nodes are not installed"), 1, "not installed"),
    ],
)
def test_exit_codes_of_a_refused_listing(cli: Cli, make: Callable[[], Exception], code: int, words: str) -> None:
    """Forbidden and unauthorised are 5, not installed is 1; one line says why; nothing is on stdout."""
    found = cli("nodes", kube=_failing(make, "nodes"))
    assert (found.code, found.out) == (code, "")
    assert words in found.err
    assert found.err.count("\n") == 1


def test_a_dead_api_is_exit_4_with_one_line(cli: Cli) -> None:
    """No rows, no traceback: what, where, remedy."""
    kube = a_site()
    kube.kill()
    found = cli("pods", kube=kube)
    assert (found.code, found.out) == (4, "")
    assert found.err == "coldtui: pods: connection refused: https://127.0.0.1:6443 · see coldtui doctor\n"


def test_a_hanging_api_is_exit_4_within_5_seconds(cli: Cli) -> None:
    """A paused server does not hold up a script: after its deadline of 5 s nothing is asked a second time."""
    kube = a_site()
    kube.pause()
    began = time.monotonic()
    assert cli("nodes", kube=kube).code == 4
    assert time.monotonic() - began < 9.5


def test_json_of_a_dead_api_is_null_where_nothing_is_known(cli: Cli) -> None:
    """Without a saved World the document says null, not an empty list; the exit code stays 4."""
    kube = a_site()
    kube.kill()
    found = cli("pods", "--json", kube=kube)
    assert found.code == 4
    assert found.json["pods"] is None
    assert found.json["_sources"]["pods"]["freshness"] == "failed"


def test_a_missing_second_source_is_a_word_and_not_a_failure(cli: Cli) -> None:
    """Without metrics the nodes are listed, their usage is –, and stderr says why."""
    found = cli("nodes", kube=_failing(lambda: Forbidden("needs list on nodes.metrics.k8s.io"), "node_usage"))
    assert found.code == 0
    assert found.err == "" or "node metrics" in found.err


def test_a_kubeconfig_that_is_wrong_is_exit_2(cli: Cli) -> None:
    """The connector's own words, once, without a server's address that nobody has."""

    def wrong() -> Kube:
        raise Misconfigured("kubeconfig /x does not exist", hint="check --kubeconfig")

    found = cli("nodes", connector=wrong)
    assert (found.code, found.err) == (2, "coldtui: kubeconfig /x does not exist · check --kubeconfig\n")


def test_a_fault_of_ours_is_one_line_and_a_traceback_in_the_log(cli: Cli) -> None:
    """An unexpected exception ends with exit 1, one line, and the place of the details."""

    def broken() -> Kube:
        raise RuntimeError("boom")

    found = cli("logs", "x/y", connector=broken)
    assert found.code == 1
    assert found.err.count("\n") == 1
    assert "boom" in found.err
    log = cli.folder / "state/coldtui.log"
    assert str(log) in found.err
    assert "RuntimeError: boom" in json.loads(log.read_text().splitlines()[-1])["traceback"]


def test_the_saved_world_is_printed_as_json_with_its_age(cli: Cli) -> None:
    """After a session of the console, a dead API still gives its last known nodes, called stale, and exit 4."""
    site = open_site(load({}, cli.environ), cli.environ, a_site)
    asyncio.run(_session(site))
    dead = a_site()
    dead.kill()
    found = cli("nodes", "--json", kube=dead)
    assert found.code == 4
    assert [n["name"] for n in found.json["nodes"]] == list(NODE_NAMES)
    assert found.json["nodes"][0]["_freshness"] == "stale"
    assert found.json["_whole"] is False
    assert "last known" in found.err
    assert cli("nodes", kube=_dead()).out == ""


async def _session(site: Site) -> None:
    """The console's part in it: everything is read, the cluster is known, then it is closed."""
    await site.live.start()
    await site.live.until(lambda world: bool(world.site.cluster_uid) and world.whole("nodes", "pods") and len(world.nodes) == 5, 5.0)
    await site.live.close()


def _dead() -> FakeKube:
    kube = a_site()
    kube.kill()
    return kube


def _watch(cli: Cli, kube: FakeKube, argv: list[str], enough: Callable[[str], bool], act: Callable[[str], None] = lambda out: None) -> Any:
    """Run a watch in this (main) thread and end it by ctrl-c once `enough(stdout so far)`; `act(stdout)` is called meanwhile."""
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and not done.is_set():
            seen.append(cli.capture.readouterr().out)
            whole = "".join(seen)
            act(whole)
            if enough(whole):
                break
            done.wait(0.05)
        if not done.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        found = cli(*argv, kube=kube)
    finally:
        done.set()
        thread.join()
    return replace(found, out="".join(seen) + found.out)


def test_watch_prints_again_when_something_changed(cli: Cli) -> None:
    """One compact JSON document a line; a cordoned node makes a second one; ctrl-c ends it with 0."""
    kube = a_site()
    cordoned: list[int] = []

    def act(out: str) -> None:
        if out.count("\n") == 1 and not cordoned:
            cordoned.append(1)
            kube.put("nodes", node("k3s-worker-4", cordoned=True))

    found = _watch(cli, kube, ["nodes", "--watch", "--json"], lambda out: out.count("\n") >= 2, act)
    assert found.code == 0
    first, second = (json.loads(line) for line in found.out.splitlines()[:2])
    assert first["nodes"][4]["status"] == "Ready"
    assert second["nodes"][4]["status"] == "Ready,SchedulingDisabled"


def test_deployments_begin_with_kubectls_columns(cli: Cli) -> None:
    """`coldtui deployments` reads as `kubectl get deployments -A` with ours behind."""
    found = cli("deployments", kube=a_site(deployments=[deployment("web", available=2)]))
    assert found.rows[0][:6] == ["NAMESPACE", "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert found.rows[1][:5] == ["cold-prod", "web", "2/3", "3", "2"]


def test_watch_survives_the_loss_of_the_api(cli: Cli) -> None:
    """A killed API is one word on stderr, a returned one another; the listing goes on with what is new."""
    kube = a_site()
    steps: list[str] = []

    def act(out: str) -> None:
        if "\n" in out and not steps and kube.count("alive"):
            steps.append("killed")
            kube.kill()
        elif len(steps) == 1 and kube.count("alive") >= 3:
            steps.append("revived")
            kube.revive()
            kube.put("nodes", node("k3s-worker-4", cordoned=True))

    found = _watch(cli, kube, ["nodes", "--watch", "--no-headers"], lambda out: "SchedulingDisabled" in out, act)
    assert found.code == 0
    assert "Traceback" not in found.err
    assert steps == ["killed", "revived"]


def test_problems_are_looked_for_everywhere(cli: Cli) -> None:
    """A lease that is not renewed, a database, a source that fails: all kinds that are judged are read, and what could not be read is a problem."""
    kube = a_site()
    assert cli("problems", kube=kube).code == 0
    read = {kind for call, kind in kube.calls if call in ("list", "poll")}
    assert {"nodes", "leases", "pods", "pg_clusters", "lh_volumes", "services", "statefulsets", "node_usage"} <= read
    rows = cli("problems", kube=_failing(lambda: Forbidden("needs list on services"), "services")).rows
    assert any("services: needs list on services" in " ".join(row) for row in rows)


def whole_site() -> FakeKube:
    """Every kind of the sample site, Longhorn's and PostgreSQL's too."""
    world = sample.build(sample.healthy())
    return FakeKube({kind: list(world.shelf(kind).items.values()) for kind in KINDS if kind != "node_stats"})


def test_a_volumes_backup_is_called_as_in_the_console(cli: Cli) -> None:
    """OF names the claim, not the volume behind it, in the table as in JSON."""
    rows = cli("backups", connector=whole_site).rows
    assert {row[2] for row in rows if "volume" in row[3]} == {"cold/postgres-1"}
    found = cli("backups", "--json", connector=whole_site).json["backups"]
    assert {b["of"] for b in found if b["kind"] == "lh_backups"} == {"cold/postgres-1"}


def test_the_storage_summary_has_its_limit(cli: Cli) -> None:
    """What Longhorn may promise rests on its settings, so they are read with the summary."""
    summary = cli("storage", "--json", connector=whole_site).json["_summary"]
    assert summary["_limit_b"] > 0
    assert summary["_reasons"] == {}
