"""Pods as rows, JSON and lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from coldtui.domain import pods as judge
from coldtui.domain.objects import Owner
from coldtui.domain.pods import Pod
from coldtui.domain.world import World
from coldtui.present.lines import plain_text
from coldtui.present.pods import PODS, PODS_PLAIN, counts, detail, json_of, owner
from coldtui.present.rows import Tone
from tests.tui.worlds import HOSTILE, NOW, healthy, pod, stale, with_pods, without


def plain_row(world: World, one: Pod) -> list[str]:
    return [cell.text for cell in PODS_PLAIN.row(world, one, NOW).cells[:6]]


def test_plain_row_is_kubectls() -> None:
    """NAMESPACE NAME READY STATUS RESTARTS AGE read exactly as kubectl prints them."""
    one = replace(pod("web-7d9-x2", restarts=3, created=NOW - timedelta(seconds=119)), last_restart=NOW - timedelta(minutes=5, seconds=3))
    world = with_pods(healthy(), [one])
    assert [c.title for c in PODS_PLAIN.columns[:6]] == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert plain_row(world, one) == ["cold-prod", "web-7d9-x2", "1/1", "Running", "3 (5m3s ago)", "119s"]


def test_restarts_without_a_time_are_a_bare_number() -> None:
    """kubectl writes no age where it knows none, nor beside zero."""
    one = replace(pod("web"), restarts=2, last_restart=None)
    assert plain_row(with_pods(healthy(), [one]), one)[4] == "2"
    assert plain_row(with_pods(healthy(), [pod("web")]), pod("web"))[4] == "0"


def test_trouble_agrees_with_the_judge_for_every_state() -> None:
    """The filter's verdict is the domain's for calm, broken, young, finished and stuck pods."""
    some = [
        pod("fine"), pod("loop", state="CrashLoopBackOff"), pod("young", state="ContainerCreating", created=NOW - timedelta(seconds=5)),
        pod("old", state="Pending"), pod("done", state="Completed"), pod("again", restarts=9),
        replace(pod("stuck"), deleted=NOW - timedelta(minutes=5)), replace(pod("going"), deleted=NOW + timedelta(seconds=5)),
    ]  # fmt: skip
    world = with_pods(healthy(), some)
    for one in some:
        assert PODS.trouble(world, one, NOW) is (judge.trouble(world, one, NOW) is not None), one.name


def test_a_crash_loop_is_marked_without_colour() -> None:
    """Glyph and word tell trouble; the tone only repeats it."""
    one = pod("web", state="CrashLoopBackOff")
    world = with_pods(healthy(), [one])
    cell = PODS.row(world, one, NOW).cells[3]
    assert (cell.text, cell.tone) == ("▲ CrashLoopBackOff", Tone.BAD)


def test_stale_pods_lose_the_colour_of_health() -> None:
    """A running pod of a lost API is shown with ○ and without green, its containers too."""
    world = stale(healthy())
    one = next(iter(world.pods.items.values()))
    assert PODS.row(world, one, NOW).cells[3].text == "○ Running"
    assert Tone.GOOD not in {cell.tone for line in detail(world, one, NOW) for cell in line}


def test_owner_names_the_deployment_behind_a_replica_set() -> None:
    """A ReplicaSet's hash is cut off, other controllers are named as they are."""
    assert owner(pod("a", owner=Owner("ReplicaSet", "web-7d9f6c", "u"))) == "deployment/web"
    assert owner(pod("a", owner=Owner("DaemonSet", "speaker", "u"))) == "daemonset/speaker"
    assert owner(replace(pod("a"), owner=None)) == "<none>"


def test_json_has_numbers_and_null_with_reasons() -> None:
    """Usage that is missing is null with its reason; the rest are numbers and kubectl's words."""
    world = without(healthy(), "pod_usage")
    found = json_of(world, world.pods.items["cold-prod/cold-backend-7d9f6c-0x2"], NOW)
    assert (found["status"], found["ready"], found["restarts"]) == ("Running", "1/1", 0)
    assert found["cpu_m"] is None
    assert found["_reasons"] == {"cpu_m": "no sample yet", "memory_b": "no sample yet"}


def test_counts_say_how_whole_they_are() -> None:
    """Totals over a list that still arrives are lower bounds; over a lost one they are called stale."""
    world = healthy()
    assert plain_text([counts(world)]) == "15 running"
    partial = replace(world, sources=world.sources.set("pods", replace(world.sources["pods"], partial=True)))
    assert plain_text([counts(partial)]) == "≥ 15 running"
    assert plain_text([counts(stale(world))]) == "15 running, as last read"


def test_default_order_is_the_apis_own() -> None:
    """Pods come as kubectl lists them: by namespace/name, byte by byte."""
    some = [pod("b", namespace="a"), pod("a", namespace="a-b"), pod("c", namespace="a")]
    world = with_pods(healthy(), some)
    ordered = sorted(some, key=lambda p: PODS.sorts[PODS.default_sort](world, p))
    assert [p.key for p in ordered] == ["a-b/a", "a/b", "a/c"]


def test_detail_explains_a_broken_pod() -> None:
    """The description names state, owner, node, containers with their last end, and what the cluster says."""
    one = pod("web-1", state="ImagePullBackOff", message="manifest unknown")
    world = with_pods(healthy(), [one])
    text = plain_text(detail(world, one, NOW))
    for words in ("▲ ImagePullBackOff", "manifest unknown", "waiting ImagePullBackOff", "k3s-worker-1", "replicaset/web"):
        assert words in text


def test_hostile_names_stay_in_their_cell() -> None:
    """A name with markup or wide letters is shown as it is."""
    for name in HOSTILE:
        one = pod(name)
        assert plain_row(with_pods(healthy(), [one]), one)[1] == name
