"""Trends are what was measured, with gaps where nothing was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import isnan, nan

from immutables import Map

from coldtui.domain.nodes import NodeStats
from coldtui.domain.readings import Known, Reading, SourceState
from coldtui.domain.world import Shelf, World
from coldtui.lab.fakes import START
from coldtui.live.history import SAMPLES, History

from .things import a_node, a_usage, some_stats


def a_world(usage: dict[str, int], stats: dict[str, NodeStats], nodes: tuple[str, ...] = ("a", "b"), live: bool = True) -> World:
    world = World(1, START)
    readings: dict[str, Reading[NodeStats]] = {name: Known(found, f"kubelet {name}", START) for name, found in stats.items()}
    return replace(
        world,
        sources=world.sources.set("node_usage", SourceState("node_usage", START if live else None)),
        nodes=Shelf(Map({name: a_node(name) for name in nodes})),
        node_usage=Shelf(Map({name: a_usage(name, cpu) for name, cpu in usage.items()})),
        node_stats=Map(readings),
    )


def test_shares_and_sums() -> None:
    """CPU is used millicores by allocatable ones, of each node and of the site; disk is used by used + available."""
    trends = History(15).sample(a_world({"a": 400, "b": 1200}, {"a": some_stats("a")}), START, 0)
    assert trends["cpu/a"] == (0.1,)
    assert trends["cpu/b"] == (0.3,)
    assert trends["cpu"] == (0.2,)
    assert trends["disk/a"] == (0.4,) == trends["disk"]
    assert "disk/b" not in trends
    assert "net_rx/a" not in trends


def test_rates_come_from_counters_and_a_fall_drops_the_sample() -> None:
    """Received bytes become bytes a second; a reboot (the counter falls) gives a gap, not a negative or huge rate."""
    history = History(15)
    counters = (1000, 2500, 100, 1600)
    rates = []
    for number, rx in enumerate(counters):
        at = START + timedelta(seconds=15 * number)
        trends = history.sample(a_world({}, {"a": some_stats("a", at, rx)}), at, 15.0 * number)
        rates.append(trends.get("net_rx/a", (nan,))[-1])
    assert isnan(rates[0])
    assert rates[1] == 100
    assert isnan(rates[2])
    assert rates[3] == 100
    assert history.trends["net_rx"][0] == 100


def test_the_same_summary_twice_is_one_measurement() -> None:
    """A summary that has not changed gives no new rate; its rate stands for a while, then there is a gap."""
    history = History(15)
    history.sample(a_world({}, {"a": some_stats("a", START, 0)}), START, 0)
    second = a_world({}, {"a": some_stats("a", START + timedelta(seconds=10), 1000)})
    assert history.sample(second, START + timedelta(seconds=15), 15)["net_rx/a"] == (100,)
    assert history.sample(second, START + timedelta(seconds=30), 30)["net_rx/a"] == (100, 100)
    assert isnan(history.sample(second, START + timedelta(seconds=120), 120)["net_rx/a"][-1])


def test_missed_steps_and_dead_sources_are_gaps() -> None:
    """A minute of sleep gives three gaps, a failed source gives one; old values are not repeated."""
    history = History(15)
    history.sample(a_world({"a": 400}, {}), START, 0)
    trends = history.sample(a_world({"a": 400}, {}), START, 60)
    assert [isnan(value) for value in trends["cpu/a"]] == [False, True, True, True, False]
    trends = history.sample(a_world({"a": 400}, {}, live=False), START, 75)
    assert isnan(trends["cpu/a"][-1])


def test_the_kubelet_stands_in_for_metrics_server() -> None:
    """Without metrics-server the kubelet's own numbers make the trend."""
    trends = History(15).sample(a_world({}, {"a": some_stats("a")}, live=False), START, 0)
    assert trends["cpu/a"] == (500 / 4000,)


def test_one_hour_is_kept_and_lost_nodes_are_forgotten() -> None:
    """A ring holds 240 samples; a node that left takes its trends along."""
    history = History(15)
    for number in range(SAMPLES + 50):
        history.sample(a_world({"a": number, "b": 1}, {"b": some_stats("b")}), START, 15.0 * number)
    assert len(history.trends["cpu/a"]) == SAMPLES
    assert history.trends["cpu/a"][-1] == (SAMPLES + 49) / 4000
    history.sample(a_world({"a": 1}, {}, nodes=("a",)), START, 15.0 * (SAMPLES + 50))
    assert not any(key.endswith("/b") for key in history.trends)
    assert history._counters == {}
